"""Rivals: worked examples, agreement with other people's code, and the laws that every scorer keeps.

Unless said otherwise, padding holds NaN in every test here: a scorer that reads it cannot pass.
"""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from entropyprune_ref import scorers
from entropyprune_ref.scorers import (
    RIVALS,
    Duplication,
    EntropyScorer,
    GivenTokens,
    HiddenNorm,
    LastTokenAttention,
    LowestEntropy,
    MaxMinDiversity,
    MeanAttention,
    QueryNorm,
    Random,
    UniformStride,
)
from entropyprune_ref.scorers._reading import cosine_distances
from entropyprune_ref.scorers.view import LayerView, Scorer
from entropyprune_ref.scoring import CONVENTIONS, token_entropy

# Float64 sums of at most a few hundred terms of order one: each differs from another order of summation by less than
# 1000 x 2^-53 = 1.1e-13. Ranks and random draws are exact.
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}

PAD = -2
every_rival = pytest.mark.parametrize("scorer", RIVALS.values(), ids=RIVALS)


def view_of(layout: list[list[int]], seed: int, heads: int = 4, kv_heads: int = 2, size: int = 5) -> LayerView:
    """A random view: `layout` has the image number of every position, -1 for text and PAD for padding.

    What stands at a row's positions is drawn row by row and without its padding, so it does not depend on the rest.
    """
    batch, sequence = len(layout), len(layout[0])
    numbers = torch.tensor(layout)
    attended = numbers != PAD
    hidden = torch.full((batch, sequence, 7), torch.nan, dtype=torch.float64)
    queries = torch.full((batch, heads, sequence, size), torch.nan, dtype=torch.float64)
    keys = torch.full((batch, kv_heads, sequence, size), torch.nan, dtype=torch.float64)
    for row in range(batch):
        real = attended[row].nonzero().squeeze(-1)
        generator = torch.Generator().manual_seed(seed + 1000 * row)
        for values in (hidden[row], queries[row].transpose(0, 1), keys[row].transpose(0, 1)):
            values[real] = torch.randn(len(real), *values.shape[1:], generator=generator, dtype=torch.float64)
    return LayerView(hidden, queries, keys, torch.where(attended, numbers, -1), attended)


def one_row(hidden: Tensor | None = None, queries: Tensor | None = None, keys: Tensor | None = None) -> LayerView:
    """One image and nothing else, from `(tokens, dims)` or `(heads, tokens, head_dim)` parts; the rest is zero."""
    heads = next((part for part in (queries, keys) if part is not None), None)
    tokens = (hidden if hidden is not None else heads).shape[-2]  # type: ignore[union-attr]
    nothing = torch.zeros(1, tokens, 1 if heads is None else heads.shape[-1], dtype=torch.float64)
    index = torch.zeros(1, tokens, dtype=torch.int64)
    states, asked, answering = (nothing if part is None else part for part in (hidden, queries, keys))
    return LayerView(states.reshape(1, tokens, -1), asked[None], answering[None], index, index == 0)


def rows_of(view: LayerView, rows: list[int]) -> LayerView:
    return LayerView(
        view.hidden[rows], view.queries[rows], view.keys[rows], view.image_index[rows], view.attended[rows]
    )


def order_of(scores: Tensor) -> list[int]:
    return scores.argsort(descending=True, stable=True).tolist()


@st.composite
def layouts(draw: st.DrawFn) -> list[list[int]]:
    """Rows of text and up to two images, with padding on either side or on both; at least one visual token each."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        parts = [-1] * draw(st.integers(0, 3)) + [0] * draw(st.integers(1, 7))
        parts += [-1] * draw(st.integers(0, 2)) + [1] * draw(st.integers(0, 5)) + [-1] * draw(st.integers(0, 3))
        rows.append(parts)
    length = max(map(len, rows)) + draw(st.integers(0, 2))
    lefts = [draw(st.integers(0, length - len(row))) for row in rows]
    return [[PAD] * left + row + [PAD] * (length - left - len(row)) for row, left in zip(rows, lefts, strict=True)]


seeds = st.integers(0, 2**16)


# What every scorer keeps.


def test_rivals_are_registered_once_and_name_their_source() -> None:
    """Every scorer is in the registry, says where it comes from, prints, compares and cannot be changed."""
    classes = {value for value in vars(scorers).values() if inspect.isclass(value) and dataclasses.is_dataclass(value)}
    assert {type(scorer) for scorer in RIVALS.values()} == classes - {LayerView, EntropyScorer, GivenTokens}
    assert len(set(RIVALS.values())) == len(RIVALS)
    for scorer in RIVALS.values():
        documentation = inspect.getdoc(type(scorer)) or ""
        assert "Source: " in documentation
        source = documentation.split("Source: ")[1]
        assert source.startswith("none") or ("arXiv" in source and "Depart" in source)
        assert eval(repr(scorer), vars(scorers) | {"Convention": type(CONVENTIONS["paper"])}) == scorer
        for field in dataclasses.fields(scorer):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(scorer, field.name, None)


@every_rival
@given(layout=layouts(), seed=seeds)
def test_rivals_score_in_float64_and_nothing_but_visual_tokens(
    scorer: Scorer, layout: list[list[int]], seed: int
) -> None:
    view = view_of(layout, seed)
    scores = scorer(view)
    assert scores.dtype == torch.float64 and scores.shape == view.image_index.shape
    assert torch.isfinite(scores).all()
    assert (scores[~view.visual] == 0).all()


@every_rival
@given(layout=layouts(), seed=seeds)
def test_rivals_repeat_themselves_bit_for_bit(scorer: Scorer, layout: list[list[int]], seed: int) -> None:
    view = view_of(layout, seed)
    assert torch.equal(scorer(view), scorer(view))


@every_rival
@given(layout=layouts(), seed=seeds, data=st.data())
def test_rivals_score_a_batch_as_its_rows_in_any_order(
    scorer: Scorer, layout: list[list[int]], seed: int, data: st.DataObject
) -> None:
    view = view_of(layout, seed)
    scores = scorer(view)
    order = data.draw(st.permutations(range(len(layout))))
    torch.testing.assert_close(scorer(rows_of(view, list(order))), scores[list(order)], **ROUNDING)
    for row in range(len(layout)):
        torch.testing.assert_close(scorer(rows_of(view, [row])), scores[[row]], **ROUNDING)


@every_rival
@given(layout=layouts(), seed=seeds, left=st.integers(0, 3), right=st.integers(0, 3))
def test_rivals_ignore_padding(scorer: Scorer, layout: list[list[int]], seed: int, left: int, right: int) -> None:
    bare = [number for number in layout[0] if number != PAD]
    padded = scorer(view_of([[PAD] * left + bare + [PAD] * right], seed))
    torch.testing.assert_close(padded[:, left : left + len(bare)], scorer(view_of([bare], seed)), **ROUNDING)


@every_rival
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rivals_compute_in_float64_whatever_comes_in(scorer: Scorer, dtype: torch.dtype) -> None:
    view = view_of([[-1, 0, 0, 0, 0, 0, -1, PAD]], seed=5)
    narrow = dataclasses.replace(
        view, hidden=view.hidden.to(dtype), queries=view.queries.to(dtype), keys=view.keys.to(dtype)
    )
    wide = dataclasses.replace(
        view, hidden=narrow.hidden.double(), queries=narrow.queries.double(), keys=narrow.keys.double()
    )
    torch.testing.assert_close(scorer(narrow), scorer(wide), **ROUNDING)


@every_rival
def test_rivals_run_on_another_device_than_the_layout(scorer: Scorer) -> None:
    """On the meta device there are no data: scorers that need none still score, the others tell at least the shape."""
    view = view_of([[-1, 0, 0, 0, -1], [-1, -1, 0, 0, -1]], seed=5)
    elsewhere = dataclasses.replace(
        view, hidden=view.hidden.to("meta"), queries=view.queries.to("meta"), keys=view.keys.to("meta")
    )
    scores = scorer(elsewhere)
    assert scores.shape == (2, 5) and scores.dtype == torch.float64
    if isinstance(scorer, Random | UniformStride):
        assert torch.equal(scores, scorer(view))
    else:
        assert scores.is_meta


@every_rival
def test_rivals_accept_a_row_without_image_and_a_row_without_anything(scorer: Scorer) -> None:
    scores = scorer(view_of([[-1, 0, 0, -1], [-1, -1, -1, -1], [PAD, PAD, PAD, PAD]], seed=3))
    assert torch.isfinite(scores).all() and (scores[1:] == 0).all() and (scores[0] != 0).any()


# Random and uniform.


SCORERS = {**RIVALS, "token-entropy": EntropyScorer()}


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scorers_read_text_if_they_say_so_and_only_then(scorer: Scorer) -> None:
    """What stands behind the image is another question: all questions about it can share one reading, or cannot."""
    asked, other = (view_of([[-1, 0, 0, 0, 0, 0, -1, -1]], seed) for seed in (0, 1))
    image = asked.image_index[0] >= 0
    for name in ("hidden", "queries", "keys"):
        tokens, same = (getattr(view, name)[0].movedim(-2, 0) for view in (other, asked))
        tokens[:6] = same[:6]
    differ = bool((scorer(asked)[0, image] - scorer(other)[0, image]).abs().max() > 1e-6)
    assert differ == scorer.reads_text


def test_scorers_have_the_defaults_that_tables_are_made_with() -> None:
    assert (Random().seed, Duplication().pivots) == (0, 4)


def test_given_tokens_cannot_be_changed() -> None:
    given_tokens = GivenTokens(torch.ones(1, 2, dtype=torch.bool))
    assert repr(given_tokens).startswith("GivenTokens(kept=tensor(")
    with pytest.raises(dataclasses.FrozenInstanceError):
        given_tokens.kept = torch.zeros(1, 2, dtype=torch.bool)  # type: ignore[misc]


def test_token_entropy_reads_queries_before_rotary_embedding_where_they_are_shown() -> None:
    view, other = (view_of([[-1, 0, 0, 0, -1]], seed) for seed in (0, 1))
    shown = dataclasses.replace(view, unrotated=other.queries)
    assert torch.equal(EntropyScorer()(shown), EntropyScorer()(other))


@given(seeds, seeds, st.integers(8, 60))
def test_random_repeats_itself_and_changes_with_the_seed(one: int, other: int, tokens: int) -> None:
    view = view_of([[0] * tokens], seed=0)
    assert torch.equal(Random(one)(view), Random(one)(view_of([[0] * tokens], seed=1)))
    if one != other:
        assert order_of(Random(one)(view)[0]) != order_of(Random(other)(view)[0])


def test_random_keeps_every_token_equally_often() -> None:
    """Kept 3 times in 8 over 400 seeds: 150 expected, within 5 standard deviations of 9.7."""
    view = view_of([[0] * 8], seed=0)
    kept = [token for seed in range(400) for token in order_of(Random(seed)(view)[0])[:3]]
    counts = np.bincount(kept, minlength=8)
    assert (abs(counts - 150) < 5 * math.sqrt(400 * 3 / 8 * 5 / 8)).all()


def test_random_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    Random(4)(view_of([[0] * 8], seed=0))
    assert torch.equal(state, torch.get_rng_state())


@given(st.integers(1, 700), st.data())
def test_uniform_stride_spreads_every_number_of_tokens_evenly(tokens: int, data: st.DataObject) -> None:
    """Up to any place, the number kept is within 3 of its even share, and no gap is wider than two even ones.

    The discrepancy of the golden sequence grows with the logarithm of its length; 2.54 is the worst measured here over
    all lengths up to 200 and some up to 2880.
    """
    keep = data.draw(st.integers(1, tokens))
    order = order_of(UniformStride()(one_row(torch.zeros(tokens, 1)))[0])
    assert sorted(order) == list(range(tokens))
    kept = np.sort(order[:keep])
    share = np.arange(1, tokens + 1) * keep / tokens
    assert np.abs(np.searchsorted(kept, np.arange(1, tokens + 1)) - share).max() < 3
    assert np.diff(kept, prepend=-1, append=tokens).max() <= 2 * math.ceil(tokens / keep)


def test_uniform_stride_lines_up_in_columns_like_any_stride() -> None:
    """Every eighth of 24 x 24 patches, with gaps of 5, 7, 8 and 12: every row is met, and half of the columns."""
    kept = np.array(order_of(UniformStride()(one_row(torch.zeros(576, 1)))[0])[:72])
    assert len(set(kept // 24)) == 24 and len(set(kept % 24)) == 12


def test_uniform_stride_starts_anew_in_every_image() -> None:
    scores = UniformStride()(view_of([[-1, 0, 0, 0, 0, 0, -1, 1, 1, 1, 1, 1]], seed=0))[0]
    assert torch.equal(scores[1:6], scores[7:12])
    assert scores[1:6].tolist() == [-1.0, -3.0, 0.0, -2.0, -4.0]


# Norms and entropy.


@given(layout=layouts(), seed=seeds)
def test_norms_equal_numpy(layout: list[list[int]], seed: int) -> None:
    view = view_of(layout, seed)
    visual = view.visual.numpy()
    hidden = np.linalg.norm(view.hidden.numpy(), axis=-1)
    queries = np.linalg.norm(view.queries.numpy().transpose(0, 2, 1, 3).reshape(*visual.shape, -1), axis=-1)
    np.testing.assert_allclose(HiddenNorm()(view).numpy()[visual], hidden[visual], rtol=1e-12)
    np.testing.assert_allclose(QueryNorm()(view).numpy()[visual], queries[visual], rtol=1e-12)


@given(layout=layouts(), seed=seeds)
def test_norms_high_and_low_are_opposite(layout: list[list[int]], seed: int) -> None:
    view = view_of(layout, seed)
    for norm in (HiddenNorm, QueryNorm):
        assert torch.equal(norm(highest=True)(view), -norm(highest=False)(view))


def test_norms_worked_by_hand() -> None:
    hidden = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert HiddenNorm()(one_row(hidden)).tolist() == [[5.0, 1.0]]
    queries = torch.tensor([[[2.0, 4.0], [0.0, 0.0]], [[5.0, 6.0], [0.0, 3.0]]])  # 2 heads, 2 tokens; 4+16+25+36 = 81
    assert QueryNorm(highest=False)(one_row(queries=queries)).tolist() == [[-9.0, -3.0]]


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
def test_lowest_entropy_is_minus_token_entropy(convention: object) -> None:
    view = view_of([[-1, 0, 0, 0, -1, 1, 1, PAD]], seed=11)
    scores = LowestEntropy(convention)(view)  # type: ignore[arg-type]
    for place in view.visual[0].nonzero().squeeze(-1).tolist():
        expected = -token_entropy(view.queries[0, :, place][None], convention)[0]  # type: ignore[arg-type]
        torch.testing.assert_close(scores[0, place], expected, **ROUNDING)


# Attention.


def torch_attention(view: LayerView) -> Tensor:
    """Attention weights read out of PyTorch's attention, with the identity for values."""
    sequence = view.attended.shape[1]
    allowed = torch.ones(sequence, sequence, dtype=torch.bool).tril() & view.attended[:, None, None, :]
    identity = torch.eye(sequence, dtype=torch.float64).expand(*view.keys.shape[:2], -1, -1)
    queries, keys = (part.nan_to_num() for part in (view.queries, view.keys))
    return F.scaled_dot_product_attention(queries, keys, identity, attn_mask=allowed, enable_gqa=True)


@given(layout=layouts(), seed=seeds, kv_heads=st.sampled_from((1, 2, 4)))
def test_attention_rivals_equal_torch_attention(layout: list[list[int]], seed: int, kv_heads: int) -> None:
    view = view_of(layout, seed, kv_heads=kv_heads)
    weights = torch_attention(view).mean(dim=1)
    last, mean = LastTokenAttention()(view), MeanAttention()(view)
    for row, visual in enumerate(view.visual):
        real = view.attended[row].nonzero().squeeze(-1)
        torch.testing.assert_close(last[row, visual], weights[row, real[-1], visual], **ROUNDING)
        torch.testing.assert_close(mean[row, visual], weights[row, real][:, visual].mean(dim=0), **ROUNDING)


@given(layout=layouts(), seed=seeds)
def test_mean_attention_sums_to_the_share_that_visual_tokens_receive(layout: list[list[int]], seed: int) -> None:
    view = view_of(layout, seed)
    sums = MeanAttention()(view).sum(dim=-1)
    assert (sums <= 1 + 1e-12).all()
    all_visual = dataclasses.replace(view, image_index=torch.where(view.attended, 0, -1))
    torch.testing.assert_close(MeanAttention()(all_visual).sum(dim=-1), torch.ones_like(sums), **ROUNDING)


@given(layout=layouts(), seed=seeds)
def test_attention_rivals_ignore_a_rotation_of_queries_and_keys(layout: list[list[int]], seed: int) -> None:
    """One orthogonal map for all, as far as rotary embedding at one position is one, leaves every product as it was."""
    view = view_of(layout, seed)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
    turned = dataclasses.replace(view, queries=view.queries @ basis, keys=view.keys @ basis)
    for scorer in (LastTokenAttention(), MeanAttention()):
        torch.testing.assert_close(scorer(turned), scorer(view), rtol=1e-11, atol=1e-11)  # one product more


def test_last_token_attention_reads_the_last_query_only() -> None:
    view = view_of([[-1, 0, 0, 0, -1, -1, PAD]], seed=2)
    queries = view.queries.clone()
    queries[:, :, :5] = 100.0  # all but the last attended query
    changed = dataclasses.replace(view, queries=queries)
    assert torch.equal(LastTokenAttention()(changed), LastTokenAttention()(view))
    assert not torch.allclose(MeanAttention()(changed), MeanAttention()(view))


# Similarity.


def numpy_duplication(hidden: NDArray[np.float64], keys: NDArray[np.float64], pivots: int) -> list[int]:
    """The order of keeping: pivots by L1 norm of their keys, then tokens by distance to the nearest pivot."""
    by_norm = np.argsort(-np.abs(keys).sum(axis=(0, 2)), kind="stable")
    first = by_norm[:pivots].tolist()
    distance = cdist(hidden, hidden[first], "cosine").min(axis=1)
    return first + [token for token in np.argsort(-distance, kind="stable").tolist() if token not in first]


def numpy_greedy(hidden: NDArray[np.float64]) -> list[int]:
    """Greedy max-min from the definition: each step measures every distance to everything kept so far."""
    distances = cdist(hidden, hidden, "cosine")
    tokens = range(len(hidden))
    kept: list[int] = []
    while len(kept) < len(hidden):
        others = {t: kept or [s for s in tokens if s != t] for t in tokens if t not in kept}
        kept.append(max(others, key=lambda t: min((distances[t, s] for s in others[t]), default=0.0)))
    return kept


@given(seeds, st.integers(1, 30), st.integers(1, 6))
def test_duplication_equals_scipy_cosine_distance(seed: int, tokens: int, pivots: int) -> None:
    view = view_of([[-1, *[0] * tokens, -1, PAD]], seed)
    scores = Duplication(pivots)(view)[0, 1 : 1 + tokens]
    hidden, keys = view.hidden[0, 1 : 1 + tokens].numpy(), view.keys[0, :, 1 : 1 + tokens].numpy()
    expected = numpy_duplication(hidden, keys, pivots)
    assert order_of(scores) == expected
    rest = expected[pivots:]
    nearest = cdist(hidden[rest], hidden[expected[:pivots]], "cosine").min(axis=1) if rest else np.empty(0)
    np.testing.assert_allclose(scores[rest].numpy(), nearest, **ROUNDING)


def test_duplication_drops_copies_of_pivots_first() -> None:
    """Token 0 is the pivot; tokens 2 and 4 are copies of it, up to scale, and come after all other directions."""
    hidden = torch.tensor([[1.0, 2.0, 2.0], [0.0, 1.0, 1.0], [2.0, 4.0, 4.0], [2.0, -2.0, 1.0], [0.5, 1.0, 1.0]])
    keys = torch.tensor([9.0, 1.0, 1.0, 1.0, 1.0]).reshape(1, 5, 1)
    order = order_of(Duplication(pivots=1)(one_row(hidden, keys=keys))[0])
    assert order[:3] == [0, 3, 1] and set(order[3:]) == {2, 4}


@given(seeds, st.integers(1, 25))
@example(117, 23)  # where the two halves of a matrix product differ, and a tie once went to the later token
def test_max_min_diversity_equals_brute_force(seed: int, tokens: int) -> None:
    view = view_of([[-1, *[0] * tokens, -1, PAD]], seed)
    scores = MaxMinDiversity()(view)[0, 1 : 1 + tokens]
    assert order_of(scores) == numpy_greedy(view.hidden[0, 1 : 1 + tokens].numpy())
    assert sorted(scores.tolist()) == [float(-rank) for rank in reversed(range(tokens))]


@given(seeds, st.integers(2, 5), st.integers(2, 4))
def test_max_min_diversity_keeps_one_of_each_before_any_copy(seed: int, kinds: int, copies: int) -> None:
    """Copies differ in scale, which the cosine does not see."""
    directions = torch.randn(kinds, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scales = torch.arange(1, copies + 1, dtype=torch.float64)[:, None, None]
    order = order_of(MaxMinDiversity()(one_row((scales * directions).reshape(-1, 7)))[0])
    assert {token % kinds for token in order[:kinds]} == set(range(kinds))


@pytest.mark.parametrize("tokens", [2, 5, 23, 144, 577])
@pytest.mark.parametrize("dims", [3, 7, 128])
def test_cosine_distances_are_symmetric_to_the_bit_and_equal_tokens_are_one(tokens: int, dims: int) -> None:
    generator = torch.Generator().manual_seed(tokens * dims)
    states = torch.randn(tokens, dims, generator=generator, dtype=torch.float64)
    copies = torch.cat([states, states.flip(0), torch.zeros(2, dims)])
    distances, place = cosine_distances(copies)
    distances = distances[place][:, place]
    assert torch.equal(distances, distances.mT)
    assert torch.equal(distances[:tokens], distances[tokens : 2 * tokens].flip(0))
    assert (distances.diagonal()[:-2] == 0).all() and (distances[-2:] == 1).all()
    expected = cdist(states.numpy(), states.numpy(), "cosine")
    np.testing.assert_allclose(distances[:tokens, :tokens].numpy(), expected, **ROUNDING)


@every_rival
@given(seed=seeds, tokens=st.integers(2, 40), dims=st.integers(1, 20))
def test_rivals_that_read_no_place_score_equal_tokens_alike_to_the_bit(
    scorer: Scorer, seed: int, tokens: int, dims: int
) -> None:
    """Else ties would be decided by rounding and not by the rule that the earlier token stays."""
    generator = torch.Generator().manual_seed(seed)
    copied = torch.randint(max(1, tokens // 2), (tokens,), generator=generator)  # most tokens have a twin
    hidden = torch.randn(tokens, dims, generator=generator, dtype=torch.float64)[copied]
    queries, keys = torch.randn(2, 4, tokens, 2 * dims, generator=generator, dtype=torch.float64)[:, :, copied]
    scores = scorer(one_row(hidden, queries, keys))[0].tolist()
    twins = [(t, copied.tolist().index(copied[t])) for t in range(tokens)]
    if isinstance(scorer, QueryNorm | HiddenNorm | LowestEntropy):
        assert all(scores[token] == scores[first] for token, first in twins)
    elif isinstance(scorer, Duplication | MaxMinDiversity):  # ranks: the earlier of two is never behind
        assert all(scores[token] <= scores[first] for token, first in twins)


@given(layout=layouts(), seed=seeds)
def test_similarity_rivals_ignore_the_scale_of_a_hidden_state(layout: list[list[int]], seed: int) -> None:
    """Powers of two: exact in floating point, so that not even ranks can change."""
    view = view_of(layout, seed)
    powers = torch.randint(-3, 4, (*view.hidden.shape[:2], 1), generator=torch.Generator().manual_seed(seed))
    scaled = dataclasses.replace(view, hidden=view.hidden * 2.0**powers)
    for scorer in (Duplication(), MaxMinDiversity()):
        assert torch.equal(scorer(scaled), scorer(view))


def test_similarity_rivals_take_zero_and_equal_states() -> None:
    for hidden in (torch.zeros(6, 3), torch.ones(6, 3)):
        view = one_row(hidden, keys=torch.ones(1, 6, 2))
        assert torch.isfinite(Duplication(pivots=2)(view)).all()
        assert sorted(MaxMinDiversity()(view)[0].tolist()) == [-5.0, -4.0, -3.0, -2.0, -1.0, 0.0]


# Errors.


@pytest.mark.parametrize(
    ("scorer", "name"),
    [
        (QueryNorm(), "queries"),
        (HiddenNorm(), "hidden"),
        (LastTokenAttention(), "queries"),
        (LastTokenAttention(), "keys"),
        (MeanAttention(), "keys"),
        (Duplication(), "hidden"),
        (Duplication(), "keys"),
        (MaxMinDiversity(), "hidden"),
        (LowestEntropy(), "queries"),
    ],
)
def test_rivals_reject_what_is_not_finite_where_they_read(scorer: Scorer, name: str) -> None:
    view = view_of([[-1, 0, 0, 0, -1]], seed=1)
    getattr(view, name)[..., 2, :] = torch.inf
    with pytest.raises(ValueError, match=f"{name} must be finite, got inf at index"):
        scorer(view)


@pytest.mark.usefixtures("own_checks")
def test_random_rejects_a_seed_that_is_no_count() -> None:
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        Random(-1)
    with pytest.raises(TypeError, match=r"seed must be an int, got float 1\.0"):
        Random(1.0)  # type: ignore[arg-type]


def test_duplication_rejects_having_no_pivot() -> None:
    with pytest.raises(ValueError, match="pivots must be at least 1, got 0"):
        Duplication(pivots=0)

"""Section 5: from a budget to positions. Everything here is exact: no tolerance anywhere."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.pruning import (
    PrunePlan,
    average_tokens,
    gather_index,
    kept_mask,
    prune_plan,
    select_tokens,
    split_keep,
    tokens_to_keep,
)

seeds = st.integers(0, 2**32)


@st.composite
def depths(draw: st.DrawFn) -> dict[str, int]:
    """Visual tokens, layers and a prune layer."""
    layers = draw(st.integers(2, 40), label="layers")
    return {
        "visual_tokens": draw(st.integers(1, 3000), label="visual_tokens"),
        "layers": layers,
        "prune_layer": draw(st.integers(1, layers - 1), label="prune_layer"),
    }


def few_valued(*shape: int, seed: int, values: int = 5) -> torch.Tensor:
    """Scores with many ties."""
    return torch.randint(values, shape, generator=torch.Generator().manual_seed(seed)).double() / 2


# Budgets


@pytest.mark.parametrize(
    ("visual_tokens", "average", "keep"),
    [(576, 192, 166), (576, 128, 98), (576, 64, 29), (2880, 640, 490), (2880, 320, 149)],
)
def test_tokens_to_keep_gives_the_published_budgets(visual_tokens: int, average: int, keep: int) -> None:
    """LLaVA-1.5-7B and LLaVA-NeXT-7B: 32 layers, pruned at layer 2."""
    assert tokens_to_keep(average, visual_tokens=visual_tokens, layers=32, prune_layer=2) == keep


@given(depths(), st.data())
def test_tokens_to_keep_is_the_most_that_the_average_allows(depth: dict[str, int], data: st.DataObject) -> None:
    smallest = Fraction(depth["prune_layer"] * depth["visual_tokens"], depth["layers"])
    average = data.draw(st.fractions(smallest, depth["visual_tokens"]), label="average")
    keep = tokens_to_keep(average, **depth)
    assert 0 <= keep <= depth["visual_tokens"]
    assert average_tokens(keep, **depth) <= average
    assert keep == depth["visual_tokens"] or average_tokens(keep + 1, **depth) > average


@given(depths(), st.data())
def test_tokens_to_keep_accepts_the_smallest_feasible_average_and_nothing_below(
    depth: dict[str, int], data: st.DataObject
) -> None:
    smallest = Fraction(depth["prune_layer"] * depth["visual_tokens"], depth["layers"])
    assert tokens_to_keep(smallest, **depth) == 0
    with pytest.raises(ValueError, match="the smallest feasible average"):
        tokens_to_keep(smallest * data.draw(st.fractions(0, Fraction(999, 1000)), label="share"), **depth)


@pytest.mark.parametrize(
    ("visual_tokens", "layers", "named"),
    [(2880, 32, r"180"), (576, 28, r"41\.1429 \(exactly 288/7\)"), (1, 16, r"0\.125"), (3_000_000, 32, r"187500")],
)
def test_tokens_to_keep_names_an_average_that_it_accepts(visual_tokens: int, layers: int, named: str) -> None:
    with pytest.raises(ValueError, match=rf"average must be at least {named}, the smallest feasible average"):
        tokens_to_keep(0, visual_tokens=visual_tokens, layers=layers, prune_layer=2)
    named_average = float(named.split(" ")[0].replace("\\", ""))
    assert tokens_to_keep(named_average, visual_tokens=visual_tokens, layers=layers, prune_layer=2) == 0


def test_tokens_to_keep_says_what_an_infeasible_average_would_leave() -> None:
    with pytest.raises(ValueError, match=r"at least 180, .* got 160, which would leave -21 tokens"):
        tokens_to_keep(160, visual_tokens=2880, layers=32, prune_layer=2)


def test_tokens_to_keep_reads_floats_as_the_decimals_that_they_print() -> None:
    """7 + 9 k tokens over ten layers are an average of 0.7 + 0.9 k. As a binary number 0.7 or 4.3 is a little less."""
    assert Fraction(4.3) < Fraction(43, 10)
    assert tokens_to_keep(4.3, visual_tokens=7, layers=10, prune_layer=1) == 4
    assert tokens_to_keep(0.7, visual_tokens=7, layers=10, prune_layer=1) == 0
    assert tokens_to_keep(1.6, visual_tokens=7, layers=10, prune_layer=1) == 1


@given(depths(), st.data())
def test_average_tokens_is_the_inverse_of_tokens_to_keep(depth: dict[str, int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, depth["visual_tokens"]), label="keep")
    assert tokens_to_keep(average_tokens(keep, **depth), **depth) == keep


@given(depths(), st.data())
def test_average_tokens_is_the_mean_over_layers(depth: dict[str, int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, depth["visual_tokens"]), label="keep")
    seen = [depth["visual_tokens"] if i < depth["prune_layer"] else keep for i in range(depth["layers"])]
    average = average_tokens(keep, **depth)
    assert isinstance(average, Fraction)
    assert average * len(seen) == sum(seen)


# Plans


def test_prune_plan_takes_each_kind_of_budget() -> None:
    depth = {"visual_tokens": 576, "layers": 32, "prune_layer": 2}
    assert prune_plan(average=128, **depth) == PrunePlan(prune_layer=2, keep=98)
    assert prune_plan(keep=98, **depth) == PrunePlan(prune_layer=2, keep=98)
    assert prune_plan(ratio=0.75, **depth) == PrunePlan(prune_layer=2, keep=144)


@pytest.mark.parametrize(
    ("ratio", "share", "average_share"), [(0.7778, Fraction(2222, 10000), 0.25), (0.9074, Fraction(926, 10000), 0.125)]
)
def test_prune_plan_gives_the_published_ratios(ratio: float, share: Fraction, average_share: float) -> None:
    """Qwen2.5-VL: 28 layers, pruned at layer 1; the ratio is dropped, and the average comes out at a round share."""
    depth = {"visual_tokens": 10000, "layers": 28, "prune_layer": 1}
    plan = prune_plan(ratio=ratio, **depth)
    assert plan == PrunePlan(1, int(10000 * share))
    # the ratio is quoted with four digits: half a unit of the last on 27 of 28 layers
    assert abs(average_tokens(plan.keep, **depth) / 10000 - Fraction(average_share)) <= Fraction(1, 20000)


@pytest.mark.parametrize(("ratio", "tokens", "keep"), [(0.9, 50, 5), (0.7, 10, 3), (0.8, 5, 1), (0.1, 10, 9)])
def test_prune_plan_reads_ratios_as_exact_decimals(ratio: float, tokens: int, keep: int) -> None:
    """In binary floating point 10 * (1 - 0.7) and 50 * (1 - 0.9) are not whole."""
    assert prune_plan(ratio=ratio, visual_tokens=tokens, layers=4, prune_layer=1).keep == keep
    assert math.floor(50 * (1 - 0.9)) == 4


def test_prune_plan_of_the_extreme_ratios() -> None:
    depth = {"visual_tokens": 7, "layers": 4, "prune_layer": 3}
    assert (prune_plan(ratio=0, **depth).keep, prune_plan(ratio=1, **depth).keep) == (7, 0)


@given(depths(), st.fractions(0, 1))
def test_prune_plan_lowers_the_layer_no_further_than_needed(depth: dict[str, int], share: Fraction) -> None:
    average = depth["visual_tokens"] * share
    if depth["layers"] * average < depth["visual_tokens"]:
        with pytest.raises(ValueError, match=r"the smallest feasible average with .* in the first 1 of"):
            prune_plan(average=average, lower_prune_layer=True, **depth)
        return
    plan = prune_plan(average=average, lower_prune_layer=True, **depth)
    assert plan.keep == tokens_to_keep(average, **{**depth, "prune_layer": plan.prune_layer})
    assert plan.prune_layer <= depth["prune_layer"]
    if plan.prune_layer < depth["prune_layer"]:
        with pytest.raises(ValueError, match="the smallest feasible average"):
            tokens_to_keep(average, **{**depth, "prune_layer": plan.prune_layer + 1})
    else:
        assert plan == prune_plan(average=average, **depth)


def test_prune_plan_lowers_the_layer_only_when_told() -> None:
    depth = {"visual_tokens": 2880, "layers": 32, "prune_layer": 2}
    with pytest.raises(ValueError, match="at least 180, the smallest feasible average"):
        prune_plan(average=160, **depth)
    assert prune_plan(average=160, lower_prune_layer=True, **depth) == PrunePlan(prune_layer=1, keep=72)
    with pytest.raises(ValueError, match="at least 90, the smallest feasible average"):
        prune_plan(average=80, lower_prune_layer=True, **depth)


# Selection


@given(seeds, st.integers(1, 30), st.data())
def test_select_tokens_equals_numpy_lexsort(seed: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens), label="keep")
    scores = few_valued(2, 3, tokens, seed=seed)
    selected = select_tokens(scores, keep)
    assert (selected.shape, selected.dtype) == ((2, 3, keep), torch.int64)
    for row, positions in zip(scores.reshape(6, -1).numpy(), selected.reshape(6, -1), strict=True):
        best_first = np.lexsort((np.arange(tokens), -row))  # the last key is the first to sort by
        assert positions.tolist() == sorted(best_first[:keep].tolist())


@given(seeds, st.integers(1, 30), st.data())
def test_select_tokens_drops_nothing_that_outscores_a_kept_token(seed: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens), label="keep")
    scores = few_valued(tokens, seed=seed)
    selected = select_tokens(scores, keep)
    assert (selected.diff() > 0).all()
    dropped = sorted(set(range(tokens)) - set(selected.tolist()))
    if keep and dropped:
        assert scores[dropped].max() <= scores[selected].min()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_select_tokens_gives_ties_to_the_earlier_token(dtype: torch.dtype) -> None:
    assert select_tokens(torch.ones(2000, dtype=dtype), 5).tolist() == [0, 1, 2, 3, 4]
    assert select_tokens(torch.tensor([0.0, -0.0, 1.0, 0.0, -0.0], dtype=dtype), 3).tolist() == [0, 1, 2]


@given(seeds, st.integers(1, 20), st.data())
def test_select_tokens_follows_a_permutation(seed: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens), label="keep")
    generator = torch.Generator().manual_seed(seed)
    distinct, order = torch.randperm(tokens, generator=generator).double(), torch.randperm(tokens, generator=generator)
    before = set(select_tokens(distinct, keep).tolist())
    assert {int(order[i]) for i in select_tokens(distinct[order], keep)} == before


@given(seeds, st.integers(1, 20), st.data())
def test_select_tokens_depends_on_the_order_of_scores_only(seed: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens), label="keep")
    scores = few_valued(tokens, seed=seed)
    for increasing in (scores * 1e-300, scores * 3 - 7, scores**3):
        assert torch.equal(select_tokens(increasing, keep), select_tokens(scores, keep))


@given(seeds, st.integers(2, 20), st.data())
def test_select_tokens_is_nested_in_keep(seed: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens - 1), label="keep")
    scores = few_valued(tokens, seed=seed)
    assert set(select_tokens(scores, keep).tolist()) < set(select_tokens(scores, keep + 1).tolist())


def test_select_tokens_at_the_extremes() -> None:
    scores = few_valued(3, 6, seed=0)
    assert select_tokens(scores, 0).shape == (3, 0)
    assert select_tokens(scores, 6).tolist() == [list(range(6))] * 3
    assert select_tokens(torch.zeros(0, 2, 6), 4).shape == (0, 2, 4)
    assert select_tokens(torch.empty(3, 6, device="meta"), 4).shape == (3, 4)


# Several images


@given(st.lists(st.integers(1, 300), min_size=1, max_size=7), st.data())
def test_split_keep_adds_up_and_stays_within_one_token_of_the_quota(counts: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, sum(counts)), label="keep")
    parts = split_keep(keep, counts)
    assert sum(parts) == keep
    for part, count in zip(parts, counts, strict=True):
        quota = Fraction(keep * count, sum(counts))
        assert math.floor(quota) <= part <= math.ceil(quota) <= count


@given(st.lists(st.integers(1, 300), min_size=2, max_size=7), st.data())
def test_split_keep_rounds_up_the_largest_remainders(counts: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, sum(counts)), label="keep")
    quotas = [Fraction(keep * count, sum(counts)) for count in counts]
    remainder = {True: [], False: []}  # of images rounded up, and of images rounded down: remainder, minus position
    for i, (part, quota) in enumerate(zip(split_keep(keep, counts), quotas, strict=True)):
        remainder[part > math.floor(quota)].append((quota - math.floor(quota), -i))
    if remainder[True] and remainder[False]:
        assert min(remainder[True]) > max(remainder[False])


@given(st.integers(1, 8), st.integers(1, 50), st.data())
def test_split_keep_treats_equal_images_alike(images: int, tokens: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, images * tokens), label="keep")
    more = keep % images
    assert split_keep(keep, [tokens] * images) == [keep // images + 1] * more + [keep // images] * (images - more)


def test_split_keep_over_no_image_is_empty() -> None:
    assert split_keep(0, []) == []


@st.composite
def sequences(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Scores with ties, image numbers in any order, and a budget for each row."""
    batch, length = draw(st.integers(0, 4), label="batch"), draw(st.integers(0, 14), label="length")
    generator = torch.Generator().manual_seed(draw(seeds, label="seed"))
    image_index = torch.randint(-1, draw(st.integers(0, 3), label="images"), (batch, length), generator=generator)
    scores = torch.randint(4, (batch, length), generator=generator).double()
    keep = [draw(st.integers(0, int((row >= 0).sum())), label="keep") for row in image_index]
    return scores, image_index, keep


over_images = st.sampled_from(["each", "all"])


@given(sequences(), over_images)
def test_kept_mask_keeps_all_text_and_exactly_the_budget(
    case: tuple[torch.Tensor, torch.Tensor, list[int]], policy: str
) -> None:
    scores, image_index, keep = case
    kept = kept_mask(scores, image_index, keep, over_images=policy)
    assert (kept.dtype, kept.shape) == (torch.bool, scores.shape)
    assert kept[image_index < 0].all()
    assert (kept & (image_index >= 0)).sum(1).tolist() == keep


@given(sequences())
def test_kept_mask_selects_within_each_image_or_over_all(
    case: tuple[torch.Tensor, torch.Tensor, list[int]],
) -> None:
    scores, image_index, keep = case
    each = kept_mask(scores, image_index, keep)
    union = kept_mask(scores, image_index, keep, over_images="all")
    for row, wanted in enumerate(keep):
        numbers = image_index[row].tolist()

        def best(among: list[int], wanted: int, row: int = row) -> list[int]:
            return sorted(sorted(among, key=lambda token: (-scores[row, token].item(), token))[:wanted])

        visual = [i for i, number in enumerate(numbers) if number >= 0]
        assert [i for i in visual if union[row, i]] == best(visual, wanted)
        images = sorted({numbers[i] for i in visual})
        parts = split_keep(wanted, [numbers.count(image) for image in images])
        for image, part in zip(images, parts, strict=True):
            among = [i for i in visual if numbers[i] == image]
            assert [i for i in among if each[row, i]] == best(among, part)


@given(seeds, st.integers(1, 20), over_images, st.data())
def test_kept_mask_of_one_image_is_select_tokens(seed: int, tokens: int, policy: str, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, tokens), label="keep")
    scores = few_valued(2, tokens, seed=seed)
    kept = kept_mask(scores, torch.zeros(2, tokens, dtype=torch.int64), [keep, keep], over_images=policy)
    assert torch.nonzero(kept)[:, 1].reshape(2, keep).tolist() == select_tokens(scores, keep).tolist()


@given(sequences(), over_images)
def test_kept_mask_reads_scores_of_visual_tokens_only(
    case: tuple[torch.Tensor, torch.Tensor, list[int]], policy: str
) -> None:
    scores, image_index, keep = case
    junk = torch.where(image_index < 0, torch.tensor([math.nan, math.inf, -1e9])[image_index % 3], scores)
    expected = kept_mask(scores, image_index, keep, over_images=policy)
    assert torch.equal(kept_mask(junk, image_index, keep, over_images=policy), expected)


@given(sequences(), over_images, seeds)
def test_kept_mask_of_a_permuted_batch_is_the_permuted_mask(
    case: tuple[torch.Tensor, torch.Tensor, list[int]], policy: str, seed: int
) -> None:
    scores, image_index, keep = case
    order = torch.randperm(len(keep), generator=torch.Generator().manual_seed(seed))
    permuted = kept_mask(scores[order], image_index[order], [keep[i] for i in order], over_images=policy)
    assert torch.equal(permuted, kept_mask(scores, image_index, keep, over_images=policy)[order])


def test_kept_mask_on_the_meta_device_keeps_the_earliest() -> None:
    image_index = torch.tensor([[-1, 0, 0, 0, -1]])
    assert kept_mask(torch.empty(1, 5, device="meta"), image_index, [2]).int().tolist() == [[1, 1, 1, 0, 1]]


# Gathering


@given(seeds, st.integers(0, 4), st.integers(0, 12), st.floats(0, 1))
def test_gather_index_lists_kept_positions_in_order_at_the_right_end(
    seed: int, batch: int, length: int, density: float
) -> None:
    kept = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < density
    index, real = gather_index(kept)
    assert (index.dtype, real.dtype, index.shape) == (torch.int64, torch.bool, real.shape)
    for row in range(batch):
        positions = torch.nonzero(kept[row]).flatten().tolist()
        fill = index.shape[1] - len(positions)
        assert index[row, fill:].tolist() == positions
        assert real[row].tolist() == [False] * fill + [True] * len(positions)
        assert len(set(index[row].tolist())) == index.shape[1]  # no position twice


@given(st.integers(0, 4), st.integers(0, 12))
def test_gather_index_is_the_identity_if_nothing_is_dropped(batch: int, length: int) -> None:
    index, real = gather_index(torch.ones(batch, length, dtype=torch.bool))
    assert torch.equal(index, torch.arange(length).expand(batch, length))
    assert real.all()


@pytest.mark.parametrize("sequence", [100, 640, 2_944])
def test_gather_index_keeps_the_order_at_the_lengths_of_real_prompts(sequence: int) -> None:
    """Sorts that are not stable still keep the order of a few entries, and of a hundred no more."""
    kept = torch.rand(3, sequence, generator=torch.Generator().manual_seed(sequence)) < torch.tensor(
        [[0.2], [0.5], [0.9]]
    )
    index, real = gather_index(kept)
    assert index.shape[1] == int(kept.sum(dim=1).max())
    for row in range(3):
        assert index[row, real[row]].tolist() == kept[row].nonzero().flatten().tolist()
        filler = index[row, ~real[row]].tolist()
        assert filler == (~kept[row]).nonzero().flatten().tolist()[sequence - int(kept[row].sum()) - len(filler) :]


@given(seeds, st.integers(1, 4), st.integers(0, 12))
def test_gather_index_is_as_long_as_the_longest_row(seed: int, batch: int, length: int) -> None:
    kept = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.6
    assert gather_index(kept)[0].shape == (batch, int(kept.sum(1).max()))


# Bad input


DEPTH = {"visual_tokens": 576, "layers": 32, "prune_layer": 2}


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"average": 577}, ValueError, "average must be between 0 and 576, got 577"),
        ({"average": -1}, ValueError, "average must be between 0 and 576, got -1"),
        ({"average": math.nan}, ValueError, "average must be finite, got nan"),
        ({"average": "192"}, TypeError, "average must be an int, a float or a Fraction, got str '192'"),
        ({"prune_layer": 0}, ValueError, "prune_layer must be between 1 and 31, got 0"),
        ({"prune_layer": 32}, ValueError, "prune_layer must be between 1 and 31, got 32"),
        ({"prune_layer": 1.0}, TypeError, "prune_layer must be an int, got float"),
        ({"layers": 1}, ValueError, "layers must be at least 2, got 1"),
        ({"visual_tokens": 0}, ValueError, "visual_tokens must be at least 1, got 0"),
        ({"visual_tokens": True}, TypeError, "visual_tokens must be an int, got bool"),
    ],
)
def test_budget_functions_reject_bad_numbers(changed: dict[str, object], error: type, message: str) -> None:
    arguments = {"average": 192, **DEPTH, **changed}
    for function in (tokens_to_keep, prune_plan):
        with pytest.raises(error, match=message):
            function(**arguments)
    if "average" not in changed:
        with pytest.raises(error, match=message):
            average_tokens(3, **{**DEPTH, **changed})


@pytest.mark.usefixtures("own_checks")
def test_average_tokens_and_prune_plan_reject_bad_counts_and_ratios() -> None:
    for function in (lambda keep: average_tokens(keep, **DEPTH), lambda keep: prune_plan(keep=keep, **DEPTH)):
        for keep in (-1, 577):
            with pytest.raises(ValueError, match=f"keep must be between 0 and 576, got {keep}"):
                function(keep)
        with pytest.raises(TypeError, match="keep must be an int, got float"):
            function(1.5)
    for ratio in (-0.1, 1.5, 77.78):
        with pytest.raises(ValueError, match=f"ratio must be between 0 and 1, got {ratio}"):
            prune_plan(ratio=ratio, **DEPTH)


def test_prune_plan_wants_exactly_one_budget() -> None:
    with pytest.raises(ValueError, match="exactly one of average, keep, ratio must be given, got none"):
        prune_plan(**DEPTH)
    with pytest.raises(ValueError, match="exactly one of average, keep, ratio must be given, got average and ratio"):
        prune_plan(average=192, ratio=0.5, **DEPTH)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("scores", "keep", "error", "message"),
    [
        ([1.0, 2.0], 1, TypeError, r"scores must be a torch\.Tensor, got list"),
        (torch.tensor(1.0), 1, ValueError, r"scores must have shape \(\.\.\., tokens\), got 0 dimension"),
        (torch.ones(2, 0), 0, ValueError, "at least one entry on its axis 'tokens'"),
        (torch.ones(3, dtype=torch.int64), 1, ValueError, r"scores must have a real floating dtype .* torch\.int64"),
        (torch.ones(3, dtype=torch.complex64), 1, ValueError, "scores must have a real floating dtype"),
        (torch.tensor([1.0, math.nan]), 1, ValueError, r"scores must be finite, got nan at index \(1,\)"),
        (torch.tensor([1.0, -math.inf]), 1, ValueError, r"scores must be finite, got -inf at index \(1,\)"),
        (torch.ones(3), -1, ValueError, "keep must be between 0 and 3, got -1"),
        (torch.ones(3), 4, ValueError, "keep must be between 0 and 3, got 4"),
        (torch.ones(3), 1.0, TypeError, "keep must be an int, got float"),
    ],
)
def test_select_tokens_rejects_bad_input(scores: torch.Tensor, keep: int, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        select_tokens(scores, keep)


@pytest.mark.usefixtures("own_checks")
def test_split_keep_rejects_bad_input() -> None:
    with pytest.raises(ValueError, match="keep must be between 0 and 10, got 11"):
        split_keep(11, [6, 4])
    with pytest.raises(ValueError, match="keep must be between 0 and 0, got 1"):
        split_keep(1, [])
    with pytest.raises(ValueError, match="visual_tokens_per_image must be at least 1, got 0"):
        split_keep(1, [6, 0])
    with pytest.raises(TypeError, match="visual_tokens_per_image must be an int, got float"):
        split_keep(1, [6.0])  # type: ignore[list-item]


IMAGES = torch.tensor([[-1, 0, 0, 1]])
SCORES = torch.tensor([[math.nan, 1.0, 2.0, 3.0]])


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"scores": [[1.0]]}, TypeError, r"scores must be a torch\.Tensor, got list"),
        ({"scores": torch.ones(4)}, ValueError, r"scores must have shape \(batch, sequence\), got shape \(4,\)"),
        (
            {"scores": torch.ones(1, 5)},
            ValueError,
            r"scores must have the shape of image_index, \(1, 4\), got \(1, 5\)",
        ),
        ({"scores": torch.ones(1, 4, dtype=torch.int64)}, ValueError, "scores must have a real floating dtype"),
        ({"scores": SCORES * math.inf}, ValueError, "scores must be finite, got inf"),
        ({"image_index": [[0]]}, TypeError, r"image_index must be a torch\.Tensor, got list"),
        ({"image_index": IMAGES[0]}, ValueError, r"image_index must have shape \(batch, sequence\)"),
        ({"image_index": IMAGES.double()}, ValueError, r"image_index must have an integer dtype, got torch\.float64"),
        ({"image_index": IMAGES >= 0}, ValueError, r"image_index must have an integer dtype, got torch\.bool"),
        ({"image_index": IMAGES - 1}, ValueError, "image_index must be at least -1 everywhere, got -2"),
        ({"keep": [1, 1]}, ValueError, "keep must have one entry per row, 1, got 2"),
        ({"keep": [4]}, ValueError, r"keep\[0\] must be between 0 and 3, got 4"),
        ({"keep": [-1]}, ValueError, r"keep\[0\] must be between 0 and 3, got -1"),
        ({"over_images": "some"}, ValueError, "over_images must be one of 'each', 'all', got 'some'"),
    ],
)
def test_kept_mask_rejects_bad_input(changed: dict[str, object], error: type, message: str) -> None:
    for policy in ("each", "all"):
        arguments = {"scores": SCORES, "image_index": IMAGES, "keep": [2], "over_images": policy, **changed}
        with pytest.raises(error, match=message):
            kept_mask(**arguments)  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_checks")
def test_gather_index_rejects_bad_input() -> None:
    with pytest.raises(TypeError, match=r"kept must be a torch\.Tensor, got list"):
        gather_index([[True]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"kept must have shape \(batch, sequence\), got shape \(3,\)"):
        gather_index(torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"kept must have dtype bool, got torch\.int64"):
        gather_index(torch.ones(2, 3, dtype=torch.int64))

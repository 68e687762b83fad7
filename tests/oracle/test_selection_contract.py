"""The contract of the selection of tokens: its scores, and which law each wrong selection breaks."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref import select_tokens
from entropyprune_ref.oracle import CONTRACTS, SIZES, check
from entropyprune_ref.oracle.bugs import MUTANTS
from entropyprune_ref.oracle.inputs import scores
from entropyprune_ref.oracle.inputs.case import Case, Setting
from entropyprune_ref.oracle.judging.trying import judged
from tests.oracle.broken import broken

SIZE = os.environ.get("ORACLE_SIZE", "quick")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
LAWS = {law.name: law for law in CONTRACTS["select_tokens"].laws}

dtypes = st.sampled_from(DTYPES)


def setting(dtype: torch.dtype = torch.float64) -> Setting:
    return Setting("select_tokens", dtype=dtype)


def rows_of(case: Case, dtype: torch.dtype = torch.float64) -> list[list[float]]:
    built = scores.build(case, dtype).double()
    return built.reshape(-1, built.shape[-1]).tolist()


def by_definition(row: list[float], keep: int) -> list[int]:
    """Eq. 5.2 in plain Python."""
    return sorted(sorted(range(len(row)), key=lambda token: (-row[token], token))[:keep])


# What the strategies draw


@given(scores.scores(setting(), "distinct", axes=(0, 2), step=16), dtypes)
def test_distinct_scores_are_distinct_in_every_dtype(case: Case, dtype: torch.dtype) -> None:
    for row in rows_of(case, dtype):
        assert len(set(row)) == len(row) == case.numbers["tokens"]


@given(scores.scores(setting(), "distinct", axes=(2, 2), step=16, least_tokens=2))
def test_rows_of_a_batch_lie_at_different_heights(case: Case) -> None:
    lowest = [min(row) for row in rows_of(case)]
    assert lowest == sorted(set(lowest))


@given(scores.scores(setting(), "distinct", sign=-1))
def test_negative_scores_are_negative(case: Case) -> None:
    assert max(map(max, rows_of(case))) < 0


@given(scores.cuts(setting(), "tie at the cut"), dtypes)
def test_ties_at_the_cut_are_exact(case: Case, dtype: torch.dtype) -> None:
    (row,) = rows_of(case, dtype)
    ordered, keep = sorted(row, reverse=True), case.numbers["keep"]
    assert ordered[keep - 1] == ordered[keep]


@given(dtypes, st.data())
def test_near_ties_at_the_cut_are_one_unit_apart(dtype: torch.dtype, data: st.DataObject) -> None:
    case = data.draw(scores.cuts(setting(dtype), "near-tie at the cut"))
    (row,) = rows_of(case, dtype)
    ordered, keep = sorted(row, reverse=True), case.numbers["keep"]
    cut, after = (torch.tensor(value, dtype=dtype) for value in ordered[keep - 1 : keep + 1])
    assert after < cut == torch.nextafter(after, torch.tensor(torch.inf, dtype=dtype))


@given(scores.scores(setting(), "plateaus"))
def test_plateaus_have_few_values(case: Case) -> None:
    assert len(set(*rows_of(case))) <= case.numbers["levels"] <= 4


def test_plateaus_are_flat_at_times() -> None:
    hypothesis.find(scores.scores(setting(), "plateaus", least_tokens=9), lambda case: len(set(*rows_of(case))) == 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_signed_zeros_are_of_both_signs(dtype: torch.dtype) -> None:
    def wanted(case: Case) -> bool:
        zeros = [value for value in rows_of(case, dtype)[0] if value == 0]
        return set(np.signbit(zeros).tolist()) == {True, False}

    hypothesis.find(scores.scores(setting(), "signed zeros"), wanted)


@given(dtypes, st.data())
def test_magnitudes_are_ordinary_numbers_of_the_dtype(dtype: torch.dtype, data: st.DataObject) -> None:
    built = scores.build(data.draw(scores.scores(setting(dtype), "magnitudes")), dtype)
    assert torch.isfinite(built).all() and (built.abs() >= torch.finfo(dtype).tiny).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_powers_of_two_are_the_outermost_normal_ones(dtype: torch.dtype) -> None:
    low, high = scores.powers_of_two(dtype)
    assert torch.tensor(2.0, dtype=torch.float64).pow(low) == torch.finfo(dtype).tiny
    largest = torch.tensor(2.0, dtype=dtype) ** high
    assert torch.isfinite(largest) and torch.isinf(2 * largest)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_magnitudes_come_close_to_both_ends_of_the_dtype(dtype: torch.dtype) -> None:
    low, high = scores.powers_of_two(dtype)

    def wanted(case: Case) -> bool:
        powers = scores.build(case, dtype).double().abs().log2()
        return bool(powers.min() < 0.8 * low + 0.2 * high and powers.max() > 0.2 * low + 0.8 * high)

    hypothesis.find(scores.scores(setting(dtype), "magnitudes"), wanted)


@given(scores.scores(setting(), "distinct", axes=(0, 3), least_tokens=2, layout=True))
def test_views_of_scores_hold_the_same_numbers(case: Case) -> None:
    built = scores.build(case, torch.float64)
    plain = scores.build(Case(case.family, {**case.numbers, "layout": "contiguous"}), torch.float64)
    again = plain[:1].expand_as(plain) if case.numbers["layout"] == "expanded" else plain
    assert torch.equal(built, again)


@given(dtypes)
def test_real_sizes_of_scores_are_more_than_16_bits_number(dtype: torch.dtype) -> None:
    tokens = {case.numbers.get("tokens", 0) for case in scores.real(setting(dtype))}
    assert {576, 2880, 23_040} <= tokens and max(tokens) > 2**16


@pytest.mark.parametrize("keep", ["some", "extremes", "any"])
def test_numbers_to_keep_are_as_asked_for(keep: str) -> None:
    @given(scores.scores(setting(), "distinct", keep=keep))
    def holds(case: Case) -> None:
        tokens, kept = case.numbers["tokens"], case.numbers["keep"]
        allowed = {"some": range(1, max(tokens, 2)), "extremes": (0, tokens), "any": range(tokens + 1)}[keep]
        assert kept in allowed or tokens == 1

    holds()


@given(scores.impossible_keeps(setting()))
def test_impossible_keeps_are_impossible(case: Case) -> None:
    assert not 0 <= case.numbers["keep"] <= case.numbers["tokens"]


@given(scores.empty_batches(setting()))
def test_empty_batches_of_scores_have_tokens_and_no_rows(case: Case) -> None:
    built = scores.build(case, torch.float64)
    assert built.numel() == 0 and built.shape[-1] == case.numbers["tokens"] >= 1


def any_scores(dtype: torch.dtype, laws: Iterable[str]) -> st.SearchStrategy[Case]:
    drawn = [LAWS[law].cases(setting(dtype)) for law in sorted(laws)]
    return st.one_of(*(st.sampled_from(cases) if isinstance(cases, list) else cases for cases in drawn))


@given(dtypes, st.data())
def test_build_of_scores_is_reproducible_and_of_the_dtype(dtype: torch.dtype, data: st.DataObject) -> None:
    case = data.draw(any_scores(dtype, LAWS))
    built = scores.build(case, dtype)
    assert built.dtype == dtype and built.shape[:-1] == tuple(case.numbers["batch"])
    assert torch.equal(built, scores.build(case, dtype))


def test_build_of_scores_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"family must be one of 'distinct', .*, got 'noisy'"):
        scores.build(Case("noisy", {}), torch.float64)
    with pytest.raises(ValueError, match=r"numbers must be those of 'distinct', got {'batch': \[\]}"):
        scores.build(Case("distinct", {"batch": []}), torch.float64)
    with pytest.raises(ValueError, match=r"layout must be one of .*, got 'spiral'"):
        scores.build(Case("distinct", {"batch": [], "tokens": 2, "layout": "spiral", "seed": 0}), torch.float64)


# What is expected


@given(dtypes, st.data())
def test_expected_selections_are_those_of_the_definition(dtype: torch.dtype, data: st.DataObject) -> None:
    case = data.draw(any_scores(dtype, LAWS.keys() - {"impossible keep"}))
    built, keep = scores.build(case, dtype), case.numbers["keep"]
    expected = [by_definition(row, keep) for row in rows_of(case, dtype)]
    assert select_tokens(built, keep).reshape(-1, keep).tolist() == expected if keep else True


# Correct selections


def checked(keep: int, tokens: int) -> None:
    if not 0 <= keep <= tokens:
        raise ValueError("keep out of range")


def by_sort(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    checked(keep, given_scores.shape[-1])
    return given_scores.argsort(dim=-1, descending=True, stable=True)[..., :keep].sort(-1).values


def by_rank(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    """As a kernel would: each token counts those that go before it."""
    checked(keep, given_scores.shape[-1])
    own, other = given_scores[..., :, None], given_scores[..., None, :]
    order = torch.arange(given_scores.shape[-1])
    before = (other > own) | ((other == own) & (order < order[:, None]))
    kept = before.sum(-1) < keep
    return kept.nonzero()[:, -1].reshape(*given_scores.shape[:-1], keep).to(torch.int32)


def by_threshold(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    """All above the cut, then the earliest at the cut."""
    checked(keep, given_scores.shape[-1])
    if keep == 0 or given_scores.numel() == 0:
        return torch.zeros((*given_scores.shape[:-1], keep), dtype=torch.int64)
    cut = given_scores.topk(keep, dim=-1).values[..., -1:]
    above, at = given_scores > cut, given_scores == cut
    kept = above | (at & (at.cumsum(-1) <= keep - above.sum(-1, keepdim=True)))
    return kept.nonzero()[:, -1].reshape(*given_scores.shape[:-1], keep)


def by_repeated_maximum(given_scores: torch.Tensor, keep: int) -> list[Any]:
    """In Python, on lists, which are given back."""
    checked(keep, given_scores.shape[-1])
    if given_scores.ndim > 1:
        return np.array(
            [by_repeated_maximum(row, keep) for row in given_scores.reshape(-1, given_scores.shape[-1])], dtype=np.int64
        ).reshape(*given_scores.shape[:-1], keep)  # type: ignore[return-value]
    left = dict(enumerate(given_scores.tolist()))
    for _ in range(len(left) - keep):
        worst = min(left.values())
        del left[max(token for token, score in left.items() if score == worst)]
    return np.array(sorted(left), dtype=np.int64)  # type: ignore[return-value]


VARIANTS: dict[str, Callable[[torch.Tensor, int], Any]] = {
    "reference": select_tokens,
    "stable sort": by_sort,
    "rank": by_rank,
    "threshold": by_threshold,
    "repeated maximum": by_repeated_maximum,
}


QUADRATIC = ("rank", "repeated maximum")  # at 23,040 tokens they take most of a minute
IN_SHORT = [(name, DTYPES[number % 4]) for number, name in enumerate(VARIANTS) if name not in QUADRATIC]


@pytest.mark.parametrize(
    ("name", "dtype"),
    IN_SHORT if SIZE == "quick" else [(name, dtype) for name in VARIANTS for dtype in DTYPES],
    ids=str,
)
def test_correct_selections_never_fail(name: str, dtype: torch.dtype) -> None:
    report = check("select_tokens", VARIANTS[name], dtype=dtype, size=SIZE, time_limit=60)
    assert report.passed, str(report)


def by_lexsort(given_scores: np.ndarray, keep: int) -> np.ndarray:
    checked(keep, given_scores.shape[-1])
    order = np.argsort(-given_scores, axis=-1, kind="stable")
    return np.sort(order[..., :keep], axis=-1)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_correct_selection_of_numpy_never_fails(dtype: str) -> None:
    report = check("select_tokens", by_lexsort, dtype=dtype, arrays="numpy", size=SIZE)
    assert report.passed, str(report)


# Wrong selections


def nothing_of_empty_batches(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    if given_scores.numel() == 0:
        raise RuntimeError("reduction over an empty tensor")
    return select_tokens(given_scores, keep)


def in_blocks(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    """The best of each block of 64, as many of each as their share, where there is more than one."""
    tokens = given_scores.shape[-1]
    if tokens <= 64 or tokens % 64 or keep % (tokens // 64):
        return select_tokens(given_scores, keep)
    blocks = given_scores.unflatten(-1, (-1, 64))
    chosen = select_tokens(blocks, keep * 64 // tokens)
    return (chosen + 64 * torch.arange(blocks.shape[-2])[:, None]).flatten(-2)


def test_positions_of_16_bits_break_the_law_about_real_sizes_from_the_default_size_on() -> None:
    narrow = lambda given_scores, keep: select_tokens(given_scores, keep).to(torch.int16)  # noqa: E731
    assert judged(LAWS["real sizes"], narrow, setting(), SIZES["default"]).failure is not None


def ahead_of_1024(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
    seen = given_scores.double().clone()
    seen[..., 1024:] = -torch.inf
    return seen.sort(dim=-1, descending=True, stable=True).indices[..., :keep].sort(-1).values


BROKEN_BY: dict[str, dict[str | Callable[[torch.Tensor, int], Any], str]] = {
    "highest scores": {
        "keeps the lowest": "highest scores",
        "keeps one more": "shape",
        "keeps one less": "shape",
        "the first tokens whatever their scores": "highest scores",
        "positions as floating numbers": "dtype",
        "mask in place of positions": "shape",
        "chosen scores overwritten in place": "input unchanged",
    },
    "real sizes": {
        "positions in the order of scores": "real sizes",
        lambda given_scores, keep: select_tokens(given_scores, keep).to(torch.int8): "real sizes",
        ahead_of_1024: "real sizes",
        in_blocks: "real sizes",
    },
    "negative scores": {"absolute values": "negative scores"},
    "earlier of equals": {
        "ties to the later token": "earlier of equals",
        "all that reach the last kept score": "shape",
    },
    "plateaus": {"ties to the later token": "plateaus", "tied tokens counted once": "shape"},
    "near-ties": {
        "half-precision scores": "near-ties",
        "ties broken by a small slope": "near-ties",
        "softmax before the selection": "near-ties",
    },
    "signed zeros": {"minus zero below zero": "signed zeros"},
    "magnitudes": {"softmax before the selection": "magnitudes", "half-precision scores": "magnitudes"},
    "ascending": {"positions in the order of scores": "ascending"},
    "existing and different": {
        "the same token kept twice": "existing and different",
        "positions counted from one": "existing and different",
        "positions counted from the end": "existing and different",
    },
    "none or all": {"none taken for one": "shape", "positions counted from one": "none or all"},
    "row by row": {"top of the flattened batch": "row by row", "one selection for all rows": "row by row"},
    "views": {"views read in memory order": "views"},
    "empty batch": {nothing_of_empty_batches: "returns"},
    "impossible keep": {"impossible keep clipped": "impossible keep"},
}
ENTERED = {mutant.name: mutant.implementation for mutant in MUTANTS if mutant.contract == "select_tokens"}


def test_every_law_and_every_wrong_selection_is_in_the_table() -> None:
    assert set(BROKEN_BY) == set(LAWS)
    assert {name for names in BROKEN_BY.values() for name in names if isinstance(name, str)} == set(ENTERED)


@pytest.mark.parametrize("law", BROKEN_BY)
def test_each_law_of_the_selection_is_broken_by_the_bug_that_it_is_about(law: str) -> None:
    for wrong, law_broken in BROKEN_BY[law].items():
        candidate = ENTERED[wrong] if isinstance(wrong, str) else wrong
        failure = broken(LAWS[law], candidate, setting())
        assert failure is not None and (failure.law, failure.under) == (law_broken, law), (wrong, failure)


ANSWERS: dict[str, tuple[Callable[[torch.Tensor, int], Any], str]] = {
    "nothing": (lambda given_scores, keep: None, "kind"),
    "text": (lambda given_scores, keep: "012", "kind"),
    "tuple of values and positions": (lambda given_scores, keep: tuple(given_scores.topk(keep)), "shape"),
    "ragged lists": (lambda given_scores, keep: [[0], [0, 1]], "kind"),
    "another device": (lambda given_scores, keep: select_tokens(given_scores, keep).to("meta"), "device"),
    "bools": (lambda given_scores, keep: select_tokens(given_scores, keep).bool(), "dtype"),
    "complex": (lambda given_scores, keep: select_tokens(given_scores, keep) + 0j, "dtype"),
    "huge positions": (lambda given_scores, keep: select_tokens(given_scores, keep) + 2**62, "existing and different"),
    "NaN": (lambda given_scores, keep: select_tokens(given_scores, keep) * torch.nan, "dtype"),
    "an axis too many": (lambda given_scores, keep: select_tokens(given_scores, keep)[None], "shape"),
    "exit": (lambda given_scores, keep: exit(1), "returns"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_selection_is_reported_as_that(name: str) -> None:
    wrong, law = ANSWERS[name]
    few = (LAWS["highest scores"], LAWS["existing and different"])
    failures = [judged(entry, wrong, setting(), SIZES["quick"], shrink=False).failure for entry in few]
    assert law in {failure.law for failure in failures if failure is not None}


def test_a_refusal_that_ends_the_program_is_none() -> None:
    def ends(given_scores: torch.Tensor, keep: int) -> torch.Tensor:
        if not 0 <= keep <= given_scores.shape[-1]:
            raise SystemExit(2)
        return select_tokens(given_scores, keep)

    failure = judged(LAWS["impossible keep"], ends, setting(), SIZES["quick"], shrink=False).failure
    assert failure is not None and failure.law == "returns" and "SystemExit" in failure.message


def test_failures_of_the_selection_name_tokens_and_their_scores() -> None:
    law = LAWS["earlier of equals"]
    failure = judged(law, ENTERED["ties to the later token"], setting(), SIZES["quick"]).failure
    assert failure is not None
    assert failure.message == (
        "row 0: expected to keep 1 of 2 tokens, among them 0 (score 1); got 1 (score 1) in its place; 1 token(s) differ"
    )
    assert failure.index == (0, 0)
    assert failure.resembles in ((), ("ties to the later token",))  # named only where few bugs look alike

"""The contract of the collapse layer: its curves, its tolerance, and which law each wrong detector breaks."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref import collapse_layer
from entropyprune_ref.collapse.curves import drops_of
from entropyprune_ref.oracle import CONTRACTS, SIZES, check
from entropyprune_ref.oracle.bugs import MUTANTS
from entropyprune_ref.oracle.inputs import curves
from entropyprune_ref.oracle.inputs.case import Case, Setting
from entropyprune_ref.oracle.judging.trying import judged
from entropyprune_ref.oracle.tolerances import acceptable_layers, drop_error, tie_floor
from tests.oracle.broken import broken

SIZE = os.environ.get("ORACLE_SIZE", "quick")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
LAWS = {law.name: law for law in CONTRACTS["collapse_layer"].laws}

dtypes = st.sampled_from(DTYPES)


def setting(dtype: torch.dtype = torch.float64) -> Setting:
    return Setting("collapse_layer", dtype=dtype)


def exact_drops(curve: torch.Tensor) -> list[Fraction]:
    """Mean drops in rational numbers, by columns."""
    rows = curve.double().reshape(-1, curve.shape[-1]).tolist()
    means = [sum(map(Fraction, column)) / len(rows) for column in zip(*rows, strict=True)]
    return [before - after for before, after in pairwise(means)]


def built(case: Case, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return curves.build(case, dtype)


# What the strategies draw


@given(curves.flat(setting()), dtypes)
def test_flat_curves_do_not_change_and_nothing_rounds(case: Case, dtype: torch.dtype) -> None:
    curve = built(case, dtype)
    assert not curve.diff(dim=-1).any()
    assert drop_error(curve) == 0 or case.numbers.get("times", 1) > 1


@given(curves.rising(setting()), dtypes)
def test_rising_curves_never_fall_and_rise_somewhere(case: Case, dtype: torch.dtype) -> None:
    curve = built(case, dtype)
    assert (curve.diff(dim=-1) >= 0).all() and (curve.diff(dim=-1) > 0).any()
    assert drop_error(curve) == 0


@given(curves.single_step(setting()))
def test_single_steps_have_one_drop_and_no_other_change(case: Case) -> None:
    assert sorted(map(bool, exact_drops(built(case)))).count(True) == 1
    assert max(exact_drops(built(case))) > 0


@given(curves.late_drop(setting()))
def test_late_drops_end_in_the_largest(case: Case) -> None:
    *others, last = exact_drops(built(case))
    assert last > max(0, *others)


@given(st.one_of(curves.two_drops(setting()), curves.two_drops(setting(), shifts=(-64, 128), powers=(-40, 40))))
def test_two_drops_are_two_of_different_size(case: Case) -> None:
    small, large = sorted(drop for drop in exact_drops(built(case)) if drop > 0)
    assert small < large


def test_two_drops_come_in_either_order_with_and_without_a_larger_rise() -> None:
    for first_larger in (True, False):
        for risen in (True, False):

            def wanted(case: Case, first_larger: bool = first_larger, risen: bool = risen) -> bool:
                drops = exact_drops(built(case))
                first, second = (drop for drop in drops if drop > 0)
                return (first > second, -min(drops) > max(drops)) == (first_larger, risen)

            hypothesis.find(curves.two_drops(setting()), wanted)


@given(curves.equal_drops(setting()), dtypes)
def test_equal_drops_are_exactly_equal_and_the_largest(case: Case, dtype: torch.dtype) -> None:
    drops = exact_drops(built(case, dtype))
    assert drops.count(max(drops)) >= 2
    assert drop_error(built(case, dtype)) == 0


@given(curves.disagreeing_samples(setting()))
def test_disagreeing_samples_have_one_exception(case: Case) -> None:
    layers = [int(row.diff().argmin()) + 1 for row in built(case)]
    assert sorted(layers.count(layer) for layer in set(layers)) == [1, len(layers) - 1]
    largest, second = sorted(exact_drops(built(case)))[:-3:-1]
    assert largest > second > 0


@pytest.mark.parametrize("wins", [True, False])
def test_the_exception_among_samples_may_win_or_lose(wins: bool) -> None:
    def wanted(case: Case) -> bool:
        answers = [int(row.diff().argmin()) + 1 for row in built(case)]
        mode = max(set(answers), key=answers.count)
        return (exact_drops(built(case))[mode - 1] < max(exact_drops(built(case)))) == wins

    hypothesis.find(curves.disagreeing_samples(setting()), wanted)


@given(dtypes, st.data())
def test_near_ties_are_as_far_apart_as_they_say(dtype: torch.dtype, data: st.DataObject) -> None:
    case = data.draw(curves.near_tie(setting(dtype)))
    drops, numbers = exact_drops(built(case, dtype)), case.numbers
    apart = drops[numbers["second"] - 1] - drops[numbers["first"] - 1]
    assert apart == 4 * Fraction(torch.finfo(dtype).eps) * numbers["apart"] != 0
    assert sum(map(bool, drops)) == 2


@given(curves.noisy_decay(setting()), dtypes)
def test_noisy_curves_are_finite_entropies_and_reproducible(case: Case, dtype: torch.dtype) -> None:
    curve = built(case, dtype)
    assert torch.isfinite(curve).all() and (curve >= 0).all()
    assert torch.equal(curve, built(case, dtype))
    alone = case.numbers["samples"] == 1 and not case.numbers["axis"]
    assert curve.shape[:-1] == (() if alone else (case.numbers["samples"],))


@given(
    st.one_of(
        *(
            strategy(setting())
            for strategy in (curves.flat, curves.rising, curves.single_step, curves.late_drop, curves.equal_drops)
        ),
        curves.two_drops(setting(), shifts=(-64, 128)),
        curves.disagreeing_samples(setting()),
    ),
    dtypes,
)
def test_whole_quanta_are_the_same_numbers_in_every_dtype(case: Case, dtype: torch.dtype) -> None:
    assert torch.equal(built(case, dtype).double(), built(case))


@given(curves.disagreeing_samples(setting(), views=True))
def test_views_of_curves_are_views_with_the_same_numbers(case: Case) -> None:
    plain = {name: value for name, value in case.numbers.items() if name != "layout"}
    rows = built(Case(case.family, plain))
    assert not built(case).is_contiguous()
    assert torch.equal(built(case), rows[:1].expand_as(rows) if case.numbers["layout"] == "expanded" else rows)


def test_build_of_curves_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"family must be one of 'flat', .*, got 'steep'"):
        built(Case("steep", {}))
    with pytest.raises(ValueError, match=r"numbers must be those of 'flat', got {'height': 2}"):
        built(Case("flat", {"height": 2}))
    with pytest.raises(ValueError, match=r"layout must be one of .* got 'spiral'"):
        built(Case("flat", {"drops": [[0]], "layout": "spiral"}))


# How far a correct detector may be off


def plain_mean(rows: list[torch.Tensor]) -> torch.Tensor:
    """Summed one after the other, every partial sum rounded."""
    return sum(rows[1:], rows[0]) / len(rows)


def differences_first(curve: torch.Tensor) -> list[float]:
    rows = curve.reshape(-1, curve.shape[-1])
    return plain_mean(list(rows[:, :-1] - rows[:, 1:])).tolist()


def means_first(curve: torch.Tensor) -> list[float]:
    means = plain_mean(list(curve.reshape(-1, curve.shape[-1])))
    return (means[:-1] - means[1:]).tolist()


def reciprocal(curve: torch.Tensor) -> list[float]:
    rows = curve.reshape(-1, curve.shape[-1])
    share = torch.tensor(1 / len(rows), dtype=curve.dtype)
    means = sum(rows[1:], rows[0]) * share
    return (means[:-1] - means[1:]).tolist()


ORDERS = (differences_first, means_first, reciprocal)


def any_curve(dtype: torch.dtype) -> st.SearchStrategy[Case]:
    """Of at most 200 samples, which plain Python adds one by one."""
    drawn = (law.cases(setting(dtype)) for law in LAWS.values())
    some = st.one_of(*(cases for cases in drawn if not isinstance(cases, list)))
    return some.filter(lambda case: max(case.numbers.get(name, 1) for name in ("times", "samples")) <= 200)


@given(dtypes, st.data())
def test_drop_error_bounds_both_orders_of_computation(dtype: torch.dtype, data: st.DataObject) -> None:
    curve = built(data.draw(any_curve(dtype)), dtype)
    exact, allowed = exact_drops(curve), drop_error(curve)
    for order in ORDERS:
        for got, drop in zip(order(curve), exact, strict=True):
            assert abs(Fraction(got) - drop) <= allowed


def first_of_the_largest(drops: list[float]) -> int:
    """The rule without any floor."""
    return drops.index(max(drops)) + 1 if max(drops) > 0 else 0


@given(dtypes, st.data())
def test_acceptable_layers_hold_the_answer_of_a_plain_detector(dtype: torch.dtype, data: st.DataObject) -> None:
    curve = built(data.draw(any_curve(dtype)), dtype)
    for order in ORDERS:
        assert acceptable_layers(curve)[first_of_the_largest(order(curve))]


@given(dtypes, st.data())
def test_acceptable_layers_hold_the_answer_of_the_reference(dtype: torch.dtype, data: st.DataObject) -> None:
    curve = built(data.draw(any_curve(dtype)), dtype)
    assert acceptable_layers(curve)[collapse_layer(curve).layer or 0]


@given(dtypes, st.data())
def test_acceptable_layers_are_one_where_the_margin_is_wide(dtype: torch.dtype, data: st.DataObject) -> None:
    curve = built(data.draw(any_curve(dtype)), dtype)
    drops, slack = exact_drops(curve), tie_floor(curve) + 2 * drop_error(curve)
    levels = [Fraction(0), *drops]  # none is right if no drop is above 0
    largest, second = sorted(levels, reverse=True)[:2]
    hypothesis.assume(largest > second + slack)
    assert [place for place, fits in enumerate(acceptable_layers(curve)) if fits] == [levels.index(largest)]


@given(dtypes, st.data())
def test_tie_floor_is_that_of_the_reference(dtype: torch.dtype, data: st.DataObject) -> None:
    curve = built(data.draw(any_curve(dtype)), dtype)
    assert float(tie_floor(curve)) == drops_of(curve)[1]


def test_acceptable_layers_by_hand() -> None:
    eps = torch.finfo(torch.float32).eps
    curve = torch.tensor([4.0, 3.0, 2.0 - 4 * eps])  # drops of 1 and of 1 + 4 eps: a tie, to rounding
    assert acceptable_layers(curve) == [False, True, True]
    assert acceptable_layers(curve.double()) == [False, False, True]
    assert acceptable_layers(torch.tensor([4.0, 3.0, 2.0])) == [False, True, False]
    assert acceptable_layers(torch.tensor([1.0, 1.0, 1.0])) == [True, False, False]
    assert acceptable_layers(torch.tensor([1.0, 1.0 - eps / 2])) == [True, True]  # a drop, or rounding


# Correct detectors


@dataclass
class Found:
    layer: Any


def streaming(curve: torch.Tensor) -> int | None:
    """Means of samples that are seen one at a time."""
    mean = None
    for number, row in enumerate(curve.reshape(-1, curve.shape[-1]), start=1):
        mean = row if mean is None else mean + (row - mean) / number
    drops = [float(before - after) for before, after in pairwise(mean)]
    return first_of_the_largest(drops) or None


def by_tensor(curve: torch.Tensor) -> torch.Tensor | None:
    """A tensor without axes for the layer, in the curves' own dtype until then."""
    drops = -curve.reshape(-1, curve.shape[-1]).diff(dim=1).mean(0)
    return drops.argmax() + 1 if drops.max() > 0 else None


VARIANTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "reference": collapse_layer,
    "reference, fewer resamples": lambda curve: Found(collapse_layer(curve, bootstrap=1).layer),
    "differences first": lambda curve: first_of_the_largest(differences_first(curve)) or None,
    "means first": lambda curve: Found(np.int64(first_of_the_largest(means_first(curve))) or None),
    "by reciprocal": lambda curve: first_of_the_largest(reciprocal(curve)) or None,
    "streaming mean": streaming,
    "tensor": by_tensor,
}


IN_SHORT = [(name, DTYPES[number % 4]) for number, name in enumerate(VARIANTS) if name != "reference"]
"""The reference itself is tried in its contract, in `test_mutants`."""


@pytest.mark.parametrize(
    ("name", "dtype"),
    IN_SHORT if SIZE == "quick" else [(name, dtype) for name in VARIANTS for dtype in DTYPES],
    ids=str,
)
def test_correct_detectors_never_fail(name: str, dtype: torch.dtype) -> None:
    """Those that add one number after the other do so in the dtype of the curves, and say so."""
    own = name in ("differences first", "means first", "by reciprocal", "streaming mean")
    report = check("collapse_layer", VARIANTS[name], dtype=dtype, computes_in=dtype if own else None, size=SIZE)
    assert report.passed, str(report)


@pytest.mark.parametrize("dtype", ["float16"] if SIZE == "quick" else ["float64", "float32", "float16"])
def test_a_correct_detector_of_numpy_never_fails(dtype: str) -> None:
    def candidate(curve: np.ndarray) -> np.int64 | None:
        mean = curve.reshape(-1, curve.shape[-1]).mean(0)
        drops = mean[:-1] - mean[1:]
        return drops.argmax() + 1 if drops.max() > 0 else None

    report = check("collapse_layer", candidate, dtype=dtype, arrays="numpy", size=SIZE)
    assert report.passed, str(report)


# Wrong detectors


def blind_to_single_samples(curve: torch.Tensor) -> int | None:
    return None if curve.shape[:-1] == (1,) else collapse_layer(curve).layer


def first_32_layers(curve: torch.Tensor) -> int | None:
    return collapse_layer(curve[..., :33]).layer


def mean_of_means(size: int) -> Callable[[torch.Tensor], int | None]:
    """Of blocks of so many samples, the last of which may be shorter."""

    def detector(curve: torch.Tensor) -> int | None:
        blocks = curve.double().reshape(-1, curve.shape[-1]).split(size)
        return collapse_layer(torch.stack([block.mean(0) for block in blocks]).mean(0)).layer

    return detector


BROKEN_BY: dict[str, tuple[str | Callable[[torch.Tensor], Any], ...]] = {
    "after the drop": ("state before the drop", "rise taken for drop", "counted from the last layer"),
    "real sizes": (first_32_layers, mean_of_means(64), mean_of_means(256)),
    "many samples": (*map(mean_of_means, (8, 16, 32, 64, 128)), "largest drop of any sample"),
    "late drop": ("last drop left out", "lowest point of the curve"),
    "largest drop": (
        "largest change of either sign",
        "first drop in place of the largest",
        "largest relative drop",
        "drop over two layers",
    ),
    "earliest of equals": ("last of equal drops",),
    "none in a flat curve": ("collapse reported on a flat curve", "flat curve taken for a drop of zero"),
    "none in a rising curve": ("collapse reported on a flat curve", "rise taken for drop"),
    "mean over samples": (
        "mode over samples",
        "median over samples",
        "first sample only",
        "largest drop of any sample",
    ),
    "one sample": (blind_to_single_samples,),
    "constants": ("largest relative drop",),
    "factors": ("drops below a quarter of a nat ignored",),
    "noisy curves": ("change point",),
    "near-ties": ("computed in half precision",),
    "views": ("views read in memory order",),
}
ENTERED = {mutant.name: mutant.implementation for mutant in MUTANTS if mutant.contract == "collapse_layer"}


def test_every_law_and_every_wrong_detector_is_in_the_table() -> None:
    assert set(BROKEN_BY) == set(LAWS)
    assert {name for names in BROKEN_BY.values() for name in names if isinstance(name, str)} == set(ENTERED)


@pytest.mark.parametrize("law", BROKEN_BY)
def test_each_law_of_the_collapse_layer_is_broken_by_the_bug_that_it_is_about(law: str) -> None:
    for wrong in BROKEN_BY[law]:
        candidate, size = (ENTERED[wrong], "quick") if isinstance(wrong, str) else (wrong, "default")
        failure = broken(LAWS[law], candidate, setting(), SIZES[size])
        assert failure is not None and failure.law == law, wrong


ANSWERS: dict[str, tuple[Any, str]] = {
    "no such layer": (99, "after the drop"),
    "zero for none": (0, "after the drop"),
    "text": ("2", "kind"),
    "float": (2.0, "kind"),
    "NaN": (float("nan"), "kind"),
    "bool": (True, "kind"),
    "tensor of floats": (torch.tensor(2.0), "kind"),
    "list": ([2], "shape"),
    "one entry": (torch.tensor([2]), "shape"),
    "dictionary": ({"layer": 2}, "kind"),
    "tuple": ((2, 0.5), "shape"),
    "huge": (10**40, "after the drop"),
    "object with a text": (Found("2"), "kind"),
    "function": (print, "kind"),
    "meta tensor": (torch.tensor(2, device="meta"), "kind"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_layer_is_reported_as_that(name: str) -> None:
    answer, law = ANSWERS[name]
    failure = judged(LAWS["after the drop"], lambda curve: answer, setting(), SIZES["quick"], shrink=False).failure
    assert failure is not None and failure.law == law


def test_an_answer_that_cannot_be_read_is_reported() -> None:
    class Unreadable:
        @property
        def layer(self) -> int:
            raise RuntimeError("not yet computed")

    failures = check("collapse_layer", lambda curve: Unreadable(), size="quick", shrink=False).failures
    assert failures[0].law == "kind" and "RuntimeError" in failures[0].message


def test_failures_of_the_collapse_layer_name_both_layers_and_their_drops() -> None:
    failure = judged(LAWS["earliest of equals"], ENTERED["last of equal drops"], setting(), SIZES["quick"]).failure
    assert failure is not None and failure.numbers == {"drops": [[2, 2]]}
    assert failure.message == (
        "expected layer 1: the largest mean drop is 0.25 nats; got 2, where the mean drop is 0.25 nats"
    )
    assert failure.resembles in ((), ("last of equal drops",))  # named only where few bugs look alike

"""Contract of section 5: the number of visual tokens that an average budget leaves."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ...pruning import tokens_to_keep
from ..inputs.case import Case, Draw
from ..inputs.sizes import rungs
from ..trial.answers import refused, shown, whole_number
from ..trial.trial import Trial
from .contract import Contract, Law, Named

PUBLISHED = tuple(
    {"average": average, "visual_tokens": visual, "layers": 32, "prune_layer": 2}
    for visual, averages in ((576, (192, 128, 64)), (2880, (640, 320)))
    for average in averages
)
"""The averages that are quoted for LLaVA-1.5-7B and LLaVA-NeXT-7B, as far as they are feasible."""


@st.composite
def _depths(draw: Draw) -> dict[str, Any]:
    """Visual tokens, layers and prune layer."""
    layers = draw(st.one_of(st.integers(2, 48), rungs(129, 2)), label="layers")
    return {
        "visual_tokens": draw(st.one_of(st.integers(1, 3000), st.integers(1, 100_000)), label="visual tokens"),
        "layers": layers,
        "prune_layer": draw(st.integers(1, layers - 1), label="prune layer"),
    }


def _exact(sizes: dict[str, Any], keep: int) -> Fraction:
    """The average at which exactly `keep` tokens are left."""
    before = sizes["prune_layer"]
    spent = before * sizes["visual_tokens"] + (sizes["layers"] - before) * keep
    return Fraction(spent, sizes["layers"])


@st.composite
def _feasible(draw: Draw) -> Case:
    """Whole averages at or above the smallest feasible one."""
    sizes = draw(_depths())
    least = -(-sizes["prune_layer"] * sizes["visual_tokens"] // sizes["layers"])
    return Case("average", {"average": draw(st.integers(least, sizes["visual_tokens"]), label="average"), **sizes})


@st.composite
def _exact_averages(draw: Draw) -> Case:
    """Averages that are met exactly, as decimals, at numbers of layers that give back x from x / layers in float64.

    Those are the sums of two powers of two (Kahan), so the equation as it stands, in float64, is right here.
    """
    layers = draw(st.sampled_from([2, 4, 5, 8, 10, 20, 40]), label="layers")
    sizes = {
        "visual_tokens": draw(st.integers(1, 3000), label="visual tokens"),
        "layers": layers,
        "prune_layer": draw(st.integers(1, layers - 1), label="prune layer"),
    }
    keep = draw(st.integers(0, sizes["visual_tokens"]), label="keep")
    average = float(_exact(sizes, keep))  # at most three decimals: its shortest form is the exact number
    return Case("average", {"average": average, **sizes})


def in_float64(average: float, *, visual_tokens: int, layers: int, prune_layer: int) -> float:
    """The quotient of Eq. 5.1 as it stands, every operation rounded."""
    return (layers * average - prune_layer * visual_tokens) / (layers - prune_layer)


@st.composite
def _hard_decimals(draw: Draw) -> Case:
    """Averages that leave a whole number, and of which float64 makes one less."""
    layers = draw(st.sampled_from([25, 50, 100, 125]), label="layers")
    visual = draw(st.integers(1000, 3000), label="visual tokens")
    sizes = {
        "visual_tokens": visual,
        "layers": layers,
        "prune_layer": draw(st.integers(1, min(8, layers - 1)), label="prune layer"),
    }
    first = draw(st.integers(1, visual), label="keep at least")
    for keep in (*range(first, visual + 1), *range(1, first)):
        average = float(_exact(sizes, keep))
        if in_float64(average, **sizes) < keep:
            return Case("average", {"average": average, **sizes})
    reject()  # a few sizes have none


@st.composite
def _just_short(draw: Draw) -> Case:
    """Averages that are just short of one more token, of so many that float32 does not see it; float64 does."""
    layers = draw(st.sampled_from([16, 32, 64]), label="layers")
    visual = draw(st.integers(2**20, 2**24), label="visual tokens")
    before = draw(st.integers(1, layers - 2), label="prune layer")
    sizes = {"visual_tokens": visual, "layers": layers, "prune_layer": before}
    keep = draw(st.integers(2**19, visual - 1), label="keep")
    short = Fraction(layers - before - 1, layers)  # over a power of two: exact in float64
    return Case("average", {"average": float(_exact(sizes, keep) + short), **sizes})


@st.composite
def _decimals(draw: Draw) -> Case:
    """Feasible averages with one to six decimals."""
    sizes, digits = draw(_depths()), draw(st.integers(1, 6), label="decimals")
    least = -(-sizes["prune_layer"] * sizes["visual_tokens"] * 10**digits // sizes["layers"])
    whole = draw(st.integers(least, sizes["visual_tokens"] * 10**digits), label="average without its point")
    return Case("average", {"average": whole / 10**digits, **sizes})


@st.composite
def _infeasible(draw: Draw) -> Case:
    """Averages below what the layers before the prune layer spend, whole or not; -1 < quotient < 0 among them."""
    sizes = draw(_depths().filter(lambda drawn: drawn["prune_layer"] * drawn["visual_tokens"] > drawn["layers"]))
    digits = draw(st.sampled_from([0, 1, 3, 6]), label="decimals")
    most = (sizes["prune_layer"] * sizes["visual_tokens"] * 10**digits - 1) // sizes["layers"]
    close = draw(st.booleans(), label="as close as the decimals allow")
    whole = most if close else draw(st.integers(0, most), label="average without its point")
    return Case("average", {"average": whole / 10**digits if digits else whole, **sizes})


@st.composite
def _impossible(draw: Draw) -> Case:
    """A prune layer that does not exist, an average above all tokens, no tokens, or an average that is no number."""
    sizes = draw(_depths())
    wrong = draw(
        st.sampled_from(
            [
                {"prune_layer": 0},
                {"prune_layer": sizes["layers"]},
                {"average": sizes["visual_tokens"] + 1},
                {"average": -1},
                {"average": sizes["visual_tokens"] + 0.125},
                {"average": "nan"},
                {"average": "inf"},
                {"visual_tokens": 0, "average": 0},
            ]
        ),
        label="what is wrong",
    )
    return Case("average", {"average": sizes["visual_tokens"], **sizes} | wrong)


def _agrees(trial: Trial) -> None:
    """The candidate's number is the reference's, exactly."""
    numbers = dict(trial.case.numbers)
    got = whole_number(trial, trial.call(numbers.pop("average"), **numbers))
    expected = tokens_to_keep(**trial.case.numbers)
    if got != expected:
        raise trial.broken(trial.law, f"expected {expected} tokens, got {shown(got)}")


def _refuses(trial: Trial) -> None:
    """The candidate raises rather than keeping some other number of tokens."""
    numbers = dict(trial.case.numbers)
    average = numbers.pop("average")
    refused(
        trial, float(average) if isinstance(average, str) else average, reason="the budget cannot be met", **numbers
    )


REAL = tuple(
    Case("average", {"average": average, "visual_tokens": visual, "layers": layers, "prune_layer": before})
    for visual, layers, before, averages in (
        (576, 40, 2, (192, 64.8)),
        (324, 28, 1, (81, 40.5)),
        (2880, 32, 5, (640, 451)),
        (23_040, 28, 1, (5_760, 823.5, 6377.142857142857)),  # the last is just short of 44640 / 7, which keeps one more
        (23_040, 80, 13, (7_680, 3_744.25, 23_040)),
    )
    for average in averages
)
"""Tokens of images and videos in language models of 28 to 80 layers."""


def _law(
    name: str, statement: str, cases: SearchStrategy[Case] | list[Case], judge: Callable[[Trial], None] = _agrees
) -> Law:
    return Law(name, statement, lambda _: cases, judge)


TOKENS_TO_KEEP = Contract(
    "tokens_to_keep",
    "tokens_to_keep(average, *, visual_tokens, layers, prune_layer): numbers -> int",
    Named(
        "Visual tokens to keep so that the mean over all layers is at most the average (Eq. 5.1): "
        "floor((L * average - K * N) / (L - K)); infeasible below 0.",
        {
            "average": "visual tokens per layer, averaged over all layers; the exact decimal number that is written",
            "visual_tokens": "N, visual tokens in the prompt",
            "layers": "L, decoder layers",
            "prune_layer": "K, the first layer that runs pruned, from 1 to L - 1",
        },
        {"keep": "(), tokens, from 0 to N"},
        lambda ask, given: {"keep": ask(**given)},
        lambda _: tokens_to_keep,
    ),
    lambda: ((1,), {"visual_tokens": 1, "layers": 2, "prune_layer": 1}),
    (
        _law(
            "published budgets",
            "the averages that papers quote leave what they say",
            st.sampled_from([Case("average", numbers) for numbers in PUBLISHED]),
        ),
        _law("real sizes", "so do averages of images and videos, in models of up to 80 layers", list(REAL)),
        _law("decimals", "an average need not be a whole number", _decimals()),
        _law("average", "the mean over all layers is the most that does not exceed the average", _feasible()),
        _law("exact averages", "an average that is met exactly leaves that many", _exact_averages()),
        _law("exact decimals", "so it does where float64 falls short: an average is a decimal", _hard_decimals()),
        _law("just short", "a layer short of one more token keeps no more, of however many", _just_short()),
        _law("infeasible average", "an average that the first layers alone exceed is refused", _infeasible(), _refuses),
        _law("impossible numbers", "a layer or an average that cannot exist is refused", _impossible(), _refuses),
    ),
    floating=False,
)

"""Entropy curves over layers that hurt: families of curves, and strategies that draw them.

Most families are lists of drops in whole quanta (an eighth of a nat at power -3), so few of them that means of up to
two samples are exact in every dtype: ties are ties, and flat is flat. Deep models and many samples are the same lists
with flat layers `before` and `after`, and every sample `times` over. The others come from a seed. `build` is the only
door.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from .case import Case, Draw, Setting
from .layouts import laid_out, layouts
from .sizes import rungs

EIGHTH = -3
"""Power of two of the quantum of ordinary curves: an eighth of a nat."""

MOST_LAYERS = 10

FAMILIES = (
    "flat",
    "rising",
    "single step",
    "late drop",
    "two drops",
    "equal drops",
    "disagreeing samples",
    "two camps",
    "noisy decay",
    "near tie",
    "pair of drops",
    "one against many",
)
"""Names of the families."""


def build(case: Case, dtype: torch.dtype) -> Tensor:
    """Returns the curves that a case describes: `(states,)` or `(samples, states)`.

    Raises:
        ValueError: An unknown family, or numbers that do not fit it.

    Examples:
        >>> build(Case("single step", {"drops": [[0, 8, 0]]}), torch.float32)
        tensor([1., 1., 0., 0.])
    """
    if case.family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {case.family!r}")
    special: dict[str, Callable[..., Tensor]] = {
        "pair of drops": _pair_of_drops,
        "one against many": _one_against_many,
        "noisy decay": _noisy_decay,
        "near tie": _near_tie,
        "two camps": _two_camps,
    }
    builder = special.get(case.family, _from_drops)
    try:
        return builder(dtype, **case.numbers)
    except TypeError as error:
        raise ValueError(f"numbers must be those of {case.family!r}, got {dict(case.numbers)}: {error}") from None


def _from_drops(
    dtype: torch.dtype,
    drops: list[list[int]],
    shift: int = 0,
    power: int = EIGHTH,
    axis: bool = False,
    layout: str = "contiguous",
    before: int = 0,
    after: int = 0,
    times: int = 1,
) -> Tensor:
    """Curves that fall by whole quanta; the lowest point of each sample is at `shift` quanta."""
    falls = torch.nn.functional.pad(torch.tensor(drops, dtype=torch.float64), (before, after)).repeat(times, 1)
    drops = falls.tolist()
    heights = torch.cat([torch.zeros(len(drops), 1, dtype=torch.float64), -falls.cumsum(1)], dim=1)
    heights = (heights - heights.amin(1, keepdim=True) + shift) * 2.0**power
    return laid_out(_with_axis(heights, axis).to(dtype), layout)


def _noisy_decay(
    dtype: torch.dtype, samples: int, layers: int, rate: float, noise: float, seed: int, axis: bool = False
) -> Tensor:
    """Curves that decay from 4 nats at a common rate, with noise of their own."""
    generator = torch.Generator().manual_seed(seed)
    decay = 4 * torch.exp(-rate * torch.arange(layers + 1, dtype=torch.float64))
    scatter = noise * torch.randn(samples, layers + 1, generator=generator, dtype=torch.float64)
    return _with_axis((decay + scatter).abs(), axis).to(dtype)


def _near_tie(dtype: torch.dtype, layers: int, first: int, second: int, apart: int) -> Tensor:
    """From 4 nats a drop of 1, later one of 1 + 4 eps `apart`; flat elsewhere, and every height is exact."""
    heights = torch.full((layers + 1,), 4.0, dtype=torch.float64)
    heights[first:] -= 1
    heights[second:] -= 1 + 4 * torch.finfo(dtype).eps * apart
    return heights.to(dtype)


def _pair_of_drops(dtype: torch.dtype, layers: int, at: list[int], drops: list[int]) -> Tensor:
    """Flat but for two drops, in eighths of a nat."""
    falls = [0] * layers
    for layer, drop in zip(at, drops, strict=True):
        falls[layer - 1] = drop
    return _from_drops(dtype, [falls])


def _one_against_many(dtype: torch.dtype, samples: int, sample: int, drop: int) -> Tensor:
    """All samples but one drop by an eighth of a nat into state 1, the one by `drop` eighths into state 2."""
    falls = [[1, 0, 0]] * samples
    falls[sample] = [0, drop, 0]
    return _from_drops(dtype, falls)


def _with_axis(heights: Tensor, axis: bool) -> Tensor:
    return heights if axis or len(heights) > 1 else heights[0]


def _two_camps(
    dtype: torch.dtype, samples: int, few: int, layers: int, first: int, second: int, drop: int, share: float
) -> Tensor:
    """Most samples fall by `drop` quanta at `first`, the last `few` at `second`, by `share` of as much in the mean."""
    falls = torch.zeros(samples, layers, dtype=torch.float64)
    falls[: samples - few, first - 1] = drop
    falls[samples - few :, second - 1] = round(share * drop * (samples - few) / few)
    heights = torch.cat([torch.zeros(samples, 1, dtype=torch.float64), -falls.cumsum(1)], dim=1)
    return ((heights - heights.amin(1, keepdim=True)) * 2.0**EIGHTH).to(dtype)


def _axis() -> st.SearchStrategy[bool]:
    return st.booleans()


def _stretched(draw: Draw, *, after: bool = True, times: bool = True) -> dict[str, int]:
    """Flat layers before or after, or every sample many times over; nothing at all in most draws."""
    ways = ["", "", "before", *(["after"] if after else []), *(["times"] if times else [])]
    way = draw(st.sampled_from(ways), label="stretched")
    return {way: draw(rungs(1025 if way == "times" else 129), label="by")} if way else {}


@st.composite
def flat(draw: Draw, setting: Setting) -> Case:
    """Draws one or two samples without any change."""
    samples, layers = draw(st.integers(1, 2), label="samples"), draw(st.integers(1, MOST_LAYERS), label="layers")
    height = draw(st.integers(0, 60), label="height")
    return Case(
        "flat",
        {"drops": [[0] * layers] * samples, "shift": height, "axis": draw(_axis(), label="axis")} | _stretched(draw),
    )


@st.composite
def rising(draw: Draw, setting: Setting) -> Case:
    """Draws one or two samples that never fall and rise at least once."""
    samples, layers = draw(st.integers(1, 2), label="samples"), draw(st.integers(1, MOST_LAYERS), label="layers")
    rises = st.lists(st.integers(0, 6), min_size=layers, max_size=layers).filter(any)
    drawn = [draw(rises, label="rises") for _ in range(samples)]
    drops = [[-rise for rise in row] for row in drawn]
    return Case("rising", {"drops": drops, "axis": draw(_axis(), label="axis")} | _stretched(draw, times=False))


@st.composite
def single_step(draw: Draw, setting: Setting) -> Case:
    """Draws a curve that is flat but for one drop."""
    layers = draw(st.integers(1, MOST_LAYERS), label="layers")
    layer = draw(st.integers(1, layers), label="layer")
    drop = draw(st.integers(1, 40), label="drop")
    drops = [drop if place == layer else 0 for place in range(1, layers + 1)]
    return Case("single step", {"drops": [drops], "axis": draw(_axis(), label="axis")} | _stretched(draw))


@st.composite
def late_drop(draw: Draw, setting: Setting) -> Case:
    """Draws a curve whose last drop is its largest, by at least two quanta."""
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    others = draw(st.lists(st.integers(-3, 2), min_size=layers - 1, max_size=layers - 1), label="others")
    last = draw(st.integers(max(0, *others) + 2, 20), label="last")
    return Case("late drop", {"drops": [[*others, last]]} | _stretched(draw, after=False))


@st.composite
def two_drops(
    draw: Draw, setting: Setting, *, shifts: tuple[int, int] = (0, 0), powers: tuple[int, int] = (EIGHTH, EIGHTH)
) -> Case:
    """Draws a curve with two drops, one larger by at least two quanta, that rises or rests elsewhere.

    With three layers or more, one rise is larger than either drop half of the time.
    """
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    first, second = _two_layers(draw, layers)
    small = draw(st.integers(1, 10), label="smaller drop")
    large = draw(st.integers(small + 2, 20), label="larger drop")
    if draw(st.booleans(), label="larger first"):
        small, large = large, small
    drops = draw(st.lists(st.integers(-2, 0), min_size=layers, max_size=layers), label="others")
    rest = [layer for layer in range(1, layers + 1) if layer not in (first, second)]
    if rest and draw(st.booleans(), label="a large rise"):
        drops[draw(st.sampled_from(rest), label="at layer") - 1] = -max(small, large) - 2
    drops[first - 1], drops[second - 1] = small, large
    numbers: dict[str, Any] = {"drops": [drops]}
    if shifts != (0, 0):
        numbers["shift"] = draw(st.integers(*shifts).filter(bool), label="shift")
    if powers != (EIGHTH, EIGHTH):
        numbers["power"] = draw(st.integers(*powers), label="power")
    return Case("two drops", numbers | _stretched(draw, times=False))


@st.composite
def equal_drops(draw: Draw, setting: Setting) -> Case:
    """Draws one or two samples whose largest mean drop occurs at two layers or more, exactly equal."""
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    first, second = _two_layers(draw, layers)
    drop = draw(st.integers(2, 6), label="drop")
    row = draw(st.lists(st.integers(-2, drop - 1), min_size=layers, max_size=layers), label="others")
    row[first - 1] = row[second - 1] = drop
    rows = [row]
    if draw(st.booleans(), label="two samples"):  # the second as the first, and a quantum to and fro at the tied layers
        rows.append([fall + (place == first - 1) + (place == second - 1) for place, fall in enumerate(row)])
    return Case("equal drops", {"drops": rows} | _stretched(draw, times=False))


@st.composite
def disagreeing_samples(draw: Draw, setting: Setting, *, views: bool = False) -> Case:
    """Draws three to five samples: all but one have a drop, and one a larger drop elsewhere, which may win or lose."""
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    samples = draw(st.integers(3, 5), label="samples")
    first, second = _two_layers(draw, layers)
    if draw(st.booleans(), label="exception first"):
        first, second = second, first
    small = draw(st.integers(3, 6), label="drop of the many")
    together = (samples - 1) * small
    wins, loses = st.integers(together + 2, together + 12), st.integers(small + 1, together - 2)
    large = draw(st.one_of(wins, loses), label="drop of the one")
    exception = draw(st.integers(0, samples - 1), label="the one")
    many = [small if place == first else 0 for place in range(1, layers + 1)]
    one = [large if place == second else 0 for place in range(1, layers + 1)]
    numbers: dict[str, Any] = {"drops": [one if row == exception else many for row in range(samples)]}
    if views:
        numbers["layout"] = draw(st.sampled_from(layouts(2, 1)), label="layout")
    return Case("disagreeing samples", numbers)


@st.composite
def two_camps(draw: Draw, setting: Setting) -> Case:
    """Draws many samples of which the last, one to half of them, fall elsewhere than the rest, by less or by more.

    Those of a last block that is shorter count for more to who takes the mean of means of blocks, and for less to who
    divides by the length of a whole block; later ones count for less to who adds in 16 bits.
    """
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    first, second = _two_layers(draw, layers)
    if draw(st.booleans(), label="few first"):
        first, second = second, first
    samples = draw(rungs(1025, 7), label="samples")
    behind = {samples % edge for edge in EDGES if 0 < samples % edge <= samples // 2}  # whole blocks
    left = sorted(behind or {1})
    some = (st.integers(1, max(1, samples // 8)), st.sampled_from(left), st.sampled_from([samples // 2, samples // 3]))
    numbers = {
        "samples": samples,
        "few": draw(st.one_of(*some), label="few"),
        "layers": layers,
        "first": first,
        "second": second,
        "drop": draw(st.integers(4, 12), label="drop"),
        "share": draw(st.sampled_from([0.5, 0.8, 0.2, 1.3, 1.6]), label="share"),
    }
    return Case("two camps", numbers)


@st.composite
def noisy_decay(draw: Draw, setting: Setting) -> Case:
    """Draws up to eight samples that decay with noise, as measured curves do."""
    numbers = {
        "samples": draw(st.one_of(st.integers(1, 8), rungs(129)), label="samples"),
        "layers": draw(st.one_of(st.integers(1, 32), rungs(129)), label="layers"),
        "rate": draw(st.sampled_from([0.0, 0.02, 0.2, 1.0]), label="rate"),
        "noise": draw(st.sampled_from([1.0, 0.1, 0.01]), label="noise"),
        "seed": draw(st.integers(0, 2**16), label="seed"),
        "axis": draw(_axis(), label="axis"),
    }
    return Case("noisy decay", numbers)


@st.composite
def near_tie(draw: Draw, setting: Setting) -> Case:
    """Draws a curve with two drops that differ by a few to many units of rounding, either way."""
    layers = draw(st.integers(2, MOST_LAYERS), label="layers")
    first, second = _two_layers(draw, layers)
    digits = min(13, round(-math.log2(torch.finfo(setting.dtype).eps)) - 4)
    apart = 2 ** draw(st.integers(0, digits), label="digits")
    apart *= draw(st.sampled_from([1, -1]), label="sign")
    return Case("near tie", {"layers": layers, "first": first, "second": second, "apart": apart})


def _two_layers(draw: Draw, layers: int) -> tuple[int, int]:
    second = draw(st.integers(2, layers), label="second layer")
    return draw(st.integers(1, second - 1), label="first layer"), second


def real(setting: Setting) -> list[Case]:
    """As deep as language models of 0.5B to 72B are, up to 5,000 samples; the drop late, of few samples, or small."""
    seed = setting.seed % 2**16
    deep = [
        Case("late drop", {"drops": [[1, -1, 0, 5]], "before": layers - 4, "times": samples})
        for layers, samples in ((28, 1), (32, 1000), (40, 300), (80, 1))
    ]
    camps = [
        Case("two camps", {"samples": samples, "few": few, "layers": 80, "first": 70, "second": 3} | DECISIVE)
        for samples, few in ((1000, 8), (1025, 1))
    ]
    pairs = [
        Case("pair of drops", {"layers": 1100, "at": [20, layer], "drops": drops})
        for layer in (1, 6, 71, 301, 1100, *(edge + by for edge in EDGES for by in (-1, 0, 1, 2)))
        for drops in ([10, 13], [13, 10])
    ]
    ones = [
        Case("one against many", {"samples": 1100, "sample": sample, "drop": drop})
        for sample in (0, 5, 70, 300, 1099, *(edge + by for edge in EDGES for by in (-1, 0)))
        for drop in (1500, 800)
    ]
    long = {"samples": 5000, "few": 904, "layers": 8, "first": 7, "second": 3, "drop": 8, "share": 1.25}
    half = {"samples": 5000, "few": 2500, "layers": 8, "first": 7, "second": 3, "drop": 6, "share": 1.3}
    opposed = [[9, 0, 3, 0], [-9, 0, 3, 0], [9, 0, 3, 0], [-9, 0, 2, 0]]
    others = [
        Case("two camps", long),
        Case("two camps", half),  # sums in 16 bits come to a standstill before the second camp
        Case("disagreeing samples", {"drops": opposed, "before": 20, "times": 8}),
        Case("two drops", {"drops": [[3, 0, 7, -1]], "power": -13 if setting.dtype == torch.float16 else -30}),
    ]
    noisy = {"samples": 200, "layers": 80, "rate": 0.05, "noise": 0.1, "seed": seed, "axis": True}
    return [*deep, *camps, Case("noisy decay", noisy), *pairs, *ones, *others]


EDGES = (8, 16, 32, 64, 128, 256, 1024)
"""Of tiles."""

DECISIVE = {"drop": 8, "share": 0.8}

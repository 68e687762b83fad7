"""Token scores that hurt: families of scores, and strategies that draw them.

All values are exact in every dtype, so ties are ties wherever they are compared. Up to 70,000 tokens: more than 16 bits
number. `build` is the only door.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from .case import Case, Draw, Setting
from .layouts import laid_out, layouts
from .sizes import rungs, sizes, small

Shape = tuple[int, ...]
Builder = Callable[..., Tensor]


def build(case: Case, dtype: torch.dtype) -> Tensor:
    """Returns the scores that a case describes, `(*batch, tokens)`; its number `keep` is no part of them.

    Raises:
        ValueError: An unknown family, or numbers that do not fit it.

    Examples:
        >>> case = Case("tie at the cut", {"batch": [], "above": 1, "inside": 1, "outside": 1, "below": 0, "seed": 4})
        >>> sorted(build(case, torch.float32).tolist())
        [1.0, 1.0, 3.0]
    """
    if case.family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {case.family!r}")
    numbers = dict(case.numbers)
    numbers.pop("keep", None)
    layout = numbers.pop("layout", "contiguous")
    try:
        batch, generator = tuple(numbers.pop("batch")), torch.Generator().manual_seed(numbers.pop("seed"))
        return laid_out(FAMILIES[case.family](batch, generator, dtype, **numbers), layout)
    except (KeyError, TypeError) as error:
        raise ValueError(f"numbers must be those of {case.family!r}, got {dict(case.numbers)}: {error}") from None


def _ranks(shape: Shape, generator: torch.Generator) -> Tensor:
    """Each of 1 to `shape[-1]` once in every row, in any order."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).argsort(-1).double() + 1


def _shuffled(row: Tensor, batch: Shape, generator: torch.Generator) -> Tensor:
    """The entries of a row in another order in every row of the batch."""
    order = torch.rand((*batch, len(row)), generator=generator).argsort(-1)
    return row[order]


def _distinct(
    batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int, sign: int = 1, step: int = 0
) -> Tensor:
    """Ranks; those of each row of a batch `step` above those of the row before.

    Where the dtype has not so many whole numbers, its positive numbers in their order, as long as there are enough.
    """
    rows = torch.arange(math.prod(batch)).reshape(*batch, 1)
    ranks = _ranks((*batch, tokens), generator)
    exact = tokens + step * math.prod(batch) <= 2 / torch.finfo(dtype).eps
    if exact or torch.finfo(dtype).bits != 16:
        return (sign * (ranks + step * rows)).to(dtype)
    return sign * (ranks % 31_000).to(torch.int16).view(dtype)


def _plateaus(batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int, levels: int) -> Tensor:
    return (torch.randint(levels, (*batch, tokens), generator=generator) / 4).to(dtype)


def _tie_at_the_cut(
    batch: Shape, generator: torch.Generator, dtype: torch.dtype, above: int, inside: int, outside: int, below: int
) -> Tensor:
    """`above` tokens that are kept for sure, `inside + outside` equal ones, `below` that are dropped for sure."""
    high, low = [3.0 + rank % 250 for rank in range(above)], [-1.0 - rank % 250 for rank in range(below)]
    row = high + [1.0] * (inside + outside) + low
    return _shuffled(torch.tensor(row, dtype=torch.float64), batch, generator).to(dtype)


def _near_tie_at_the_cut(
    batch: Shape,
    generator: torch.Generator,
    dtype: torch.dtype,
    above: int,
    inside: int,
    outside: int,
    below: int,
    power: int,
) -> Tensor:
    """As a tie at the cut, but those inside are one unit of rounding above those outside."""
    high = 1 + torch.finfo(dtype).eps
    row = [3.0 + rank % 250 for rank in range(above)] + [high] * inside + [1.0] * outside + [-1.0] * below
    return (_shuffled(torch.tensor(row, dtype=torch.float64), batch, generator) * 2.0**power).to(dtype)


def _signed_zeros(batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int) -> Tensor:
    values = torch.tensor([-1.0, -0.0, -0.0, 0.0, 0.0, 1.0], dtype=dtype)
    return values[torch.randint(len(values), (*batch, tokens), generator=generator)]


def _magnitudes(batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int) -> Tensor:
    """Both signs, and powers of two over all ordinary numbers of the dtype, many more than once."""
    low, high = powers_of_two(dtype)
    powers = torch.randint(low, high + 1, (4,), generator=generator)[
        torch.randint(4, (*batch, tokens), generator=generator)
    ]
    signs = 1 - 2 * torch.randint(2, (*batch, tokens), generator=generator)
    return (signs * 2.0 ** powers.double()).to(dtype)


def powers_of_two(dtype: torch.dtype) -> tuple[int, int]:
    """The least and the greatest exponent of a normal power of two in the dtype.

    Examples:
        >>> powers_of_two(torch.float64)  # the logarithm of the largest number would round up to 1024
        (-1022, 1023)
    """
    info = torch.finfo(dtype)
    return math.frexp(info.tiny)[1] - 1, math.frexp(info.max)[1] - 1


def _one_at_the_cut(
    batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int, place: int, above: int, sign: int
) -> Tensor:
    """Ranks, all of one sign, of which that at `place` is the highest that is not among the `above` highest."""
    ranks = _ranks((*batch, tokens), generator)
    rank = float(tokens - above)
    other = (ranks == rank).double().argmax(-1, keepdim=True)
    ranks = ranks.scatter(-1, other, ranks[..., place : place + 1])
    ranks[..., place] = rank
    return (ranks if sign > 0 else ranks - tokens - 1).to(dtype)


FAMILIES: dict[str, Builder] = {
    "distinct": _distinct,
    "plateaus": _plateaus,
    "tie at the cut": _tie_at_the_cut,
    "near-tie at the cut": _near_tie_at_the_cut,
    "signed zeros": _signed_zeros,
    "magnitudes": _magnitudes,
    "one at the cut": _one_at_the_cut,
}
"""The builders by the name of their family."""


def _seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**16)


@st.composite
def scores(
    draw: Draw,
    /,
    setting: Setting,
    family: str,
    *,
    axes: tuple[int, int] = (0, 0),
    keep: str = "any",
    least_tokens: int = 1,
    layout: bool = False,
    **numbers: Any,
) -> Case:
    """Draws a case of a family that is told how many tokens it has.

    Args:
        draw: Hypothesis's way to draw.
        setting: Setting of the check.
        family: Name of the family.
        axes: Fewest and most leading axes.
        keep: How many to keep: "any" number, "some" but neither none nor all if there is a choice, or one of the
            "extremes".
        least_tokens: Fewest tokens.
        layout: Whether they lie in memory in any order.
        numbers: Further numbers of the family.
    """
    tokens = draw(sizes(least=least_tokens), label="tokens")
    batch = draw(st.lists(st.integers(1, 3), min_size=axes[0], max_size=axes[1]), label="batch")
    if batch and tokens <= 9 and draw(st.booleans(), label="large batch"):
        batch[draw(st.integers(0, len(batch) - 1), label="large axis")] = draw(rungs(1025), label="large size")
    if keep == "extremes":
        kept = draw(st.sampled_from([0, tokens]), label="keep")
    elif keep == "some" and tokens > 1:
        kept = draw(st.one_of(st.integers(1, tokens - 1), rungs(tokens - 1)), label="keep")
    else:
        kept = draw(st.integers(0, tokens), label="keep")
    if family == "plateaus":
        numbers["levels"] = draw(st.integers(1, 4), label="levels")
    if layout:
        numbers["layout"] = draw(st.sampled_from(layouts(len(batch) + 1, 1)), label="layout")
    return Case(
        family, {"batch": batch, "tokens": tokens, **numbers, "keep": kept, "seed": draw(_seeds(), label="seed")}
    )


@st.composite
def cuts(draw: Draw, setting: Setting, family: str) -> Case:
    """Draws a case whose cut goes through a tie or a near-tie."""
    counts = {
        name: draw(small(int(name.endswith("side"))), label=name) for name in ("above", "inside", "outside", "below")
    }
    if draw(st.booleans(), label="many"):
        counts[draw(st.sampled_from(sorted(counts)), label="of which many")] = draw(rungs(1025), label="many of them")
    above, inside, outside, below = (counts[name] for name in ("above", "inside", "outside", "below"))
    numbers: dict[str, Any] = {"batch": [], "above": above, "inside": inside, "outside": outside, "below": below}
    if family == "near-tie at the cut":
        numbers["power"] = draw(st.integers(-8, 8), label="power")
    return Case(family, {**numbers, "keep": above + inside, "seed": draw(_seeds(), label="seed")})


@st.composite
def empty_batches(draw: Draw, setting: Setting) -> Case:
    """Draws scores without a single row."""
    tokens = draw(st.integers(1, 9), label="tokens")
    batch = draw(st.sampled_from([[0], [0, 2], [2, 0], [1, 0, 2]]), label="batch")
    return Case(
        "distinct", {"batch": batch, "tokens": tokens, "keep": draw(st.integers(0, tokens), label="keep"), "seed": 0}
    )


@st.composite
def impossible_keeps(draw: Draw, setting: Setting) -> Case:
    """Draws scores and a number to keep that is negative or above that of the tokens."""
    tokens = draw(st.integers(1, 9), label="tokens")
    keep = draw(st.one_of(st.integers(tokens + 1, 2 * tokens + 2), st.integers(-tokens - 1, -1)), label="keep")
    return Case("distinct", {"batch": [], "tokens": tokens, "keep": keep, "seed": draw(_seeds(), label="seed")})


def real(setting: Setting) -> list[Case]:
    """As many tokens as LLaVA-1.5, LLaVA-NeXT and long videos have, beyond 16 bits too; then cuts at edges of tiles."""
    common = {"seed": setting.seed % 2**16, "batch": []}
    faint = {
        "above": 2,
        "inside": 3,
        "outside": 4,
        "below": 2,
        "keep": 5,
        "power": powers_of_two(setting.dtype)[0] // 8 * 7,
    }
    sizes = [
        Case("distinct", common | {"tokens": 576, "keep": 166}),
        Case("distinct", common | {"tokens": 2880, "keep": 490, "batch": [2]}),
        Case("plateaus", common | {"tokens": 2880, "keep": 149, "levels": 4}),
        Case("distinct", common | {"tokens": 70, "keep": 70, "batch": [2]}),
        Case("distinct", common | {"tokens": 70_000, "keep": 600}),
        Case("distinct", common | {"tokens": 23_040, "keep": 9_000}),
        Case("near-tie at the cut", common | faint),
        Case("distinct", common | {"tokens": 2880, "keep": 1}),
        Case("distinct", common | {"tokens": 33_000, "keep": 400}),
        Case("distinct", common | {"tokens": 2500, "keep": 1100, "batch": [2]}),
        Case("distinct", common | {"tokens": 9, "keep": 4, "batch": [1100]}),
    ]
    few = 254 if setting.dtype == torch.bfloat16 else 1200  # so that every rank is exact
    places = [place for edge in EDGES for place in (edge - 1, edge, edge + 1) if place < few]
    cut = common | {"batch": [2], "tokens": few, "keep": few // 2, "above": few // 2}
    edges = [
        Case("one at the cut", cut | {"place": place, "sign": sign})
        for place in (0, 5, 70, *places, few - 1)
        for sign in (1, -1)
    ]
    return sizes + edges


EDGES = (8, 16, 32, 64, 128, 256, 300, 512, 1024)
"""Of tiles, and one place within."""

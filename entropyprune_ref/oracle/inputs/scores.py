"""Token scores that hurt: families of scores, and strategies that draw them.

All values are exact in every dtype, so ties are ties wherever they are compared. `build` is the only door.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from .case import Case, Draw, Setting

Shape = tuple[int, ...]
Builder = Callable[..., Tensor]

MOST_TOKENS = 40


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
    try:
        batch, generator = tuple(numbers.pop("batch")), torch.Generator().manual_seed(numbers.pop("seed"))
        return FAMILIES[case.family](batch, generator, dtype, **numbers)
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
    """Ranks; those of each row of a batch `step` above those of the row before."""
    rows = torch.arange(math.prod(batch)).reshape(*batch, 1)
    return (sign * _ranks((*batch, tokens), generator) + step * rows).to(dtype)


def _plateaus(batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int, levels: int) -> Tensor:
    return (torch.randint(levels, (*batch, tokens), generator=generator) / 4).to(dtype)


def _tie_at_the_cut(
    batch: Shape, generator: torch.Generator, dtype: torch.dtype, above: int, inside: int, outside: int, below: int
) -> Tensor:
    """`above` tokens that are kept for sure, `inside + outside` equal ones, `below` that are dropped for sure."""
    row = [3.0 + rank for rank in range(above)] + [1.0] * (inside + outside) + [-1.0 - rank for rank in range(below)]
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
    row = [3.0 + rank for rank in range(above)] + [high] * inside + [1.0] * outside + [-1.0] * below
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


def _view(batch: Shape, generator: torch.Generator, dtype: torch.dtype, tokens: int, layout: str) -> Tensor:
    scores = _ranks((*batch, tokens), generator).to(dtype)
    if layout == "transposed":
        return scores.movedim(-1, 0).contiguous().movedim(0, -1)
    if layout == "strided":
        return torch.stack([scores, -scores, scores.flip(-1)], -1).flatten(-2)[..., ::3]
    if layout == "offset":
        return torch.nn.functional.pad(scores.flip(-1), (0, tokens)).flip(-1)[..., tokens:]
    raise ValueError(f"layout must be one of 'transposed', 'strided', 'offset', got {layout!r}")


FAMILIES: dict[str, Builder] = {
    "distinct": _distinct,
    "plateaus": _plateaus,
    "tie at the cut": _tie_at_the_cut,
    "near-tie at the cut": _near_tie_at_the_cut,
    "signed zeros": _signed_zeros,
    "magnitudes": _magnitudes,
    "view": _view,
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
    **numbers: Any,
) -> Case:
    """Draws a case of a family that is told how many tokens it has.

    Args:
        draw: Of hypothesis.
        setting: Of the check.
        family: Name of the family.
        axes: Fewest and most leading axes.
        keep: How many to keep: "any" number, "some" but neither none nor all if there is a choice, or one of the
            "extremes".
        least_tokens: Fewest tokens.
        numbers: Further numbers of the family.
    """
    tokens = draw(st.integers(least_tokens, MOST_TOKENS), label="tokens")
    batch = draw(st.lists(st.integers(1, 3), min_size=axes[0], max_size=axes[1]), label="batch")
    if keep == "extremes":
        kept = draw(st.sampled_from([0, tokens]), label="keep")
    elif keep == "some" and tokens > 1:
        kept = draw(st.integers(1, tokens - 1), label="keep")
    else:
        kept = draw(st.integers(0, tokens), label="keep")
    if family == "plateaus":
        numbers["levels"] = draw(st.integers(1, 4), label="levels")
    elif family == "view":
        layouts = ["transposed", "strided", "offset"] if batch else ["strided", "offset"]
        numbers["layout"] = draw(st.sampled_from(layouts), label="layout")
    return Case(
        family, {"batch": batch, "tokens": tokens, **numbers, "keep": kept, "seed": draw(_seeds(), label="seed")}
    )


@st.composite
def cuts(draw: Draw, setting: Setting, family: str) -> Case:
    """Draws a case whose cut goes through a tie or a near-tie."""
    above, below = draw(st.integers(0, 8), label="above"), draw(st.integers(0, 8), label="below")
    inside, outside = draw(st.integers(1, 10), label="inside"), draw(st.integers(1, 10), label="outside")
    numbers: dict[str, Any] = {"batch": [], "above": above, "inside": inside, "outside": outside, "below": below}
    if family == "near-tie at the cut":
        numbers["power"] = draw(st.integers(-8, 8), label="power")
    return Case(family, {**numbers, "keep": above + inside, "seed": draw(_seeds(), label="seed")})


@st.composite
def empty_batches(draw: Draw, setting: Setting) -> Case:
    """Draws scores without a single row."""
    tokens = draw(st.integers(1, 9), label="tokens")
    batch = draw(st.sampled_from([[0], [0, 2], [2, 0]]), label="batch")
    return Case(
        "distinct", {"batch": batch, "tokens": tokens, "keep": draw(st.integers(0, tokens), label="keep"), "seed": 0}
    )


@st.composite
def impossible_keeps(draw: Draw, setting: Setting) -> Case:
    """Draws scores and a number to keep that is negative or above that of the tokens."""
    tokens = draw(st.integers(1, 9), label="tokens")
    keep = draw(st.one_of(st.integers(tokens + 1, 2 * tokens + 2), st.integers(-tokens - 1, -1)), label="keep")
    return Case("distinct", {"batch": [], "tokens": tokens, "keep": keep, "seed": draw(_seeds(), label="seed")})

"""Inputs that hurt, for everything that takes a stack of matrices: families of matrices, and strategies that draw them.

A family builds `(*batch, rows, columns)` from a few numbers and a seed, in float64, and rounds it to the dtype asked
for; the candidate and the reference are given the same rounded numbers. `build` is the only door.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from .case import Case, Draw, Setting

Builder = Callable[..., Tensor]


def build(case: Case, dtype: torch.dtype) -> Tensor:
    """Returns the input that a case describes.

    Raises:
        ValueError: An unknown family, or numbers that do not fit it.

    Examples:
        >>> build(Case("equal rows", {"batch": [1], "rows": 2, "columns": 2, "seed": 0}), torch.float32).diff(dim=1)
        tensor([[[0., 0.]]])
    """
    if case.family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {case.family!r}")
    numbers = dict(case.numbers)
    shape = (*numbers.pop("batch"), numbers.pop("rows"), numbers.pop("columns"))
    generator = torch.Generator().manual_seed(numbers.pop("seed"))
    try:
        return FAMILIES[case.family](shape, generator, dtype, **numbers)
    except TypeError as error:
        raise ValueError(f"numbers must be those of the family {case.family!r}, got {numbers}: {error}") from None


def spectrum_stack(shape: tuple[int, ...], generator: torch.Generator, levels: Tensor) -> Tensor:
    r"""Matrices $U \operatorname{diag}(\sqrt\lambda)\, V^\top$ whose columns sum to zero: their spectrum is known.

    Args:
        shape: `(*batch, rows, columns)`.
        generator: Of the two orthonormal bases.
        levels: `(*batch, count)`, the eigenvalues of $\tilde Z^\top \tilde Z$; `count <= min(rows - 1, columns)`.
    """
    *batch, rows, columns = shape
    count = levels.shape[-1]
    left = _normal((*batch, rows, count), generator)
    left = torch.linalg.qr(left - left.mean(-2, keepdim=True)).Q
    right = torch.linalg.qr(_normal((*batch, columns, count), generator)).Q
    return (left * levels.sqrt()[..., None, :]) @ right.mT


def largest_rank(shape: tuple[int, ...]) -> int:
    """The rank that centred matrices of this shape can have."""
    return min(shape[-2] - 1, shape[-1])


def scale_bounds(dtype: torch.dtype, rows: int, columns: int) -> tuple[int, int]:
    """Powers of two that entries of order one may be multiplied by.

    The sum of all squares stays below the largest number, with room for entries up to 8; and squares of entries stay
    normal numbers down to `eps` of the largest, so that the plain formula loses nothing to underflow. Within 1e-30 to
    1e30.
    """
    info = torch.finfo(dtype)
    high = math.floor(math.log2(info.max / (64 * rows * columns)) / 2)
    low = math.ceil(math.log2(info.tiny / info.eps) / 2)
    return min(max(low, -99), 0), max(min(high, 99), 0)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _gaussian(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return _normal(shape, generator).to(dtype)


def _spectrum(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, decay: float) -> Tensor:
    rank = largest_rank(shape)
    if rank == 0:
        return torch.zeros(shape, dtype=dtype)
    levels = decay ** torch.arange(rank, dtype=torch.float64)
    return spectrum_stack(shape, generator, levels.expand(*shape[:-2], rank)).to(dtype)


def _rank_one(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    left = torch.randint(-3, 4, (*shape[:-1], 1), generator=generator).double()
    right = torch.randint(-3, 4, (*shape[:-2], 1, shape[-1]), generator=generator).double()
    return (left * right).to(dtype)


def _equal_levels(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, rank: int) -> Tensor:
    levels = torch.ones(*shape[:-2], rank, dtype=torch.float64)
    return spectrum_stack(shape, generator, levels).to(dtype)


def _near_degenerate(
    shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, rank: int, gap: float
) -> Tensor:
    levels = 1 + gap * torch.arange(rank, dtype=torch.float64)
    return spectrum_stack(shape, generator, levels.expand(*shape[:-2], rank)).to(dtype)


def _scaled(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, power: int) -> Tensor:
    return (_normal(shape, generator) * 2.0**power).to(dtype)


def _equal_rows(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    row = torch.randint(-8, 9, (*shape[:-2], 1, shape[-1]), generator=generator)
    return row.expand(shape).to(dtype).clone()


def _shifted(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, shift: float) -> Tensor:
    common = _normal((*shape[:-2], 1, shape[-1]), generator)
    return (_normal(shape, generator) + shift * common).to(dtype)


def _one_huge(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, power: int) -> Tensor:
    matrices = _normal(shape, generator).reshape(-1, *shape[-2:])
    matrices[len(matrices) // 2] *= 2.0**power
    return matrices.reshape(shape).to(dtype)


def _subnormals(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Entries close to zero among ordinary ones, though never a whole column of them.

    Of such a column the covariance has a row of subnormals, on which the float32 eigensolver of torch 2.13 on a CPU
    returns NaN where that of NumPy does not: that would fail a candidate for the library it calls.
    """
    values = _normal(shape, generator)
    faint = torch.rand(shape, generator=generator) < 0.3
    faint[..., :1, :] = False
    return torch.where(faint, values * torch.finfo(dtype).tiny / 8, values).to(dtype)


def _view(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, layout: str) -> Tensor:
    if layout == "transposed":
        return _normal((*shape[:-2], shape[-1], shape[-2]), generator).to(dtype).mT
    if layout == "strided":
        wide = _normal((*shape[:-2], 2 * shape[-2], 3 * shape[-1]), generator).to(dtype)
        return wide[..., ::2, 1::3]
    if layout == "offset":
        return _normal((*shape[:-2], shape[-2] + 1, shape[-1] + 2), generator).to(dtype)[..., 1:, 2:]
    raise ValueError(f"layout must be one of 'transposed', 'strided', 'offset', got {layout!r}")


FAMILIES: dict[str, Builder] = {
    "gaussian": _gaussian,
    "known spectrum": _spectrum,
    "rank one": _rank_one,
    "equal eigenvalues": _equal_levels,
    "near-degenerate": _near_degenerate,
    "scaled": _scaled,
    "equal rows": _equal_rows,
    "shifted": _shifted,
    "one huge": _one_huge,
    "subnormals": _subnormals,
    "view": _view,
}
"""The builders by the name of their family."""

POWERS_OF_TWO = (1, 2, 4, 8, 16)


def sides() -> st.SearchStrategy[tuple[int, int]]:
    """Rows and columns: 1 of either, more of the one or the other, odd sizes, up to 33."""
    small = st.integers(1, 9)
    return st.one_of(
        st.tuples(small, small), st.tuples(st.integers(2, 33), small), st.tuples(small, st.integers(2, 33))
    )


def batches(axes: int, most: int = 4) -> st.SearchStrategy[list[int]]:
    """Leading axes, at least `axes` of them and one more at times."""
    return st.lists(st.integers(1, most), min_size=axes, max_size=axes + 1)


@st.composite
def matrices(draw: Draw, setting: Setting, family: str, axes: int, *, least_rows: int = 1, least_rank: int = 0) -> Case:
    """Draws a case of a family for a contract whose input has at least `axes` leading axes."""
    kept = sides().filter(lambda both: both[0] >= least_rows and min(both[0] - 1, both[1]) >= least_rank)
    if family == "equal rows":  # means of equal small integers are exact, and so is a reciprocal of their number
        kept = st.tuples(st.sampled_from([size for size in POWERS_OF_TWO if size >= least_rows]), st.integers(1, 9))
    rows, columns = draw(kept, label="rows, columns")
    numbers: dict[str, Any] = {
        "batch": draw(batches(axes), label="batch"),
        "rows": rows,
        "columns": columns,
        "seed": draw(st.integers(0, 2**16), label="seed"),
    }
    low, high = scale_bounds(setting.dtype, rows, columns)
    if not setting.convention.trace_normalized:  # an entropy that grows with the scale is compared at moderate ones
        low, high = max(low, -7), min(high, 7)
    rank = min(rows - 1, columns)
    if family == "known spectrum":
        numbers["decay"] = draw(st.sampled_from([0.9, 0.5, 0.1, 0.01]), label="decay")
    elif family in ("equal eigenvalues", "near-degenerate"):
        numbers["rank"] = draw(st.integers(1, rank), label="rank")
    if family == "near-degenerate":
        numbers["gap"] = draw(st.sampled_from([1e-2, 1e-5, 1e-9, 1e-13]), label="gap")
    elif family == "scaled":
        numbers["power"] = draw(st.integers(low, high), label="power")
    elif family == "one huge":
        numbers["power"] = draw(st.integers(0, high), label="power")
    elif family == "shifted":
        # so far that what rounding leaves of the differences has at least two digits
        largest = min(1e6, 0.02 / torch.finfo(setting.dtype).eps)
        numbers["shift"] = draw(st.sampled_from([0.1, 0.3, 1.0]), label="share") * largest
    elif family == "view":
        numbers["layout"] = draw(st.sampled_from(["transposed", "strided", "offset"]), label="layout")
    return Case(family, numbers)


@st.composite
def empty_batches(draw: Draw, axes: int) -> Case:
    """Draws a case without a single matrix: an empty axis before those that the contract needs."""
    rows, columns = draw(sides(), label="rows, columns")
    batch = [0, *draw(batches(axes), label="batch")]
    return Case("gaussian", {"batch": batch, "rows": max(rows, 2), "columns": columns, "seed": 0})

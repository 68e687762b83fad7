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
from .layouts import laid_out, layouts
from .sizes import shapes

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
    layout = numbers.pop("layout", "contiguous")
    shape = (*numbers.pop("batch"), numbers.pop("rows"), numbers.pop("columns"))
    generator = torch.Generator().manual_seed(numbers.pop("seed"))
    try:
        return laid_out(FAMILIES[case.family](shape, generator, dtype, **numbers), layout)
    except TypeError as error:
        raise ValueError(f"numbers must be those of the family {case.family!r}, got {numbers}: {error}") from None


def spectrum_stack(shape: tuple[int, ...], generator: torch.Generator, levels: Tensor) -> Tensor:
    r"""Matrices $U \operatorname{diag}(\sqrt\lambda)\, V^\top$ whose columns sum to zero: their spectrum is known.

    Args:
        shape: `(*batch, rows, columns)`.
        generator: Generator of the two orthonormal bases.
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


def scale_bounds(setting: Setting, rows: int, columns: int) -> tuple[int, int]:
    """Powers of two that entries of order one may be multiplied by.

    Entries up to 8 stay numbers of the dtype, and keep at least 4 bits where they are small. In what is computed in,
    the sum of all squares stays below the largest number, and squares of entries stay normal numbers down to `eps` of
    the largest, so that the plain formula loses nothing to underflow. Within 1e-30 to 1e30; entropies that grow with
    the scale are compared at moderate ones.
    """
    own, info = torch.finfo(setting.dtype), torch.finfo(setting.computes_in)
    high = math.floor(min(math.log2(own.max / 8), math.log2(info.max / (64 * rows * columns)) / 2))
    low = math.ceil(max(math.log2(own.tiny) + 4, math.log2(info.tiny / info.eps) / 2))
    most = 99 if setting.convention.trace_normalized else 7
    return min(max(low, -most), 0), max(min(high, most), 0)


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


def _power_law(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, exponent: float) -> Tensor:
    """Eigenvalues that decay so slowly that every one of them counts, as those of hidden states do."""
    rank = largest_rank(shape)
    if rank == 0:
        return torch.zeros(shape, dtype=dtype)
    levels = torch.arange(1, rank + 1, dtype=torch.float64) ** -exponent
    return spectrum_stack(shape, generator, levels.expand(*shape[:-2], rank)).to(dtype)


def _tail(
    shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, share: float, whole: bool = False
) -> Tensor:
    """One eigenvalue, and far below it one more, or all others that there can be; nothing between."""
    rank = largest_rank(shape)
    if rank < 2:
        return torch.zeros(shape, dtype=dtype)
    levels = torch.tensor([1.0, *[share] * (rank - 1 if whole else 1)], dtype=torch.float64)
    return spectrum_stack(shape, generator, levels.expand(*shape[:-2], -1)).to(dtype)


def _as_in_models(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Magnitudes as queries of trained models have them.

    A vector that all rows share, a few features that are 16 times the others, a few rows that are 8 times the others or
    more (the first, to which everything attends, the last, and some between), stacks over two orders of magnitude:
    sums of squares leave the range of float16, entries do not.
    """
    (rows, width), stack = shape[-2:], (*shape[:-2], 1, 1)
    heavy = torch.where(torch.rand(rows, 1, generator=generator) < 0.02, 8.0, 1.0).double()
    heavy[[0, -1]] = max(8.0, math.sqrt(rows) / 2)
    features = torch.where(torch.rand(width, generator=generator) < 0.05, 16.0, 1.0).double()
    size = 2.0 ** (4 * torch.rand(stack, generator=generator, dtype=torch.float64) - 1)
    own = heavy * _normal(shape, generator)
    return ((own + 2 * _normal((*stack[:-1], width), generator)) * features * size).to(dtype)


def _zero_rows(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, zeros: int) -> Tensor:
    """Some rows are zero, the others small integers and their opposites: the mean is exactly zero, however computed."""
    pairs = (shape[-2] - zeros) // 2
    half = torch.randint(-8, 9, (*shape[:-2], pairs, shape[-1]), generator=generator).double()
    rest = torch.zeros(*shape[:-2], shape[-2] - 2 * pairs, shape[-1], dtype=torch.float64)
    order = torch.randperm(shape[-2], generator=generator)
    return torch.cat([half, -half, rest], -2)[..., order, :].to(dtype)


def _twin_rows(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, kinds: int) -> Tensor:
    """Few different rows, each many times, as heads that do the same."""
    rows = _normal((*shape[:-2], kinds, shape[-1]), generator)
    return rows[..., torch.randperm(shape[-2], generator=generator) % kinds, :].to(dtype)


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
    "power law": _power_law,
    "tail": _tail,
    "as in models": _as_in_models,
    "zero rows": _zero_rows,
    "twin rows": _twin_rows,
}
"""The builders by the name of their family."""


@st.composite
def matrices(
    draw: Draw,
    setting: Setting,
    family: str,
    axes: int,
    *,
    least_rows: int = 1,
    least_rank: int = 0,
    layout: bool = False,
) -> Case:
    """Draws a case of a family for a contract whose input has at least `axes` leading axes, in any layout if asked."""
    powers = None
    if family == "equal rows":  # means of equal small integers are exact, and so is a reciprocal of their number
        most = 1 / (8 * torch.finfo(setting.computes_in).eps)
        powers = tuple(2**power for power in range(11) if least_rows <= 2**power <= most)
    batch, rows, columns = draw(shapes(axes, least_rows=least_rows, least_rank=least_rank, rows=powers))
    if family in ("zero rows", "rank one"):  # of large products with zero rows eigvalsh of torch in float32 makes NaN
        rows, columns = min(rows, 9), min(columns, 9)
    seed = draw(st.integers(0, 2**16), label="seed")
    numbers: dict[str, Any] = {"batch": batch, "rows": rows, "columns": columns, "seed": seed}
    low, high = scale_bounds(setting, rows, columns)
    rank = min(rows - 1, columns)
    if family == "known spectrum":
        numbers["decay"] = draw(st.sampled_from([0.9, 0.5, 0.1, 0.01]), label="decay")
    elif family == "power law":
        numbers["exponent"] = draw(st.sampled_from([1.0, 0.5, 2.0]), label="exponent")
    elif family == "tail":
        finest = [2.0**bits * torch.finfo(setting.computes_in).eps for bits in (3, 7)]  # that rounding leaves visible
        shares = [share for share in (0.1, 1e-2, 1e-3, *finest) if share < 0.5]
        numbers["share"] = draw(st.sampled_from(shares), label="share")
        numbers["whole"] = draw(st.booleans(), label="whole")
    elif family in ("equal eigenvalues", "near-degenerate"):  # as many as there can be, and one less, as often as any
        one = st.one_of(st.integers(1, rank), st.sampled_from([rank, max(1, rank - 1)]))
        numbers["rank"] = draw(one, label="rank")
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
    elif family == "zero rows":
        numbers["zeros"] = draw(st.integers(1, rows), label="zeros")
    elif family == "twin rows":
        numbers["kinds"] = draw(st.integers(2, min(rows, 4)), label="kinds")
    if layout:
        numbers["layout"] = draw(st.sampled_from(layouts(len(batch) + 2, 2)), label="layout")
    return Case(family, numbers)


@st.composite
def empty_batches(draw: Draw, axes: int) -> Case:
    """Draws a case without a single matrix: an axis before those that the contract needs is empty."""
    batch, rows, columns = draw(shapes(axes + 1, least_rows=2))
    batch = [min(size, 3) for size in batch]
    batch[draw(st.integers(0, len(batch) - 1 - axes), label="empty axis")] = 0
    return Case("gaussian", {"batch": batch, "rows": min(rows, 33), "columns": min(columns, 33), "seed": 0})

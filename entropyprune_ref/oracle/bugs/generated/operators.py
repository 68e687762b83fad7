"""What can go wrong at a place: at block sizes, at either end, in narrow formats, between neighbours and calls."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]

BLOCKS = (8, 16, 32, 64, 128, 256, 1024)
"""Sizes of tiles, buffers and tables."""

SINGLES = (0, 5, 70, 300)
"""Indices of elements that are treated alone, from the first on; -1 is the last."""


def _kept(value: Tensor, axis: int, keep: Callable[[Tensor], Tensor]) -> Tensor:
    """Zero wherever an index along the axis is not to be kept."""
    mask = keep(torch.arange(value.shape[axis]))
    shape = [1] * value.ndim
    shape[axis] = -1
    return torch.where(mask.reshape(shape), value, torch.zeros_like(value))


def _read(value: Tensor, axis: int, index: Callable[[Tensor], Tensor]) -> Tensor:
    """Every index along the axis reads another one."""
    size = value.shape[axis]
    return value if size == 0 else value.index_select(axis, index(torch.arange(size)).clamp(0, size - 1))


def _single(value: Tensor, axis: int, at: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    """One element along the axis is changed, where it exists."""
    size = value.shape[axis]
    at = at + size if at < 0 else at
    if not 0 <= at < size:
        return value
    here = _kept(torch.ones_like(value), axis, lambda index: index == at).bool()
    return torch.where(here, change(value), value)


def _more(value: Tensor) -> Tensor:
    return 2 * value if value.is_floating_point() else (~value if value.dtype == torch.bool else value + 1)


def _swapped(value: Tensor, axis: int, n: int) -> Tensor:
    """The memory of the transposed matrix, read as if it had the shape of the matrix."""
    return value.mT.reshape(value.shape)


def ten_bits(value: Tensor) -> Tensor:
    """Rounded to a significand of ten bits behind the point, in any range, as tensor cores take float32."""
    mantissa, exponent = torch.frexp(value.double())
    return torch.ldexp((mantissa * 2**11).round() / 2**11, exponent).to(value.dtype)


BLOCKED: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "cut at {n}": lambda v, axis, n: _kept(v, axis, lambda i: i < n),
    "what is left behind blocks of {n} lost": lambda v, axis, n: _kept(
        v, axis, lambda i: (i < len(i) // n * n) | torch.tensor(len(i) <= n)
    ),
    "index modulo {n}": lambda v, axis, n: _read(v, axis, lambda i: i % n),
    "first of each block of {n} from the block before": lambda v, axis, n: _read(
        v, axis, lambda i: torch.where(i % n == 0, i - 1, i)
    ),
    "last of each block of {n} twice": lambda v, axis, n: _read(
        v, axis, lambda i: torch.where(i % n == n - 1, i - 1, i)
    ),
}
"""At the edges of blocks of n along an axis."""

ENDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "first missing": lambda v, axis, n: _kept(v, axis, lambda i: i > 0),
    "last missing": lambda v, axis, n: _kept(v, axis, lambda i: i < len(i) - 1),
    "index one less": lambda v, axis, n: _read(v, axis, lambda i: i - 1),
    "index one more": lambda v, axis, n: _read(v, axis, lambda i: i + 1),
}
"""An index off by one at either end of an axis."""

ALONE: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "entry {n} alone doubled": lambda v, axis, n: _single(v, axis, n, _more),
    "entry {n} alone missing": lambda v, axis, n: _single(v, axis, n, torch.zeros_like),
}
"""The first, last or k-th element along an axis treated alone."""

NEIGHBOURS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "each reads its neighbour": lambda v, axis, n: v.roll(1, axis),
    "all read the first": lambda v, axis, n: _read(v, axis, lambda i: 0 * i),
    "entry {n} reads its neighbour": lambda v, axis, n: _read(v, axis, lambda i: torch.where(i == n, i - 1, i)),
    "from {n} on all read the first": lambda v, axis, n: _read(v, axis, lambda i: torch.where(i >= n, 0, i)),
}
"""A leading axis read from elsewhere."""

ROUNDED: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "rounded to float16": lambda v, axis, n: v.half().to(v.dtype),
    "rounded to bfloat16": lambda v, axis, n: v.bfloat16().to(v.dtype),
    "rounded to ten bits": lambda v, axis, n: ten_bits(v),
}
"""An intermediate in a narrow format."""

WHOLE: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "axes swapped": _swapped,
    "indices in float16": lambda v, axis, n: v.half().to(v.dtype),
    "indices in 8 bits": lambda v, axis, n: v.to(torch.int8).to(v.dtype),
    "indices in 16 bits": lambda v, axis, n: v.to(torch.int16).to(v.dtype),
}

VALUES = BLOCKED | ENDS | ALONE | NEIGHBOURS | ROUNDED | WHOLE


def _before(value: Tensor, memory: dict[Any, Tensor]) -> Tensor:
    key = (tuple(value.shape), value.dtype)
    old, memory[key] = memory.get(key), value.clone()
    return value if old is None else old


def _first(value: Tensor, memory: dict[Any, Tensor]) -> Tensor:
    return memory.setdefault((tuple(value.shape), value.dtype), value.clone())


def _summed(value: Tensor, memory: dict[Any, Tensor]) -> Tensor:
    key = (tuple(value.shape), value.dtype)
    memory[key] = value + memory[key] if key in memory and value.is_floating_point() else value.clone()
    return memory[key]


STATES: dict[str, Callable[[Tensor, dict[Any, Tensor]], Tensor]] = {
    "that of the call before": _before,
    "that of the first call of its shape": _first,
    "added to that of calls before": _summed,
}
"""A buffer that is kept between calls."""


def _dropped(step: Step, before: Tensor, axis: int, n: int) -> Tensor:
    return before


def _doubled(step: Step, before: Tensor, axis: int, n: int) -> Tensor:
    return step(step(before))


def _block_by_block(step: Step, before: Tensor, axis: int, n: int) -> Tensor:
    return torch.cat([step(block) for block in before.split(n, axis)], axis) if before.shape[axis] else step(before)


def _mean_of_blocks(step: Step, before: Tensor, axis: int, n: int) -> Tensor:
    if not before.shape[axis] > n:
        return step(before)
    return torch.stack([step(block) for block in before.split(n, axis)]).mean(0)


def _last_block(step: Step, before: Tensor, axis: int, n: int) -> Tensor:
    return step(before.split(n, axis)[-1]) if before.shape[axis] else step(before)


STEPS: dict[str, Callable[[Step, Tensor, int, int], Tensor]] = {
    "step dropped": _dropped,
    "step doubled": _doubled,
    "step moved behind the next": _dropped,  # the step is taken where the next value passes
    "blocks of {n} each for itself": _block_by_block,
    "mean of the results of blocks of {n}": _mean_of_blocks,
    "only the last block of {n}": _last_block,
}
"""A step that is left out, taken twice or late, or taken block by block."""


def _wrapped(bits: int) -> Callable[[Any, int], Any]:
    def wrap(value: Any, n: int) -> Any:
        half = 2 ** (bits - 1)
        return (value + half) % (2 * half) - half if isinstance(value, int) else value

    return wrap


def _in(dtype: torch.dtype) -> Callable[[Any, int], Any]:
    def rounded(value: Any, n: int) -> Any:
        there = float(torch.tensor(float(value), dtype=torch.float64).to(dtype))
        if not math.isfinite(there):
            return 0
        return int(there) if isinstance(value, int) else Fraction(there)

    return rounded


NUMBERS: dict[str, Callable[[Any, int], Any]] = {
    "one more": lambda value, n: value + 1,
    "one less": lambda value, n: value - 1,
    "doubled": lambda value, n: 2 * value,
    "halved": lambda value, n: value // 2 if isinstance(value, int) else value / 2,
    "missing": lambda value, n: 0 * value,
    "in 8 bits": _wrapped(8),
    "in 16 bits": _wrapped(16),
    "in 32 bits": _wrapped(32),
    "in float16": _in(torch.float16),
    "in bfloat16": _in(torch.bfloat16),
    "in float32": _in(torch.float32),
    "in float64": _in(torch.float64),
    "cut at {n}": lambda value, n: min(value, n),
    "in whole blocks of {n}": lambda value, n: value if value < n else value // n * n,
    "rounded up to blocks of {n}": lambda value, n: value if value < n else -(-value // n) * n,
}
"""A number off by one, in a narrow format, or cut."""

COMPARISONS = ("or equal", "turned")

KINDS = {
    "axis cut or blocked": (*BLOCKED, "blocks of {n} each for itself", "mean of the results of blocks of {n}"),
    "index off by one": tuple(ENDS),
    "one element alone": tuple(ALONE),
    "leading axis from elsewhere": tuple(NEIGHBOURS),
    "intermediate rounded": (*ROUNDED, *(name for name in WHOLE if name.startswith("indices"))),
    "axes swapped": ("axes swapped",),
    "kept between calls": tuple(STATES),
    "step dropped, doubled or moved": ("step dropped", "step doubled", "step moved behind the next"),
    "number wrong or narrow": tuple(name for name in NUMBERS if name not in BLOCKED),
    "comparison turned": COMPARISONS,
}
"""The operators in groups, for tables. A number that is cut is counted with the axes that are."""


def kind_of(operator: str) -> str:
    """The group of an operator."""
    return next((kind for kind, names in KINDS.items() if operator in names), "axis cut or blocked")

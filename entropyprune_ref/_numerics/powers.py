"""Exact multiplication by powers of two, over the whole range of float64."""

import torch
from torch import Tensor


def exponent_of(magnitudes: Tensor) -> Tensor:
    """Returns the int64 `e` with each magnitude in `[2^(e-1), 2^e)`; 0 for zero."""
    return torch.frexp(magnitudes.detach()).exponent.to(torch.int64)


def times_power_of_two(values: Tensor, exponents: Tensor) -> Tensor:
    """Multiplies exactly, in two steps, because 2^exponent itself may lie outside the range of float64."""
    half = exponents.clamp(-2044, 2046) // 2
    for step in (half, exponents.clamp(-2044, 2046) - half):
        values = values * ((step + 1023) << 52).view(torch.float64)  # the bits of 2^step
    return values

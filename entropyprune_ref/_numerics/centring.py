"""Centring that neither overflows, underflows, nor leaves a variance that is not there."""

import torch
from jaxtyping import Float64
from torch import Tensor

from .powers import exponent_of, times_power_of_two


def centred_twice(features: Tensor) -> Tensor:
    """Returns centred rows in the units of `features`, float64."""
    columns, exponents = centred_columns(features)
    return times_power_of_two(columns, exponents)


def centred_columns(features: Tensor) -> tuple[Tensor, Tensor]:
    """Returns centred columns, each scaled to order one, and the power of two that each was divided by."""
    columns = features.to(torch.float64)  # (..., samples, dims)
    exponents = exponent_of(columns.abs().amax(-2, keepdim=True))  # (..., 1, dims)
    columns = times_power_of_two(columns, -exponents)
    # the mean of equal numbers may round; what the first pass leaves of equal rows is so small that its mean is exact
    for _ in range(2):
        columns = columns - columns.mean(-2, keepdim=True)
    return columns, exponents


def unit_centred(features: Tensor) -> Tensor:
    """Returns centred features times a power of two for each batch entry, the largest in [0.5, 1) or 0."""
    columns, exponents = centred_columns(features)  # (..., samples, dims), (..., 1, dims)
    largest = columns.abs().amax(-2, keepdim=True)  # what is left of each column, of order one or far below
    varying = largest > 0
    # the magnitude of the largest centred entry, as a power of two; a column without variance has none
    magnitude = torch.where(varying, exponents + exponent_of(largest), -(2**16)).amax(-1, keepdim=True)
    return times_power_of_two(columns, torch.where(varying, exponents - magnitude, 0))


def centred_rows(queries: Tensor, up_to_scale: bool) -> Float64[Tensor, "part heads head_dim"]:
    """Returns queries centred over heads, float64; up to a power of two a token where scale does not matter."""
    if queries.dtype == torch.float64:
        return unit_centred(queries) if up_to_scale else centred_twice(queries)
    wide = queries.to(torch.float64)  # no square leaves the range of float64, and the mean of equal numbers is exact
    return wide - wide.mean(-2, keepdim=True)


def unit_rows(queries: Tensor) -> Float64[Tensor, "part heads head_dim"]:
    """Returns centred queries with each row divided by its norm; zero where only rounding is left of a row."""
    wide = queries.to(torch.float64)  # (part, heads, head_dim)
    largest = wide.detach().abs().amax((-2, -1), keepdim=True)  # (part, 1, 1)
    if queries.dtype == torch.float64:  # scaled to order one, so that subnormal queries keep their digits
        wide, largest = (times_power_of_two(values, -exponent_of(largest)) for values in (wide, largest))
    rows = centred_twice(wide) if queries.dtype == torch.float64 else centred_rows(queries, up_to_scale=False)
    # a mean over heads rounds by at most that many units of the largest query: what is smaller is no row at all
    row_largest = rows.detach().abs().amax(-1, keepdim=True)  # (part, heads, 1)
    heads, head_dim = rows.shape[-2:]
    zero = row_largest <= (heads + head_dim) * torch.finfo(torch.float64).eps * largest
    # no square leaves the range of float64: a row of float64 is of order one to 2^-52, others come from narrower dtypes
    norm = torch.linalg.vector_norm(torch.where(zero, 1.0, rows), dim=-1, keepdim=True)
    unit: Tensor = torch.where(zero, 0.0, rows / norm)
    return unit

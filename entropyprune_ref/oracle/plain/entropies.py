"""The entropies as one would write them in a few lines: what the tolerances allow for is measured on these."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...scoring import Convention


def plain_matrix_entropy(features: Float[Tensor, "*batch samples dims"]) -> Float[Tensor, "*batch"]:
    """The formula of Eq. 1.4 as one would write it, every step in the dtype of the features.

    Eigenvalues of 16-bit matrices are computed in float32, since no solver exists below it.
    """
    rest = features - features.mean(-2, keepdim=True)
    return _plain_entropy(rest if features.shape[-2] < features.shape[-1] else rest.mT)


def plain_token_entropy(
    queries: Float[Tensor, "*batch tokens heads head_dim"], convention: Convention
) -> Float[Tensor, "*batch tokens"]:
    """The formula of a convention (Eqs. 3.1 to 3.3) as one would write it, every step in the dtype of the queries."""
    rest = queries - queries.mean(-2, keepdim=True)
    if convention.row_normalized:
        norm = torch.linalg.vector_norm(rest, dim=-1, keepdim=True)
        rest = rest / torch.where(norm > 0, norm, torch.ones_like(norm))
    if convention.trace_normalized:
        return _plain_entropy(rest) / (math.log(queries.shape[-2]) if convention.log_heads else 1)
    levels = _wide_enough(rest @ rest.mT / queries.shape[-2])
    levels = torch.linalg.eigvalsh(levels).clamp(min=convention.clamp)
    total = -(levels * levels.log()).sum(-1).to(queries.dtype)
    return total / math.log(queries.shape[-2]) if convention.log_heads else total


def _plain_entropy(rows: Tensor) -> Tensor:
    """The plain entropy of the trace-normalised Gram matrix of rows."""
    product = rows @ rows.mT
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    density = product / torch.where(trace > 0, trace, torch.ones_like(trace))
    levels = torch.linalg.eigvalsh(_wide_enough(density)).clamp(min=0)
    logarithm = torch.where(levels > 0, levels, torch.ones_like(levels)).log()
    return -(levels * logarithm).sum(-1).to(rows.dtype)


def _wide_enough(matrix: Tensor) -> Tensor:
    return matrix.to(torch.promote_types(matrix.dtype, torch.float32))

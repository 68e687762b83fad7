"""Correct implementations of the entropies, each by another road: the oracle must never fail one."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from entropyprune_ref.oracle.plain.entropies import plain_token_entropy
from entropyprune_ref.scoring import Convention

Implementation = Callable[[Tensor], object]


def rows_of(queries: Tensor, convention: Convention) -> Tensor:
    """Centred rows, in the dtype of the queries."""
    rows = queries - queries.mean(-2, keepdim=True)
    if convention.row_normalized:
        norm = rows.square().sum(-1, keepdim=True).sqrt()
        rows = rows / torch.where(norm > 0, norm, 1)
    return rows


def finish(levels: Tensor, rows: Tensor, heads: int, convention: Convention) -> Tensor:
    """From the squared singular values of the rows to the score."""
    if convention.trace_normalized:
        total = levels.sum(-1, keepdim=True)
        levels = levels / torch.where(total > 0, total, 1)
        return -torch.special.xlogy(levels, levels).sum(-1)
    levels = (levels / heads).clamp(min=convention.clamp)
    return -(levels * levels.log()).sum(-1) / math.log(heads)


def by_covariance(queries: Tensor, convention: Convention) -> Tensor:
    """The other of the two dual matrices, whichever is larger."""
    rows = rows_of(queries, convention)
    product = rows.mT @ rows if rows.shape[-1] >= rows.shape[-2] else rows @ rows.mT
    wide = product.to(torch.promote_types(product.dtype, torch.float32))
    return finish(torch.linalg.eigvalsh(wide).clamp(min=0), rows, queries.shape[-2], convention)


def by_svd(queries: Tensor, convention: Convention) -> Tensor:
    """No matrix is formed at all."""
    rows = rows_of(queries, convention)
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return finish(torch.linalg.svdvals(wide).square(), rows, queries.shape[-2], convention)


def in_chunks(queries: Tensor, convention: Convention) -> Tensor:
    """Three matrices at a time."""
    stack = queries.reshape(-1, *queries.shape[-2:])
    if not len(stack):
        return queries.new_zeros(queries.shape[:-2])
    return torch.cat([plain_token_entropy(part, convention) for part in stack.split(3)]).reshape(queries.shape[:-2])


def by_late_trace(queries: Tensor, convention: Convention) -> Tensor:
    r"""The trace is divided by last: $\log s - \sum \lambda \log \lambda / s$."""
    rows = rows_of(queries, convention)
    product = rows @ rows.mT if rows.shape[-2] < rows.shape[-1] else rows.mT @ rows
    levels = torch.linalg.eigvalsh(product).clamp(min=0)
    if not convention.trace_normalized:
        return finish(torch.linalg.svdvals(rows).square(), rows, queries.shape[-2], convention)
    total = levels.sum(-1)
    safe = torch.where(total > 0, total, 1)
    return torch.where(total > 0, safe.log() - torch.special.xlogy(levels, levels).sum(-1) / safe, 0)


def by_jacobi(queries: Tensor, convention: Convention) -> Tensor:
    """One-sided Jacobi rotations in float32, as a kernel would: a fixed number of sweeps, no library."""
    rows = rows_of(queries, convention).float()
    columns = rows if rows.shape[-2] < rows.shape[-1] else rows.mT  # orthogonalise the shorter side
    vectors = list(columns.unbind(-2))
    for _ in range(10):
        for i in range(len(vectors)):
            for j in range(i + 1, len(vectors)):
                a, b = vectors[i], vectors[j]
                alpha, beta, gamma = ((x * y).sum(-1, keepdim=True) for x, y in ((a, a), (b, b), (a, b)))
                small = gamma.abs() <= 1e-7 * (alpha.sqrt() * beta.sqrt())
                zeta = (beta - alpha) / (2 * torch.where(small, 1.0, gamma))
                tangent = torch.where(zeta >= 0, 1.0, -1.0) / (zeta.abs() + torch.sqrt(1 + zeta * zeta))
                cosine = torch.rsqrt(1 + tangent * tangent)
                sine = cosine * tangent
                cosine, sine = torch.where(small, 1.0, cosine), torch.where(small, 0.0, sine)
                vectors[i], vectors[j] = cosine * a - sine * b, sine * a + cosine * b
    levels = torch.stack([vector.square().sum(-1) for vector in vectors], -1)
    return finish(levels, rows, queries.shape[-2], convention)


def by_numpy(queries: np.ndarray, convention: Convention) -> np.ndarray:
    """NumPy throughout, in the dtype that it is given."""
    rows = queries - queries.mean(-2, keepdims=True)
    if convention.row_normalized:
        norm = np.linalg.norm(rows, axis=-1, keepdims=True)
        rows = rows / np.where(norm > 0, norm, 1)
    product = rows @ np.swapaxes(rows, -1, -2)
    heads = queries.shape[-2]
    if not convention.trace_normalized:
        levels = np.linalg.eigvalsh(product / heads).clip(convention.clamp)
        return -(levels * np.log(levels)).sum(-1) / math.log(heads)
    levels = np.linalg.eigvalsh(product).clip(0)
    total = levels.sum(-1, keepdims=True)
    levels = levels / np.where(total > 0, total, 1)
    return -(levels * np.log(np.where(levels > 0, levels, 1))).sum(-1)


def compiled_matrix_entropy(backend: str) -> Callable[[Tensor], Tensor]:
    """The formula through torch.compile, for any shape; written out, since run-time shape checks cannot be traced.

    A whole graph is asked for, and many of them: else the compiler would silently go back to Python after eight.
    """

    def entropy(features: Tensor) -> Tensor:
        rows = features - features.mean(-2, keepdim=True)
        product = rows.mT @ rows
        trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        density = product / torch.where(trace > 0, trace, torch.ones_like(trace))
        levels = torch.linalg.eigvalsh(density.to(torch.promote_types(density.dtype, torch.float32))).clamp(min=0)
        return -torch.special.xlogy(levels, levels).sum(-1).to(features.dtype)

    compiled = torch.compile(entropy, backend=backend, dynamic=True, fullgraph=True)

    def patient(features: Tensor) -> Tensor:
        with torch._dynamo.config.patch(recompile_limit=1000):
            result: Tensor = compiled(features)
            return result

    return patient

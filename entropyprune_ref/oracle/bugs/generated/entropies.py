"""The entropies in steps (sections 1, 3 and 4)."""

import math

import torch
from torch import Tensor

from ....scoring import Convention
from .steps import Steps


def entropy(at: Steps, features: Tensor, convention: Convention) -> Tensor:
    """The entropy of every matrix of a stack, in float64, on the smaller side where both sides are the same.

    Args:
        at: Where bugs sit.
        features: `(..., rows, columns)`.
        convention: Formula; that of `matrix_entropy` is the paper's.
    """
    heads = features.shape[-2]
    rows = at.value("input", features.double(), ("lead", "rows", "columns"))

    def centred(rows: Tensor) -> Tensor:
        mean = at.step(
            "mean", lambda v: v.mean(-2, keepdim=True), rows, ("lead", "one", "columns"), reduces=("rows", -2)
        )
        return rows - mean

    rows = at.step("centred rows", centred, rows, ("lead", "rows", "columns"))
    if convention.row_normalized:

        def unit(rows: Tensor) -> Tensor:
            norms = at.value("norms", torch.linalg.vector_norm(rows, dim=-1, keepdim=True), ("lead", "rows", "one"))
            return rows / torch.where(at.above("norm above zero", norms, 0), norms, 1.0)

        rows = at.step("unit rows", unit, rows, ("lead", "rows", "columns"))
    side = rows if heads < features.shape[-1] or not convention.trace_normalized else rows.mT
    product = at.value("products", side @ side.mT, ("lead", "side", "other side"))

    def density(product: Tensor) -> Tensor:
        if not convention.trace_normalized:
            return product / at.number("heads", heads)
        trace = at.step("trace", _trace, product, ("lead", "one", "uno"), reduces=("side", -1))
        return product / torch.where(at.above("trace above zero", trace, 0), trace, 1.0)

    product = at.step("density matrix", density, product, ("lead", "side", "other side"))
    levels = at.value("eigenvalues", torch.linalg.eigvalsh(product), ("lead", "levels"))
    levels = at.step("clamped", lambda v: v.clamp(min=convention.clamp or 0), levels, ("lead", "levels"))
    logarithms = torch.where(at.above("eigenvalue above zero", levels, 0), levels, 1.0).log()
    logarithms = at.value("logarithms", logarithms, ("lead", "levels"))
    terms = at.value("terms", levels * logarithms, ("lead", "levels"))
    total = at.step("sum", lambda v: -v.sum(-1), terms, ("lead",), reduces=("levels", -1))
    if convention.log_heads:
        total = at.step("per log h", lambda v: v / math.log(at.number("heads of the log", heads)), total, ("lead",))
    return at.value("result", total, ("lead",))


def _trace(product: Tensor) -> Tensor:
    side = product.shape[-1]
    return product.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] if side else product.sum((-2, -1), keepdim=True)

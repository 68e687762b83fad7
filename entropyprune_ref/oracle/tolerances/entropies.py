"""Entropies: a bound from the dtype, and a multiple of the error of the plain formula."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from ...gram import centred
from ...scoring import Convention

SMALLEST_CLAMP_TERM = 1e-10 * math.log(1e10)
"""What one eigenvalue at the clamp of `RELEASED` adds to the sum, in nats."""


def fannes_audenaert(distance: Float64[Tensor, "*batch"], dimension: int) -> Float64[Tensor, "*batch"]:
    r"""How far the entropies of two density matrices can be apart that are within trace distance `distance`.

    $$|S(\rho) - S(\sigma)| \le T \log(d - 1) - T \log T - (1 - T) \log(1 - T)$$

    with $T = \tfrac12 \lVert \rho - \sigma \rVert_1$ = `distance` and $d$ = `dimension` (Audenaert, 2007). The right
    side grows up to $T = 1 - 1/d$, where it is $\log d$; beyond, $\log d$ is the bound.

    Args:
        distance: `(...)`, at least 0.
        dimension: Side of the matrices, at least 1.

    Returns:
        `(...)`, float64, in nats, in `[0, log(dimension)]`.

    Examples:
        >>> fannes_audenaert(torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64), 2).exp().tolist()
        [1.0, 2.0, 2.0]
    """
    if dimension == 1:
        return torch.zeros_like(distance)
    share = distance.clamp(0, 1 - 1 / dimension)
    mixing = torch.special.entr(share) + torch.special.entr(1 - share)
    return share * math.log(dimension - 1) + mixing


def growth(terms: int, dtype: torch.dtype) -> float:
    r"""How many units of rounding a sum of `terms` products may be off, of the sum of their magnitudes.

    In any order at most $n$ (Higham, 2002, section 3.1); with probability $1 - 2 \exp(-\lambda^2 / 2)$ for each sum no
    more than $\lambda \sqrt n$, since roundings go up as often as down (Higham and Mary, 2019). The smaller of both, at
    $\lambda = 4$ and with the room that `spectral_distance` has; in 16 bits $n$, where a sum may stand still.

    Examples:
        >>> growth(9, torch.float32), growth(4096, torch.float32), growth(4096, torch.bfloat16)
        (9.0, 256.0, 4096.0)
    """
    return float(terms if torch.finfo(dtype).bits == 16 else min(terms, 4 * math.sqrt(terms)))


def spectral_distance(
    features: Float64[Tensor, "*batch samples dims"], dtype: torch.dtype
) -> Float64[Tensor, "*batch"]:
    r"""Trace distance by which rounding may move the density matrix of the features.

    $$T = \tfrac12 g(n + p) \cdot \mathrm{eps} \cdot \kappa, \qquad
      \kappa = \lVert Z \rVert_F / \lVert \tilde Z \rVert_F$$

    with $g$ = `growth`. Rounding in the mean and the difference moves $\tilde Z$ by a multiple of
    $\mathrm{eps} \lVert Z \rVert_F$ that grows no faster than $g(n)$, hence $\rho$ by twice that over
    $\lVert \tilde Z \rVert_F$: cancellation by a common shift costs digits, and $\kappa$ says how many. Products and
    eigenvalues add a multiple of $\mathrm{eps}$ that grows with the sides. The factor one half is measured, not proved:
    over all cases of `test_correct_variants_never_fail` the worst error stays below the bound that it gives.

    Args:
        features: `(..., samples, dims)`, the exact values that the candidate was given.
        dtype: Dtype that is computed in.

    Returns:
        `(...)`, float64, at least 0; 0 where all rows are equal, infinite nowhere.
    """
    rest = centred(features)
    scale = rest.abs().amax((-2, -1), keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    spread = torch.linalg.matrix_norm(rest / scale)
    condition = torch.linalg.matrix_norm(features / scale) / torch.where(spread > 0, spread, 1.0)
    size = growth(sum(features.shape[-2:]), dtype)
    return torch.where(spread > 0, size * torch.finfo(dtype).eps / 2 * condition, 0.0).clamp(max=1.0)


def evaluation(rank: int, side: int, energy: Tensor, dtype: torch.dtype) -> Tensor:
    r"""What rounding in the last step, from eigenvalues to a sum of logarithms, may add.

    $$(\tfrac12 g(r) + 4)\,\mathrm{eps}\,(\log m + 1 + |\log s|)$$

    $-\sum \lambda \log \lambda$ has at most $r$ terms that are not nearly zero: each is rounded three times and their
    sum $g(r)$ times half a unit, and no partial sum exceeds $\log m$ (plus one for the derivative). Who divides by the
    trace at the end, $\log s - \sum \lambda \log \lambda / s$, takes the difference of two numbers as large as
    $\log s$, and each has a rounding of its own; $s$ may be the energy or the energy over the rows.

    Args:
        rank: $r$, the smaller side.
        side: $m$, the larger side.
        energy: `(...)`, the trace of $\tilde Z \tilde Z^\top / n$.
        dtype: Dtype that is computed in.

    Returns:
        `(...)`, float64, in nats.
    """
    logarithm = torch.where(energy > 0, energy, 1.0).log().abs() + math.log(side)
    return (growth(rank, dtype) / 2 + 4) * torch.finfo(dtype).eps * (math.log(side) + 1 + logarithm)


def entropy_floor(features: Float64[Tensor, "*batch samples dims"], dtype: torch.dtype) -> Float64[Tensor, "*batch"]:
    r"""What rounding in `dtype` may do to a matrix entropy.

    `fannes_audenaert` at the `spectral_distance`, and `evaluation`. The dimension is the larger side, since a candidate
    may use it.

    Args:
        features: `(..., samples, dims)`, the exact values that the candidate was given.
        dtype: Dtype that is computed in.

    Returns:
        `(...)`, float64, in nats.
    """
    side = max(features.shape[-2:])
    moved = fannes_audenaert(spectral_distance(features, dtype), side)
    return moved + evaluation(
        min(features.shape[-2:]), side, centred(features).square().sum((-2, -1)) / features.shape[-2], dtype
    )


def token_entropy_floor(
    queries: Float64[Tensor, "*batch tokens heads head_dim"], convention: Convention, dtype: torch.dtype
) -> Float64[Tensor, "*batch tokens"]:
    r"""What rounding in `dtype` may do to a token entropy, by convention.

    - Trace-normalised: `entropy_floor` of the token's matrix. If rows are normalised first, every row has its own
      $\kappa_i$, and a row that cancels to nothing has any direction: $T$ is the mean over rows of
      $\min(1, \tfrac12 g(h + d_h)\,\mathrm{eps}\,\kappa_i)$; but a row of zeros among integers whose mean is zero
      stays one, since nothing is rounded there.
    - Not normalised: of $H = s\,H(\rho) - s \log s$ the density matrix moves by $T$ and $s$ by the factor $1 \pm 2T$,
      so the error is at most $s\,\mathrm{FA}(T) + 2Ts\,(H(\rho) + |\log s| + 1)$; the sum is rounded as in
      `evaluation`, scaled by $s$; and each of at most $\max(h, d_h)$ eigenvalues that is zero in exact arithmetic may
      or may not stand at the clamp.

    Args:
        queries: `(..., tokens, heads, head_dim)`, the exact values that the candidate was given.
        convention: Which formula.
        dtype: Dtype that is computed in.

    Returns:
        `(..., tokens)`, float64, in the units of `token_entropy`.
    """
    heads, side = queries.shape[-2], max(queries.shape[-2:])
    rest = centred(queries)
    if convention.row_normalized:
        distance = _distance_of_rows(queries, rest, dtype)
        energy = (rest.abs().amax(-1) > 0).sum(-1).double() / heads
    else:
        distance, energy = spectral_distance(queries, dtype), rest.square().sum((-2, -1)) / heads
    last = evaluation(min(queries.shape[-2:]), side, energy, dtype)
    floor = fannes_audenaert(distance, side) + last
    if not convention.trace_normalized:
        logarithm = torch.where(energy > 0, energy, 1.0).log().abs()
        floor = energy * (floor + 2 * distance * (math.log(side) + logarithm + 1))
    if convention.clamp is not None:
        floor = floor + side * SMALLEST_CLAMP_TERM
    return floor / math.log(heads) if convention.log_heads else floor


def _distance_of_rows(queries: Tensor, rest: Tensor, dtype: torch.dtype) -> Tensor:
    """The trace distance where each row is divided by its own norm."""
    heads, row = queries.shape[-2], torch.linalg.vector_norm(rest, dim=-1)
    typical = torch.linalg.matrix_norm(queries)[..., None] / math.sqrt(heads)
    condition = (torch.linalg.vector_norm(queries, dim=-1) + typical) / torch.where(row > 0, row, 1.0)
    size = growth(sum(queries.shape[-2:]), dtype)
    moved = (size * torch.finfo(dtype).eps / 2 * condition).clamp(max=1.0)
    whole = (queries == queries.round()).all((-2, -1)) & (queries.abs().sum(-2).amax(-1) < 1 / torch.finfo(dtype).eps)
    nothing = (whole & (queries.sum(-2) == 0).all(-1))[..., None] & (queries == 0).all(-1)
    distance = torch.where(row > 0, moved, torch.where(nothing, 0.0, 1.0)).mean(-1)
    return torch.where((row > 0).any(-1), distance, 0.0)


def plain_factor(dtype: torch.dtype) -> int:
    """How many times the error of the plain formula in the same dtype is allowed: 2, and 3 in 16 bits.

    Two correct ways to order the same operations differ by about as much as each is off; 16-bit results are few
    digits, so their ratio scatters more.
    """
    return 3 if torch.finfo(dtype).bits == 16 else 2


def allowance(floor: Tensor, plain: Tensor, exact: Tensor, dtype: torch.dtype) -> Tensor:
    """What a candidate may be off: the floor, and `plain_factor` times the error of the plain formula in its dtype.

    Where the plain formula itself leaves the range of numbers, its error counts as none: the floor alone holds.
    """
    error = (plain.to(torch.float64) - exact).abs()
    return floor + plain_factor(dtype) * torch.where(torch.isfinite(error), error, 0.0)

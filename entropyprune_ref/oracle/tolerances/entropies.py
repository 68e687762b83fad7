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

    Properties:
        - holds on drawn pairs of density matrices, and is met by one of them ->
          `test_fannes_audenaert_bounds_drawn_pairs`, `test_fannes_audenaert_is_met_by_the_extremal_pair`

    Examples:
        >>> fannes_audenaert(torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64), 2).exp().tolist()
        [1.0, 2.0, 2.0]
    """
    if dimension == 1:
        return torch.zeros_like(distance)
    share = distance.clamp(0, 1 - 1 / dimension)
    mixing = torch.special.entr(share) + torch.special.entr(1 - share)
    return share * math.log(dimension - 1) + mixing


def spectral_distance(
    features: Float64[Tensor, "*batch samples dims"], dtype: torch.dtype
) -> Float64[Tensor, "*batch"]:
    r"""Trace distance by which rounding may move the density matrix of the features.

    $$T = \tfrac12 (n + p) \cdot \mathrm{eps} \cdot \kappa, \qquad
      \kappa = \lVert Z \rVert_F / \lVert \tilde Z \rVert_F$$

    Rounding in the mean and the difference moves $\tilde Z$ by a multiple of $\mathrm{eps} \lVert Z \rVert_F$ that
    grows no faster than $n$, hence $\rho$ by twice that over $\lVert \tilde Z \rVert_F$: cancellation by a common
    shift costs digits, and $\kappa$ says how many. Products and eigenvalues add a multiple of $\mathrm{eps}$ that
    grows with the sides. The factor one half is measured, not proved: over all cases of
    `test_correct_variants_never_fail` the worst error stays below the bound that it gives.

    Args:
        features: `(..., samples, dims)`, the exact values that the candidate was given.
        dtype: That they came in.

    Returns:
        `(...)`, float64, at least 0; 0 where all rows are equal, infinite nowhere.
    """
    rest = centred(features)
    scale = rest.abs().amax((-2, -1), keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    spread = torch.linalg.matrix_norm(rest / scale)
    condition = torch.linalg.matrix_norm(features / scale) / torch.where(spread > 0, spread, 1.0)
    size = sum(features.shape[-2:])
    return torch.where(spread > 0, size * torch.finfo(dtype).eps / 2 * condition, 0.0).clamp(max=1.0)


def entropy_floor(features: Float64[Tensor, "*batch samples dims"], dtype: torch.dtype) -> Float64[Tensor, "*batch"]:
    r"""What rounding in `dtype` may do to a matrix entropy: moves the density matrix, then rounds the sum.

    $$\mathrm{floor} = \mathrm{FA}(T, \max(n, p)) + (m + 4)\,\mathrm{eps}\,(\log m + 1), \qquad m = \max(n, p)$$

    The first term is `fannes_audenaert` at the `spectral_distance`; $d$ is the larger side, since a candidate may use
    it. The second bounds the evaluation of $-\sum \lambda \log \lambda$ over at most $m$ terms: each is rounded three
    times, their sum $m$ times, and none of the partial sums exceeds $\log m$ (plus one for the derivative).

    Args:
        features: `(..., samples, dims)`, the exact values that the candidate was given.
        dtype: That they came in.

    Returns:
        `(...)`, float64, in nats.
    """
    side = max(features.shape[-2:])
    moved = fannes_audenaert(spectral_distance(features, dtype), side)
    return moved + (side + 4) * torch.finfo(dtype).eps * (math.log(side) + 1)


def token_entropy_floor(
    queries: Float64[Tensor, "*batch tokens heads head_dim"], convention: Convention, dtype: torch.dtype
) -> Float64[Tensor, "*batch tokens"]:
    r"""What rounding in `dtype` may do to a token entropy, by convention.

    - Trace-normalised: `entropy_floor` of the token's matrix. If rows are normalised first, every row has its own
      $\kappa_i$, and a row that cancels to nothing has any direction: $T$ is the mean over rows of
      $\min(1, \tfrac12 (h + d_h)\,\mathrm{eps}\,\kappa_i)$.
    - Not normalised: of $H = s\,H(\rho) - s \log s$ the density matrix moves by $T$ and $s$ by the factor $1 \pm 2T$,
      so the error is at most $s\,\mathrm{FA}(T) + 2Ts\,(H(\rho) + |\log s| + 1)$; the sum is rounded as in
      `entropy_floor`, scaled by $s\,(1 + |\log s|)$; and each of at most $\max(h, d_h)$ eigenvalues that is zero in
      exact arithmetic may or may not stand at the clamp.

    Args:
        queries: `(..., tokens, heads, head_dim)`, the exact values that the candidate was given.
        convention: Which formula.
        dtype: That the queries came in.

    Returns:
        `(..., tokens)`, float64, in the units of `token_entropy`.
    """
    heads, side = queries.shape[-2], max(queries.shape[-2:])
    if convention.row_normalized:
        rest = centred(queries)
        row = torch.linalg.vector_norm(rest, dim=-1)
        typical = torch.linalg.matrix_norm(queries)[..., None] / math.sqrt(heads)
        condition = (torch.linalg.vector_norm(queries, dim=-1) + typical) / torch.where(row > 0, row, 1.0)
        moved = (sum(queries.shape[-2:]) * torch.finfo(dtype).eps / 2 * condition).clamp(max=1.0)
        distance = torch.where(row > 0, moved, 1.0).mean(-1)
        distance = torch.where((row > 0).any(-1), distance, 0.0)
    else:
        distance = spectral_distance(queries, dtype)
    evaluation = (side + 4) * torch.finfo(dtype).eps * (math.log(side) + 1)
    floor = fannes_audenaert(distance, side) + evaluation
    if not convention.trace_normalized:
        energy = centred(queries).square().sum((-2, -1)) / heads
        logarithm = torch.where(energy > 0, energy, 1.0).log().abs()
        floor = energy * (floor + (2 * distance + evaluation) * (math.log(side) + logarithm + 1))
    if convention.clamp is not None:
        floor = floor + side * SMALLEST_CLAMP_TERM
    return floor / math.log(heads) if convention.log_heads else floor


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

r"""How far a correct implementation may be off, and why: every bound of the kit, each with its derivation.

The one number behind them all is the unit of rounding of the dtype that the candidate was given, `eps`. Nothing here
knows a candidate. Loosening a bound is a change of the specification, with a line in the changelog.
"""

import math
from fractions import Fraction
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from ..gram import centred
from ..scoring import Convention, token_entropy

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


def disputed(
    scores: Float64[Tensor, " tokens"], kept: Int[Tensor, " kept"], keep: int, error: float
) -> Bool[Tensor, " tokens"]:
    r"""Which tokens a selection got wrong beyond what a score error of `error` explains.

    Let every score be off by at most $e$ = `error`, and $\tau$ be the `keep`-th highest exact score. The `keep`-th
    highest computed score is within $e$ of $\tau$, for at least `keep` computed scores reach $\tau - e$ and fewer than
    `keep` exceed $\tau + e$. So whoever was kept has an exact score of at least $\tau - 2e$, and whoever was not, of at
    most $\tau + 2e$. A token that breaks this cannot be explained by rounding; and if the gap at the cut exceeds $2e$,
    the two sets are equal.

    Args:
        scores: `(tokens,)`, the exact scores.
        kept: `(kept,)`, the positions that the candidate kept.
        keep: How many it was to keep.
        error: The largest score error, at least 0.

    Returns:
        `(tokens,)`, True for tokens that were wrongly kept or wrongly dropped.

    Properties:
        - no selection by scores within `error` is ever disputed ->
          `test_disputed_never_accuses_a_selection_by_scores_within_the_error`
        - a swap across a gap of more than twice the error always is ->
          `test_disputed_accuses_a_swap_across_a_wide_gap`

    Examples:
        >>> scores = torch.tensor([3.0, 2.0, 1.9, 0.0], dtype=torch.float64)
        >>> disputed(scores, torch.tensor([0, 2]), 2, 0.06).tolist()  # 2.0 and 1.9 may be told apart or not
        [False, False, False, False]
        >>> disputed(scores, torch.tensor([0, 3]), 2, 0.06).tolist()
        [False, False, False, True]
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[kept] = True
    if keep == 0:
        return chosen
    ordered = scores.sort(descending=True).values
    cut = ordered[keep - 1]
    slack = 2 * error
    after = ordered[keep] if keep < len(scores) else cut
    if keep < len(scores) and cut - after > slack:
        return chosen != (scores >= cut)
    return torch.where(chosen, scores < cut - slack, scores > cut + slack)


def token_score_error(
    queries: Float64[Tensor, "*batch tokens heads head_dim"], convention: Convention, dtype: torch.dtype
) -> float:
    """The largest error a correct token entropy in `dtype` may have on these queries: `e` where no scores are shown."""
    exact = token_entropy(queries, convention)
    plain = plain_token_entropy(queries.to(dtype), convention)
    return float(allowance(token_entropy_floor(queries, convention, dtype), plain, exact, dtype).max())


def tie_floor(curves: Float[Tensor, "*samples states"]) -> Fraction:
    r"""The $\varepsilon$ of Eq. 4.3: drops that differ by no more are a tie, and one that is no larger is none.

    The larger of $2^{10}$ units of float64 and 2 of the curves' own dtype, times the largest magnitude in the curves.
    """
    units = max(2**10 * torch.finfo(torch.float64).eps, 2 * torch.finfo(curves.dtype).eps)
    return Fraction(units * float(curves.abs().max()))


def drop_error(curves: Float[Tensor, "*samples states"]) -> Fraction:
    r"""How far a mean drop that is computed in the curves' dtype may be off.

    $$e = 2 M \gamma_{S + 2}, \qquad \gamma_n = \frac{n u}{1 - n u}, \quad u = \tfrac12 \mathrm{eps}$$

    with $M$ the largest magnitude and $S$ the samples. Differences first: each of $S$ differences, of at most $2M$,
    is rounded once; then their sum $S - 1$ times and its quotient once, twice if it is multiplied by a rounded $1/S$.
    Means first: the two means, of at most $M$ each, are rounded $S + 1$ times and their difference once more. Either
    way no term is rounded more than $S + 2$ times, and what is summed does not exceed $2M$ in the mean (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1).

    The error is 0 where no operation rounds, whatever the order: for at most two samples of heights that are multiples
    of one power of two, so few that sums and differences of all samples fit in the significand.

    Properties:
        - never exceeded by either order, with naive sums in any dtype ->
          `test_drop_error_bounds_both_orders_of_computation`

    Examples:
        >>> third = torch.tensor([3.0, 1 / 3], dtype=torch.float64)
        >>> drop_error(torch.tensor([3.0, 2.0])), f"{float(drop_error(third)):.1e}"
        (Fraction(0, 1), '2.0e-15')
    """
    heights = [[Fraction(height) for height in row] for row in _rows(curves)]
    every = [height for row in heights for height in row]
    largest, samples, info = max(map(abs, every)), len(heights), torch.finfo(curves.dtype)
    if samples <= 2:
        quanta = [Fraction(h.numerator & -h.numerator, h.denominator) for h in every if h]
        widest = samples * max(largest, max(every) - min(every))
        if not quanta or (min(quanta) >= info.tiny and widest <= min(quanta) * 2 / Fraction(info.eps)):
            return Fraction(0)
    roundings = (samples + 2) * Fraction(info.eps) / 2
    return 2 * largest * roundings / (1 - roundings)


def acceptable_layers(curves: Float[Tensor, "*samples states"]) -> list[bool]:
    r"""Which answers of a collapse detector rounding can explain: entry 0 for "none", entry i for layer i.

    Let $\bar D_i$ be the exact mean drops (Eq. 4.2), $e$ = `drop_error`, $\varepsilon$ = `tie_floor`. A detector takes
    the earliest drop that is within some $t$ of the largest, provided that the largest exceeds $t$. Our rule has
    $t = \varepsilon$; one that has never heard of rounding has $t = 0$; both are right, and so is what lies between.
    Computed drops are off by at most $e$ each, so

    - "none" needs $\max \bar D \le \varepsilon + e$, and a layer needs $\max \bar D > -e$ (at $e = 0$ a drop at all);
    - layer $i$ needs $\bar D_i \ge \max \bar D - \varepsilon - 2e$;
    - and every earlier $\bar D_j < \bar D_i + 2e$, for otherwise the earlier one would have been taken. At $e = 0$ this
      settles exact ties.

    So if the largest drop exceeds every other by more than $\varepsilon + 2e$, one layer is left. All of it is computed
    in rational numbers.

    Properties:
        - the reference's answer is always among them -> `test_acceptable_layers_hold_the_answer_of_the_reference`
        - so is that of a detector without a floor, in any dtype ->
          `test_acceptable_layers_hold_the_answer_of_a_plain_detector`
        - one is left if the margin is wide -> `test_acceptable_layers_are_one_where_the_margin_is_wide`

    Examples:
        >>> acceptable_layers(torch.tensor([3.0, 2.0, 1.0]))  # an exact tie goes to the earlier
        [False, True, False]
        >>> acceptable_layers(torch.tensor([1.0, 1.0, 2.0]))
        [True, False, False]
    """
    rows = [[Fraction(height) for height in row] for row in _rows(curves)]
    means = [sum(column, Fraction(0)) / len(rows) for column in zip(*rows, strict=True)]
    drops = [before - after for before, after in pairwise(means)]
    error, floor, largest = drop_error(curves), tie_floor(curves), max(drops)
    found = largest > -error
    accepted = [largest <= floor + error]
    for layer, drop in enumerate(drops):
        close = drop >= largest - floor - 2 * error
        first = all(earlier < drop + 2 * error for earlier in drops[:layer])
        accepted.append(found and close and first)
    return accepted


ROTARY_ERROR = 4 * torch.finfo(torch.float32).eps
"""Relative error of a rotary angle in float32: power, reciprocal, product and cosine are rounded, by a unit each.

It is allowed in float64 too: public checkpoints define their angles in float32, and a candidate may or may not follow.
"""


def weight_error(longest_sum: int, dtype: torch.dtype) -> float:
    r"""Relative change of the weights that stands for all rounding of a decoder in `dtype`.

    Backward error: a sum of $n$ products, computed in any order, is the exact sum of products whose factors are off by
    at most $n\,\mathrm{eps}/2$ (Higham, 2002, section 3.1). So a decoder that rounds is an exact decoder whose weights
    are off by $n\,\mathrm{eps}/2$, with $n$ its longest sum; 8 more roundings are for what stands between two products
    (norm, softmax, SiLU and residual addition).

    Args:
        longest_sum: Terms of the longest sum: over features, inner features or keys.
        dtype: In which is computed.

    Examples:
        >>> weight_error(24, torch.float64) == 2.0**-48
        True
    """
    return (longest_sum + 8) * torch.finfo(dtype).eps / 2


def decoder_allowance(exact: Tensor, plain: Tensor, shaken: list[Tensor], dtype: torch.dtype) -> Float64[Tensor, ""]:
    r"""What logits, or scores of queries, of a correct decoder in `dtype` may be off: one figure for all of them.

    $$\mathrm{plain\_factor} \cdot \max |plain - exact| + \max_s |shaken_s - exact|$$

    The first term is the error of the plain decoder in that dtype. The second is the floor, for where that error
    happens to be small: what becomes of the exact result if all weights are off by `weight_error` and all angles by
    `ROTARY_ERROR`, at random up or down. It is measured for every case, since a bound that holds for every decoder
    grows by an order of magnitude a layer. Maxima are over all logits: which of them rounding hits is chance.

    Args:
        exact: In float64, by the masked full forward pass.
        plain: By the plain pruned decoder in `dtype`, of the same shape.
        shaken: As `exact`, of shaken weights.
        dtype: That the weights came in.

    Properties:
        - correct decoders stay far below it -> `test_correct_prefills_never_fail`
    """
    error = (plain.to(torch.float64) - exact).abs()
    error = torch.where(torch.isfinite(error), error, 0.0)
    floor = torch.stack([(other - exact).abs().max() for other in shaken]).max()
    return plain_factor(dtype) * error.max() + floor


def _rows(curves: Tensor) -> list[list[float]]:
    rows: list[list[float]] = curves.to("cpu", torch.float64).reshape(-1, curves.shape[-1]).tolist()
    return rows

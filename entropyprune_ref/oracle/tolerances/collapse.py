"""The collapse layer: which answers rounding explains, in rational numbers."""

import math
from fractions import Fraction
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from .entropies import growth


def tie_floor(curves: Float[Tensor, "*samples states"]) -> Fraction:
    r"""The $\varepsilon$ of Eq. 4.3: drops that differ by no more are a tie, and one that is no larger is none.

    The larger of $2^{10}$ units of float64 and 2 of the curves' own dtype, times the largest magnitude in the curves.
    """
    units = max(2**10 * torch.finfo(torch.float64).eps, 2 * torch.finfo(curves.dtype).eps)
    return Fraction(units * float(curves.abs().max()))


def drop_error(curves: Float[Tensor, "*samples states"], computes_in: torch.dtype | None = None) -> Fraction:
    r"""How far a mean drop may be off that is computed in `computes_in`, by default the curves' dtype.

    $$e = 2 M \gamma_{g(S + 2)}, \qquad \gamma_n = \frac{n u}{1 - n u}, \quad u = \tfrac12 \mathrm{eps}$$

    with $M$ the largest magnitude, $S$ the samples and $g$ = `growth`; never more than $2M$. Differences first: each of
    $S$ differences, of at most $2M$, is rounded once; then their sum $S - 1$ times and its quotient once, twice if it
    is multiplied by a rounded $1/S$. Means first: the two means, of at most $M$ each, are rounded $S + 1$ times and
    their difference once more. Either way no term is rounded more than $S + 2$ times, and what is summed does not
    exceed $2M$ in the mean (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

    In 16 bits the means are allowed to be rounded to the curves' own dtype before they are subtracted, as a library
    does unasked: $e$ is at least $2\,\mathrm{eps}\,M$ there, of that dtype.

    The error is 0 where no operation rounds, whatever the order: for at most two samples of heights that are multiples
    of one power of two, so few that sums and differences of all samples fit in the significand.

    Examples:
        >>> third = torch.tensor([3.0, 1 / 3], dtype=torch.float64)
        >>> drop_error(torch.tensor([3.0, 2.0])), f"{float(drop_error(third)):.1e}"
        (Fraction(0, 1), '2.0e-15')
    """
    heights, dtype = _rows(curves), computes_in or curves.dtype
    largest, samples, own = Fraction(float(curves.abs().max())), len(heights), torch.finfo(curves.dtype)
    info = max(own, torch.finfo(dtype), key=lambda kind: kind.eps)
    if samples <= 2:
        every = [Fraction(height) for row in heights for height in row]
        quanta = [Fraction(h.numerator & -h.numerator, h.denominator) for h in every if h]
        widest = samples * max(largest, max(every) - min(every))
        if not quanta or (min(quanta) >= info.tiny and widest <= min(quanta) * 2 / Fraction(info.eps)):
            return Fraction(0)
    roundings = Fraction(growth(samples + 2, dtype)) * Fraction(torch.finfo(dtype).eps) / 2
    between = Fraction(own.eps) if own.bits == 16 else Fraction(0)
    return 2 * largest * max(between, roundings / (1 - roundings) if roundings < Fraction(1, 2) else Fraction(1))


def acceptable_layers(curves: Float[Tensor, "*samples states"], computes_in: torch.dtype | None = None) -> list[bool]:
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
    exactly, in whole multiples of a number small enough.

    Examples:
        >>> acceptable_layers(torch.tensor([3.0, 2.0, 1.0]))  # an exact tie goes to the earlier
        [False, True, False]
        >>> acceptable_layers(torch.tensor([1.0, 1.0, 2.0]))
        [True, False, False]
    """
    means, parts = _exact_means(_rows(curves))
    exact = drop_error(curves, computes_in), tie_floor(curves)
    unit = math.lcm(parts, *(number.denominator for number in exact))
    drops = [(before - after) * (unit // parts) for before, after in pairwise(means)]
    error, floor = (number.numerator * (unit // number.denominator) for number in exact)
    largest = max(drops)
    found, least = largest > -error, largest - floor - 2 * error
    accepted = [largest <= floor + error]
    earlier = drops[0] - 2 * error - 1  # no drop yet
    for drop in drops:
        accepted.append(found and drop >= least and earlier < drop + 2 * error)
        earlier = max(earlier, drop)
    return accepted


def _exact_means(rows: list[list[float]]) -> tuple[list[int], int]:
    """Means over rows in whole numbers, and of which part: floating numbers are multiples of one power of two."""
    ratios = [[height.as_integer_ratio() for height in row] for row in rows]
    quanta = max(below for row in ratios for _, below in row)
    sums = [sum(above * (quanta // below) for above, below in column) for column in zip(*ratios, strict=True)]
    return sums, quanta * len(rows)


def _rows(curves: Tensor) -> list[list[float]]:
    rows: list[list[float]] = curves.to("cpu", torch.float64).reshape(-1, curves.shape[-1]).tolist()
    return rows

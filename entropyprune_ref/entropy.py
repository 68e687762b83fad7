r"""Section 1: the matrix entropy of features, its Rényi relatives, and the effective rank.

Each is a function of a spectrum alone: `spectrum_entropy` and `spectrum_renyi_entropy` take the eigenvalues of any
density matrix; `matrix_entropy`, `renyi_entropy` and `effective_rank` take features. All in nats.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_floating, require_nonnegative, require_order
from entropyprune_ref.gram import Side, density_matrix, spectrum


def spectrum_entropy(eigenvalues: Float[Tensor, "*batch eigenvalues"]) -> Float64[Tensor, "*batch"]:
    r"""Computes the Shannon entropy of a spectrum, given up to scale (Eq. 1.4).

    $$H = -\sum_i \lambda_i \log \lambda_i, \qquad \lambda = \mathrm{eigenvalues} / \textstyle\sum \mathrm{eigenvalues},
      \qquad 0 \log 0 = 0$$

    It is computed as a sum of terms none of which is negative, with $q_i$ the eigenvalues over the largest one:

    $$H = \log(1 + R) - \frac{\sum_{i \ge 2} q_i \log q_i}{1 + R}, \qquad R = \sum_{i \ge 2} q_i$$

    Args:
        eigenvalues: `(..., eigenvalues)`, real floating, finite, non-negative, in any order.

    Returns:
        `(...)`, float64, in nats, between 0 and the logarithm of the number of positive eigenvalues.
        0 where all eigenvalues are zero.

    Raises:
        TypeError: `eigenvalues` is not a tensor.
        ValueError: `eigenvalues` has a wrong shape or dtype, is not finite, or has a negative entry.

    Examples:
        >>> import math
        >>> round(spectrum_entropy(torch.tensor([1.0, 1.0, 0.0])).item(), 12) == round(math.log(2), 12)
        True
        >>> spectrum_entropy(torch.tensor([0.0, 0.0])).item()
        0.0

    Notes:
        The plain formula loses the entropy of nearly pure states: for eigenvalues (1, 1e-17) the sum rounds to 1 and
        the term of the largest, a fortieth of the whole, is lost
        (`test_spectrum_entropy_plain_formula_is_worse_near_rank_one`).
    """
    ratios = _ratios_to_the_largest(eigenvalues)
    total = 1 + ratios.sum(-1)
    return torch.log1p(ratios.sum(-1)) - (ratios * _log(ratios)).sum(-1) / total


def spectrum_renyi_entropy(
    eigenvalues: Float[Tensor, "*batch eigenvalues"], alpha: int | float
) -> Float64[Tensor, "*batch"]:
    r"""Computes the Rényi entropy of a spectrum, given up to scale (Eq. 1.5).

    $$S_\alpha = \frac{1}{1 - \alpha} \log \sum_i \lambda_i^\alpha, \qquad
      \lambda = \mathrm{eigenvalues} / \textstyle\sum \mathrm{eigenvalues}$$

    with its limits $S_0 = \log \#\{\lambda_i > 0\}$, $S_1 = H$ and $S_\infty = -\log \max \lambda_i$.

    Args:
        eigenvalues: `(..., eigenvalues)`, real floating, finite, non-negative, in any order.
        alpha: Order, at least 0; `math.inf` is allowed.

    Returns:
        `(...)`, float64, in nats, between 0 and the logarithm of the number of positive eigenvalues.
        0 where all eigenvalues are zero.

    Raises:
        TypeError: `eigenvalues` is not a tensor, or `alpha` not a number.
        ValueError: `eigenvalues` has a wrong shape or dtype, is not finite, or has a negative entry; `alpha` is
            negative or NaN.

    Examples:
        >>> import math
        >>> [round(spectrum_renyi_entropy(torch.tensor([3.0, 1.0]), a).exp().item(), 6) for a in (0, 2, math.inf)]
        [2.0, 1.6, 1.333333]

    Notes:
        Near order one the logarithm of a number near one is divided by a number near zero: there the sum is taken of
        $\lambda_i (\lambda_i^{\alpha - 1} - 1)$, whose terms share one sign.
    """
    alpha = require_order("alpha", alpha)
    if alpha == 1:
        return spectrum_entropy(eigenvalues)
    ratios = _ratios_to_the_largest(eigenvalues)
    total = 1 + ratios.sum(-1, keepdim=True)
    log_total = torch.log1p(ratios.sum(-1))
    if alpha > 2**60:  # S_inf <= S_alpha <= S_inf * alpha / (alpha - 1), so the limit is exact to rounding
        return log_total
    powers = torch.where(ratios > 0, torch.exp(alpha * _log(ratios)), 0.0)
    if abs(alpha - 1) >= 0.5:
        return torch.log1p(powers.sum(-1)) / (1 - alpha) + alpha / (alpha - 1) * log_total
    excess = (ratios * torch.expm1((alpha - 1) * (_log(ratios) - log_total[..., None]))).sum(-1, keepdim=True)
    excess = (excess + torch.expm1((1 - alpha) * log_total[..., None])) / total
    return torch.log1p(excess[..., 0]) / (1 - alpha) + 0.0  # never minus zero


def matrix_entropy(features: Float[Tensor, "*batch samples dims"], *, side: Side = "auto") -> Float64[Tensor, "*batch"]:
    r"""Computes the von Neumann entropy of the trace-normalised covariance of the features (Eq. 1.4).

    $$H(\mathrm{features}) = -\operatorname{tr} \rho \log \rho = -\sum_i \lambda_i \log \lambda_i$$

    with $\rho$ the density matrix of the centred features (Eqs. 1.1 to 1.3).

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.
        side: Which of the two dual matrices gives the eigenvalues; by default the smaller.

    Returns:
        `(...)`, float64, in nats, between 0 and `log(min(samples - 1, dims))`. 0 for features without variance.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite; `side` is unknown.

    Examples:
        >>> import math
        >>> cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(matrix_entropy(cross).item(), 12) == round(math.log(2), 12)
        True
        >>> matrix_entropy(torch.ones(4, 2)).item()
        0.0

    Notes:
        Near rank one $H$ is close to 0 and only its absolute error is small: each eigenvalue is off by about one
        rounding unit of the largest, which moves $H$ by that times $\log(1/\lambda_i)$
        (`test_matrix_entropy_near_rank_one_is_exact_to_the_stated_bound`).
        `spectrum_entropy(singular_spectrum(features))` is closer there. An eigensolver that is asked for gradients
        takes another path: with and without `requires_grad` the last bits of $H$ may differ.
    """
    return spectrum_entropy(spectrum(features, side))


def renyi_entropy(features: Float[Tensor, "*batch samples dims"], alpha: int | float) -> Float64[Tensor, "*batch"]:
    r"""Computes the Rényi entropy of the density matrix of the features (Eq. 1.5).

    $$S_\alpha(\mathrm{features}) = \frac{1}{1 - \alpha} \log \operatorname{tr} \rho^\alpha, \qquad
      S_2 = -\log \lVert \rho \rVert_F^2$$

    Order 1 is the von Neumann entropy, order 0 the log of the rank, infinity the min-entropy $-\log \max \lambda_i$.
    Order 2 needs no eigenvalues.

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.
        alpha: Order, at least 0; `math.inf` is allowed.

    Returns:
        `(...)`, float64, in nats, between 0 and `log(min(samples - 1, dims))`. 0 for features without variance.

    Raises:
        TypeError: `features` is not a tensor, or `alpha` not a number.
        ValueError: `features` has a wrong shape or dtype, or is not finite; `alpha` is negative or NaN.

    Examples:
        >>> import math
        >>> tall = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # eigenvalues 0.9 and 0.1
        >>> [round(renyi_entropy(tall, a).exp().item(), 6) for a in (0, 2, math.inf)]
        [2.0, 1.219512, 1.111111]

    Notes:
        Below order 1 the entropy sees the eigenvalues that are zero but for rounding (at order 0 each counts in full).
        There, eigenvalues up to `max(samples, dims) * eps` times the largest count as zero, with `eps` that of float64:
        the tolerance of `numpy.linalg.matrix_rank`, applied to the density matrix.
    """
    alpha = require_order("alpha", alpha)
    if alpha == 2:
        purity = density_matrix(features, side="auto").square().sum((-2, -1))
        return 0 - torch.where(purity > 0, purity, 1.0).log().clamp(max=0)
    eigenvalues = spectrum(features)
    if alpha < 1:
        tolerance = max(features.shape[-2:]) * torch.finfo(torch.float64).eps
        eigenvalues = torch.where(eigenvalues > tolerance * eigenvalues[..., :1], eigenvalues, 0.0)
    return spectrum_renyi_entropy(eigenvalues, alpha)


def effective_rank(features: Float[Tensor, "*batch samples dims"]) -> Float64[Tensor, "*batch"]:
    r"""Counts the equal eigenvalues that would have the same entropy (Eq. 1.6; Roy and Vetterli, 2007).

    $$\operatorname{erank}(\mathrm{features}) = \exp H(\mathrm{features})$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.

    Returns:
        `(...)`, float64, a count: between 1 and `min(samples - 1, dims)`. 1 for features without variance.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite.

    Examples:
        >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).item(), 12)
        2.0

    Notes:
        Roy and Vetterli normalise the singular values of the matrix; here the eigenvalues of the covariance are
        normalised, their squares, which goes with the matrix entropy of the method.
    """
    return matrix_entropy(features).exp()


def _ratios_to_the_largest(eigenvalues: Tensor) -> Tensor:
    """All eigenvalues but (one of) the largest, divided by it: (..., eigenvalues - 1), each in [0, 1]."""
    require_floating("eigenvalues", eigenvalues, ("eigenvalues",))
    require_nonnegative("eigenvalues", eigenvalues)
    ordered = eigenvalues.to(torch.float64).sort(dim=-1, descending=True).values
    largest, rest = ordered[..., :1], ordered[..., 1:]
    ratios = rest / torch.where(largest > 0, largest, 1.0)
    return torch.where(ratios > 0, ratios, 0.0)  # cuts the gradient at zero


def _log(ratios: Tensor) -> Tensor:
    return torch.where(ratios > 0, ratios, 1.0).log()

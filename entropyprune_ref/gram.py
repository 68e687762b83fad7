r"""Section 2: the density matrix of a feature matrix, on either of its two sides.

A feature matrix $Z$ has $n$ rows (samples) and $p$ columns (dims). Centred and multiplied with itself it gives a
$p \times p$ covariance or an $n \times n$ Gram matrix. Both have the same non-zero eigenvalues, so everything that
depends on the spectrum alone may be computed on the smaller side. Read in the order `centred`, `density_matrix`,
`covariance_spectrum`, `gram_spectrum`, `spectrum`; `singular_spectrum` is an independent check.
"""

from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_choice, require_floating
from entropyprune_ref._numerics.centring import centred_twice, unit_centred

Side = Literal["auto", "covariance", "gram"]
"""The matrix to use: `"covariance"` (dims x dims), `"gram"` (samples x samples) or `"auto"` (the smaller)."""

SIDES: tuple[Side, ...] = ("auto", "covariance", "gram")


def centred(features: Float[Tensor, "*batch samples dims"]) -> Float64[Tensor, "*batch samples dims"]:
    r"""Subtracts from every row the mean row (Eq. 1.1).

    $$\tilde Z = \mathrm{features} - \mathbf{1}\,\mathrm{mean}_{\mathrm{rows}}(\mathrm{features})$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.

    Returns:
        `(..., samples, dims)`, float64, in the units of `features`.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite; a difference from the mean leaves the range
            of float64.

    Examples:
        >>> centred(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]

    Notes:
        The mean of equal numbers may round (three times 0.1 does), and one subtraction would then leave a variance that
        is not there. Hence two passes: what the first leaves of equal rows is a small multiple of one rounding unit,
        whose mean is exact (`test_centred_once_leaves_a_variance_that_is_not_there`).
    """
    require_floating("features", features, ("samples", "dims"))
    columns = centred_twice(features)
    if features.dtype == torch.float64 and not columns.is_meta and columns.isinf().any():
        raise ValueError("features must stay in the range of float64 when their mean is subtracted, got an overflow")
    return columns


def density_matrix(
    features: Float[Tensor, "*batch samples dims"], *, side: Side = "covariance"
) -> Float64[Tensor, "*batch side side"]:
    r"""Trace-normalises the covariance, or the dual Gram matrix, of the centred features (Eqs. 1.2, 1.3, 2.1, 2.2).

    $$\rho = \frac{\tilde Z^\top \tilde Z}{\operatorname{tr} \tilde Z^\top \tilde Z} \quad\text{(covariance)}, \qquad
      \rho' = \frac{\tilde Z \tilde Z^\top}{\operatorname{tr} \tilde Z \tilde Z^\top} \quad\text{(gram)}$$

    The $1/n$ of the covariance cancels in the normalisation.

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.
        side: `"covariance"` for dims x dims, `"gram"` for samples x samples, `"auto"` for the smaller of the two.

    Returns:
        `(..., dims, dims)` or `(..., samples, samples)`, float64: symmetric, positive semi-definite, trace 1.
        All zeros where the features have no variance, since no density matrix exists there.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite; `side` is unknown.

    Examples:
        >>> density_matrix(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        >>> density_matrix(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), side="gram").tolist()
        [[0.5, -0.5], [-0.5, 0.5]]

    Notes:
        Features are scaled by exact powers of two before they are multiplied, so that nothing overflows or underflows;
        the density matrix does not depend on scale. Its gradient does, as one over the scale: a backward pass to
        subnormal features leaves the range of float64 because the derivative itself does.
    """
    require_floating("features", features, ("samples", "dims"))
    require_choice("side", side, SIDES)
    unit = unit_centred(features)
    product = unit @ unit.mT if _chosen(side, features) == "gram" else unit.mT @ unit
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    density = product / torch.where(trace > 0, trace, 1.0)
    return (density + density.mT) / 2


def covariance_spectrum(features: Float[Tensor, "*batch samples dims"]) -> Float64[Tensor, "*batch dims"]:
    r"""Computes the eigenvalues of the trace-normalised covariance (Eq. 2.1).

    $$\lambda_i \text{ eigenvalues of } \tilde Z^\top \tilde Z / \operatorname{tr} \tilde Z^\top \tilde Z, \qquad
      i = 1 \dots \mathrm{dims}$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.

    Returns:
        `(..., dims)`, float64, descending, in [0, 1], summing to 1; all 0 where the features have no variance.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite.

    Examples:
        >>> covariance_spectrum(torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).tolist()
        [0.9, 0.1]
    """
    return spectrum(features, "covariance")


def gram_spectrum(features: Float[Tensor, "*batch samples dims"]) -> Float64[Tensor, "*batch samples"]:
    r"""Computes the eigenvalues of the trace-normalised dual Gram matrix (Eq. 2.2).

    $$\lambda_i \text{ eigenvalues of } \tilde Z \tilde Z^\top / \operatorname{tr} \tilde Z \tilde Z^\top, \qquad
      i = 1 \dots \mathrm{samples}$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.

    Returns:
        `(..., samples)`, float64, descending, in [0, 1], summing to 1; all 0 where the features have no variance.
        The last one is 0 (to rounding), because centring removes one dimension from the samples.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite.

    Examples:
        >>> [abs(round(x, 12)) for x in gram_spectrum(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist()]
        [1.0, 0.0]
    """
    return spectrum(features, "gram")


def spectrum(
    features: Float[Tensor, "*batch samples dims"], side: Side = "auto"
) -> Float64[Tensor, "*batch eigenvalues"]:
    r"""Computes the eigenvalues of the density matrix, by default on the cheaper of its two sides (Eq. 2.3).

    $$\tilde Z = \sum_i \sigma_i u_i v_i^\top \;\Rightarrow\;
      \lambda_i(\tilde Z^\top \tilde Z) = \lambda_i(\tilde Z \tilde Z^\top) = \sigma_i^2,
      \qquad i = 1 \dots \operatorname{rank} \tilde Z$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.
        side: `"auto"` takes the smaller side (the covariance if they are equal).

    Returns:
        `(..., eigenvalues)`, float64, descending, in [0, 1], summing to 1; all 0 where the features have no variance.
        There are `dims` of them, `samples`, or the smaller of the two, by `side`.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite; `side` is unknown.

    Examples:
        >>> spectrum(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), "covariance").tolist()
        [1.0, 0.0, 0.0]
        >>> spectrum(torch.ones(4, 3)).tolist()
        [0.0, 0.0, 0.0]

    Notes:
        Each eigenvalue is exact to about one rounding unit of the *largest*, not of itself: squaring the features into
        a Gram matrix costs the small ones their relative accuracy, which `singular_spectrum` keeps
        (`test_spectrum_is_exact_relative_to_the_largest_eigenvalue_only`). An entropy notices only near rank one.
        Rounding below zero is clamped to zero.
    """
    density = density_matrix(features, side=side)
    return torch.linalg.eigvalsh(density).clamp(min=0).flip(-1)


def singular_spectrum(features: Float[Tensor, "*batch samples dims"]) -> Float64[Tensor, "*batch eigenvalues"]:
    r"""Computes the same eigenvalues without forming either matrix, small ones more accurately (from Eq. 2.3).

    $$\lambda_i = \sigma_i(\tilde Z)^2 / \textstyle\sum_j \sigma_j(\tilde Z)^2$$

    Args:
        features: `(..., samples, dims)`, real floating, finite, at least one sample and one dim.

    Returns:
        `(..., eigenvalues)`, float64, `min(samples, dims)` of them, descending, in [0, 1], summing to 1; all 0 where
        the features have no variance.

    Raises:
        TypeError: `features` is not a tensor.
        ValueError: `features` has a wrong shape or dtype, or is not finite.

    Examples:
        >>> faint = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1e-10], [0.0, -1e-10]])  # eigenvalues 1 and 1e-20
        >>> [f"{x:.0e}" for x in singular_spectrum(faint).tolist()]
        ['1e+00', '1e-20']

    Notes:
        Slower than `spectrum`, and not what the method does: an independent check for features close to rank one.
    """
    require_floating("features", features, ("samples", "dims"))
    squares = torch.linalg.svdvals(unit_centred(features)).square()
    total = squares.sum(-1, keepdim=True)
    return squares / torch.where(total > 0, total, 1.0)


def _chosen(side: Side, features: Tensor) -> Side:
    samples, dims = features.shape[-2:]
    if side == "auto":
        return "gram" if samples < dims else "covariance"
    return side

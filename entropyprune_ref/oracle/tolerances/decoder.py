"""Logits and queries of a decoder: what rounding in every layer may do to them."""

import torch
from jaxtyping import Float64
from torch import Tensor

from .entropies import plain_factor

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
        dtype: Dtype that the weights came in.
    """
    error = (plain.to(torch.float64) - exact).abs()
    error = torch.where(torch.isfinite(error), error, 0.0)
    floor = torch.stack([(other - exact).abs().max() for other in shaken]).max()
    return plain_factor(dtype) * error.max() + floor

"""The entropy of every state (Eq. 4.1), and what is read off its curve: drops, the steepest one, its sharpness."""

import math

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_floating
from entropyprune_ref.entropy import matrix_entropy


def layer_entropy(states: Float[Tensor, "*batch states tokens dims"]) -> Float64[Tensor, "*batch states"]:
    r"""Computes the matrix entropy of the visual tokens at every state (Eq. 4.1).

    $$H_i = H(states_i), \qquad i = 0 \dots L$$

    with the tokens as rows and $H$ of Eq. 1.4.

    Args:
        states: `(..., layers + 1, tokens, dims)`, floating, finite: the visual tokens' hidden states that enter each
            decoder layer, and those that leave the last.

    Returns:
        `(..., layers + 1)`, float64, in nats, in `[0, log(min(tokens - 1, dims))]`.

    Raises:
        TypeError: `states` is not a tensor.
        ValueError: `states` has a wrong shape or dtype, or is not finite.

    Examples:
        Two equal directions of variance, then one.

        >>> wide = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> narrow = [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]
        >>> layer_entropy(torch.tensor([wide, narrow])).abs().numpy().round(6).tolist()
        [0.693147, 0.0]
    """
    require_floating("states", states, ("states", "tokens", "dims"))
    return matrix_entropy(states)


def drops_of(curves: Tensor) -> tuple[Float64[Tensor, "samples layers"], float]:
    """Returns the drops of every sample (Eq. 4.2), and the size below which a drop is rounding."""
    require_floating("curves", curves, ("states",))
    if curves.ndim > 2 or curves.numel() == 0 or curves.shape[-1] < 2:
        raise ValueError(
            "curves must have shape (states,) or (samples, states) with at least one sample and two states, "
            f"got shape {tuple(curves.shape)}"
        )
    heights = curves.detach().to("cpu", torch.float64).reshape(-1, curves.shape[-1])
    units = max(2**10 * torch.finfo(torch.float64).eps, 2 * torch.finfo(curves.dtype).eps)
    return -heights.diff(dim=1), units * float(heights.abs().max())


def steepest(drops: Float64[Tensor, "*batch layers"], floor: float) -> Int[Tensor, "*batch"]:
    """Returns the layer of the largest drop, the earliest within `floor` of it; 0 if none exceeds `floor`."""
    largest = drops.amax(-1, keepdim=True)
    earliest = (drops >= largest - floor).to(torch.int8).argmax(-1) + 1
    return torch.where(largest[..., 0] > floor, earliest, 0)


def sharpness_of(mean: Float64[Tensor, " layers"], layer: int, floor: float) -> float:
    """Returns how far the drop into a layer stands out from the others (Eq. 4.4); what is below `floor` is rounding."""
    others = torch.cat((mean[: layer - 1], mean[layer:]))
    if len(others) == 0:
        return math.inf
    excess = float(mean[layer - 1] - others.mean())
    if excess <= floor:
        return 0.0
    spread = float(others.std(correction=0))
    return excess / spread if spread > floor else math.inf

"""What a sharpness (Eq. 4.4) is worth: that of curves in which nothing happens."""

import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_integer, require_real
from entropyprune_ref.collapse.curves import sharpness_of


def random_sharpness(layers: int, *, draws: int = 10_000, seed: int = 0) -> Float64[Tensor, " found"]:
    """Draws the sharpness (Eq. 4.4) of curves without any structure: independent normal drops of equal spread.

    A sharpness says something only beside what chance gives for as many layers: the largest of a few drops always
    stands out from the others.

    Args:
        layers: Drops in a curve, at least 3.
        draws: Number of curves.
        seed: Seed of the draws.

    Returns:
        Ascending, one value for each curve that has a drop at all.

    Raises:
        TypeError: A number is not an int.
        ValueError: A number is out of range.

    Examples:
        Half of all structureless curves of six layers are sharper than 2.1, and one in twenty sharper than 4.9.

        >>> [round(float(random_sharpness(6).quantile(share)), 1) for share in (0.5, 0.95)]
        [2.1, 4.9]
    """
    layers, draws = require_integer("layers", layers, 3), require_integer("draws", draws, 1)
    generator = torch.Generator("cpu").manual_seed(require_integer("seed", seed, 0, 2**64 - 1))
    drops = torch.randn(draws, layers, generator=generator, dtype=torch.float64, device="cpu")
    largest, place = drops.max(1)
    others = drops[torch.arange(layers, device="cpu") != place[:, None]].reshape(draws, layers - 1)
    sharpness = (largest - others.mean(1)) / others.std(1, correction=0)
    return sharpness[largest > 0].sort().values


def smooth_sharpness(layers: int, ratio: float) -> float:
    r"""Computes the sharpness (Eq. 4.4) of a curve that falls smoothly, each drop `ratio` of the one before.

    A geometric decay has no layer at which anything happens, and yet a sharpness, since its first drop is the largest.

    Args:
        layers: Drops in the curve, at least 3.
        ratio: Ratio of neighbouring drops, strictly between 0 and 1.

    Raises:
        TypeError: A number of the wrong kind.
        ValueError: A number out of range.

    Examples:
        Drops of 1, 1/2 and 1/4: the others have mean 3/8 and deviation 1/8.

        >>> smooth_sharpness(3, 0.5)
        5.0
    """
    layers, ratio = require_integer("layers", layers, 3), require_real("ratio", ratio)
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie strictly between 0 and 1, got {ratio}")
    return sharpness_of(ratio ** torch.arange(layers, dtype=torch.float64, device="cpu"), 1, 0.0)

"""The tiny decoder of the vectors."""

from torch import Tensor

from ...plain.decoder import parameter_shapes
from .draws import integers

SIZES = {
    "layers": 3,
    "hidden": 12,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 4,
    "mlp": 10,
    "vocabulary": 7,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
}
"""Of the only decoder: grouped queries, and heads that do not fill the hidden size."""


def weights() -> dict[str, Tensor]:
    """Returns the weights of the decoder: multiples of 1/128, so large that attention is far from uniform."""
    return {name: _parameter(name.removesuffix(".weight"), shape) for name, shape in parameter_shapes(SIZES).items()}


def _parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1:
        return 1 + integers(f"weights/{name}", *shape, low=-32, high=32) / 128
    return integers(f"weights/{name}", *shape) / 128

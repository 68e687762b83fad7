"""Numbers for the vectors, the same on every machine: integers from a hash, and whatever is exact in float32.

No generator of a library is asked, since none promises its stream for ever; and nothing is rounded, so that a consumer
in float32 is given the same inputs as one in float64.
"""

import hashlib
import math

import torch
from torch import Tensor

SEED = 0
"""Of every draw; written into the manifest."""


def integers(name: str, *shape: int, low: int = -127, high: int = 127) -> Tensor:
    """Returns float64 integers in `[low, high]`, which depend on the seed, the name and the shape alone.

    Four bytes of SHAKE-256 make one integer, by remainder: uniform but for one part in ten million.

    Examples:
        >>> integers("example", 4, low=0, high=9).tolist()
        [2.0, 8.0, 5.0, 2.0]
    """
    count = math.prod(shape)
    stream = hashlib.shake_256(f"{SEED}:{name}".encode()).digest(4 * count)
    words = (int.from_bytes(stream[at : at + 4], "little") for at in range(0, 4 * count, 4))
    return torch.tensor([low + word % (high - low + 1) for word in words], dtype=torch.float64).reshape(shape)


def numbers(name: str, *shape: int) -> Tensor:
    """Returns multiples of 1/32 between -4 and 4: eight significant bits, exact in every floating dtype."""
    return integers(name, *shape) / 32


def signs(count: int) -> Tensor:
    """Returns the `(2**count, 2**count)` Hadamard matrix: orthogonal columns of signs, the first constant."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(count):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix

"""Numbers for the vectors, the same on every machine: integers from a hash, and whatever is exact in float32.

No generator of a library is asked, since none promises its stream for ever; and nothing is rounded, so that a consumer
in float32 is given the same inputs as one in float64.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
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
    stream = hashlib.shake_256(f"{SEED}:{name}".encode()).digest(4 * math.prod(shape))
    words = np.frombuffer(stream, "<u4").astype(np.int64)
    return torch.from_numpy(low + words % (high - low + 1)).double().reshape(shape)


@dataclass(frozen=True)
class Recipe:
    """An input that is not shipped: whoever needs it draws it.

    Attributes:
        name: Name of the stream of the hash, behind the seed and a colon.
        shape: Shape of the array, row-major.
        low: Smallest integer.
        high: Largest integer.
        divide: By which the integers are divided, a power of two.
        dtype: Dtype of the array; no number is rounded in it.
    """

    name: str
    shape: tuple[int, ...]
    low: int = -127
    high: int = 127
    divide: int = 32
    dtype: torch.dtype = torch.float64

    def drawn(self) -> Tensor:
        """The array."""
        return (integers(self.name, *self.shape, low=self.low, high=self.high) / self.divide).to(self.dtype)


def numbers(name: str, *shape: int) -> Tensor:
    """Returns multiples of 1/32 between -4 and 4: eight significant bits, exact in every floating dtype."""
    return integers(name, *shape) / 32


def signs(count: int) -> Tensor:
    """Returns the `(2**count, 2**count)` Hadamard matrix: orthogonal columns of signs, the first constant."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(count):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix

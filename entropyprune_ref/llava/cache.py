"""What decoding continues from: keys and values of every layer, and the position of each row's next token."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass
class LayerCache:
    """Keys and values that one layer has seen, in the order of its (possibly shortened) sequence."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds entries and returns all of them."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]


@dataclass
class LayerSpan:
    """Consecutive decoder layers that see the same sequence: before the prune layer, and from it on."""

    layers: range
    attended: Bool[Tensor, "batch keys"]


@dataclass
class Cache:
    """Keys and values of every layer, and the next rotary position of every row."""

    layers: list[LayerCache]
    spans: list[LayerSpan]
    next_positions: Int[Tensor, " batch"]

    def lengths(self) -> list[int]:
        """Returns how many entries each layer holds."""
        return [len(layer) for layer in self.layers]

    def copy(self) -> "Cache":
        """Returns a cache that can grow without changing this one; what both hold already is shared."""
        spans = [replace(span) for span in self.spans]
        return Cache([replace(layer) for layer in self.layers], spans, self.next_positions)

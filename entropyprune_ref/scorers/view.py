"""What a scorer may look at, and what a scorer is."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class LayerView:
    """What a scorer may look at when the input of decoder layer K is pruned.

    `image_index` and `attended` may live on another device than the rest.

    Attributes:
        hidden: `(batch, sequence, dims)`, state K, which is about to be shortened.
        queries: `(batch, heads, sequence, head_dim)`, of layer K - 1, after rotary embedding.
        keys: `(batch, kv_heads, sequence, head_dim)`, of layer K - 1, after rotary embedding.
        image_index: `(batch, sequence)`, the number of the image a token belongs to, -1 for text and padding.
        attended: `(batch, sequence)`, False for padding.
        unrotated: The queries before rotary embedding, where the model shows them. Rotation does not change an entropy
            over heads, except by rounding: of these, tokens that are equal have the same score to the bit.
    """

    hidden: Float[Tensor, "batch sequence dims"]
    queries: Float[Tensor, "batch heads sequence head_dim"]
    keys: Float[Tensor, "batch kv_heads sequence head_dim"]
    image_index: Int[Tensor, "batch sequence"]
    attended: Bool[Tensor, "batch sequence"]
    unrotated: Float[Tensor, "batch heads sequence head_dim"] | None = None

    @property
    def visual(self) -> Bool[Tensor, "batch sequence"]:
        """Which positions hold visual tokens."""
        return self.image_index >= 0


Scorer = Callable[[LayerView], Float[Tensor, "batch sequence"]]
"""Scores every position, higher is kept first; only those of visual tokens are read."""

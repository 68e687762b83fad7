"""What a scorer may look at, and what a scorer is."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
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

    def rows(self, part: slice) -> "LayerView":
        """Returns some rows of the batch."""
        return self._each(lambda values: values[part])

    def to(self, device: torch.device | str) -> "LayerView":
        """Returns the same on a device."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "LayerView":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if value is not None})


Scorer = Callable[[LayerView], Float[Tensor, "batch sequence"]]
"""Scores every position, higher is kept first; only those of visual tokens are read.

What it reads it states itself, in attributes that it may have:

- `reads_text = False`: its scores of visual tokens do not depend on what stands behind the image, so that all questions
  about an image can share them. Without the attribute a scorer is shown every question.
- `for_image(number)`: the scorer to use for an image, where that differs from image to image.
"""


def reads_text(scorer: Scorer) -> bool:
    """Returns whether a scorer must be shown the question; one that does not say must."""
    return bool(getattr(scorer, "reads_text", True))


def for_image(scorer: Scorer, number: int) -> Scorer:
    """Returns the scorer to use for an image: itself, unless it says otherwise."""
    varied = getattr(scorer, "for_image", None)
    return scorer if varied is None else cast(Scorer, varied(number))

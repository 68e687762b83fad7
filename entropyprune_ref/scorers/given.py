"""A selection that is given from outside, as a scorer."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from .view import LayerView


@dataclass(frozen=True)
class GivenTokens:
    """A scorer that keeps exactly the tokens it is told to: selection injected, so that arithmetic is tested alone.

    Attributes:
        kept: `(batch, sequence)`, bool: True scores 1, False scores 0.
    """

    kept: Bool[Tensor, "batch sequence"]

    def __call__(self, view: LayerView) -> Tensor:
        """Returns the mask as scores."""
        return self.kept.to(view.image_index.device, torch.float64)

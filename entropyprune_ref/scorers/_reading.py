"""What every rival needs: which tokens to read, in float64, with everything else out of sight."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_floating

from .view import LayerView

Scores = Float[Tensor, "batch sequence"]


def visual_rows(view: LayerView) -> Iterator[tuple[int, Int[Tensor, " tokens"]]]:
    """Every row that has visual tokens, with their positions."""
    for row, visual in enumerate(view.visual):
        positions = visual.nonzero().squeeze(-1)
        if len(positions):
            yield row, positions


def visual_hidden(view: LayerView) -> Float[Tensor, "batch sequence dims"]:
    """The hidden states of visual tokens in float64, zero elsewhere."""
    visual = view.visual.to(view.hidden.device)[..., None]
    return require_floating("hidden", torch.where(visual, view.hidden, 0), ("sequence", "dims")).double()


def per_head(name: str, values: Tensor, used: Bool[Tensor, "batch sequence"]) -> Tensor:
    """Queries or keys in float64 where they are `used`, zero elsewhere."""
    used = used.to(values.device)[:, None, :, None]
    return require_floating(name, torch.where(used, values, 0), ("heads", "sequence", "head_dim")).double()


def blank(view: LayerView, device: torch.device) -> Scores:
    """A zero for every position, to be filled in."""
    return torch.zeros(view.image_index.shape, dtype=torch.float64, device=device)


def only_visual(scores: Scores, view: LayerView) -> Scores:
    """The scores of visual tokens, zero elsewhere."""
    return torch.where(view.visual.to(scores.device), scores, 0)

"""What every rival needs: the tokens to read, in float64, with everything else set to zero."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn.functional import normalize

from entropyprune_ref._numerics.arguments import require_floating

from .view import LayerView

Scores = Float[Tensor, "batch sequence"]


def visual_rows(view: LayerView) -> Iterator[tuple[int, Int[Tensor, " tokens"]]]:
    """Yields every row that has visual tokens, with their positions."""
    for row, visual in enumerate(view.visual):
        positions = visual.nonzero().squeeze(-1)
        if len(positions):
            yield row, positions


def visual_hidden(view: LayerView) -> Float[Tensor, "batch sequence dims"]:
    """Returns the hidden states of visual tokens in float64, zero elsewhere."""
    visual = view.visual.to(view.hidden.device)[..., None]
    return require_floating("hidden", torch.where(visual, view.hidden, 0), ("sequence", "dims")).double()


def per_head(name: str, values: Tensor, used: Bool[Tensor, "batch sequence"]) -> Tensor:
    """Returns queries or keys in float64 where they are `used`, zero elsewhere."""
    used = used.to(values.device)[:, None, :, None]
    return require_floating(name, torch.where(used, values, 0), ("heads", "sequence", "head_dim")).double()


def blank(view: LayerView, device: torch.device) -> Scores:
    """Returns a zero for every position, to be filled in."""
    return torch.zeros(view.image_index.shape, dtype=torch.float64, device=device)


def only_visual(scores: Scores, view: LayerView) -> Scores:
    """Returns the scores of visual tokens, zero elsewhere."""
    return torch.where(view.visual.to(scores.device), scores, 0)


def cosine_distances(
    states: Float64[Tensor, "tokens dims"],
) -> tuple[Float64[Tensor, "distinct distinct"], Int[Tensor, " tokens"]]:
    """Distances between distinct directions, and the place of every token's direction among them.

    A matrix product rounds every entry by itself, in an order that depends on where it stands: its two halves differ in
    last bits, and so do the rows of equal tokens. Whoever compares distances must not see that. Here the matrix is
    symmetric to the bit, equal tokens share one row of it, and their distance is 0.
    """
    directions = normalize(states.detach(), dim=-1)
    place = torch.arange(len(states), device=states.device)
    if not states.is_meta:
        directions, place = torch.unique(directions, dim=0, return_inverse=True)
    products = directions @ directions.mT
    distances = 1 - (products + products.mT) / 2
    distances.diagonal().copy_((directions == 0).all(dim=-1))  # a zero state is like nothing, not even itself
    return distances, place

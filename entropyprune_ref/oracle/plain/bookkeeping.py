"""What pruning leaves of one prompt, in numbers: the bookkeeping that goes wrong without a sound."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...pruning import kept_mask


def kept_positions(
    image_index: Int[Tensor, " sequence"],
    attended: Int[Tensor, " sequence"],
    scores: Float[Tensor, " sequence"],
    keep: int,
    over_images: str,
    layers: int,
    prune_layer: int,
) -> dict[str, Any]:
    """Returns places, rotary positions, cache lengths and the next position of a prompt that is pruned (section 5).

    Args:
        image_index: `(sequence,)`, the number of the image that a token belongs to, -1 for text and padding.
        attended: `(sequence,)`, 0 for padding.
        scores: `(sequence,)`, read at visual tokens only.
        keep: Visual tokens to keep, over all images.
        over_images: "each" or "all", as in `kept_mask`.
        layers: Decoder layers.
        prune_layer: The first that runs pruned, 0-based.

    Returns:
        `places`, `positions`, `cache_lengths`, `next_position`; padding appears in none of them.

    Raises:
        ValueError: As `kept_mask`, or a prune layer that does not exist.

    Examples:
        Text, three visual tokens, text; the middle one is dropped.

        >>> row = torch.tensor([-1, 0, 0, 0, -1])
        >>> scores = torch.tensor([0.0, 3.0, 1.0, 2.0, 0.0])
        >>> left = kept_positions(row, torch.ones(5).long(), scores, 2, "each", 3, 1)
        >>> left["places"].tolist(), left["positions"].tolist(), left["cache_lengths"], left["next_position"]
        ([0, 1, 3, 4], [0, 1, 3, 4], [5, 4, 4], 5)
    """
    if not 1 <= prune_layer < layers:
        raise ValueError(f"prune_layer must be between 1 and {layers - 1}, got {prune_layer}")
    seen = attended.bool()
    kept = kept_mask(scores[None], image_index[None], [keep], over_images=over_images)[0] & seen
    positions = seen.long().cumsum(0) - 1
    total, left = int(seen.sum()), int(kept.sum())
    return {
        "places": torch.nonzero(kept).flatten(),
        "positions": positions[kept],
        "cache_lengths": [total] * prune_layer + [left] * (layers - prune_layer),
        "next_position": total,
    }

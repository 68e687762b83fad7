r"""Section 5, which: from scores to the positions that remain, in their order.

Scores become positions by a stable sort (Eq. 5.2), over one image or several. Nothing here knows how a score was made
or what a model is.

Reading order: `select_tokens`, `kept_mask`, `gather_index`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entropyprune_ref._numerics.arguments import (
    require_choice,
    require_floating,
    require_integer,
    require_sequence,
    require_tensor,
)

from .budgets import split_keep


def select_tokens(scores: Float[Tensor, "*batch tokens"], keep: int) -> Int[Tensor, "*batch keep"]:
    r"""Selects the positions of the `keep` highest scores, in their original order (Eq. 5.2).

    $$\operatorname{select}(scores, keep) = \operatorname{sort}\bigl(
              \text{the first } keep \text{ tokens in the order } (-scores_t,\ t)\bigr)$$

    Equal scores go to the earlier token: the sort is stable, by score descending and then by position ascending.

    Args:
        scores: `(..., tokens)`, floating, finite; higher is kept first. The batch may be empty.
        keep: How many, in `[0, tokens]`.

    Returns:
        `(..., keep)`, int64, strictly ascending along the last axis.

    Raises:
        TypeError: `scores` is not a tensor, `keep` not an int.
        ValueError: `scores` has no token, is not floating or not finite; `keep` is out of range.

    Examples:
        >>> select_tokens(torch.tensor([0.5, 0.9, 0.5, 0.7]), 3).tolist()
        [0, 1, 3]

    Notes:
        `torch.topk` does not define the order of ties, so it cannot serve as a reference.
    """
    require_floating("scores", scores, ("tokens",))
    keep = require_integer("keep", keep, 0, scores.shape[-1])
    best_first = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    return torch.sort(best_first[..., :keep], dim=-1).values


def kept_mask(
    scores: Float[Tensor, "batch sequence"],
    image_index: Int[Tensor, "batch sequence"],
    keep: Sequence[int],
    *,
    over_images: str = "each",
) -> Bool[Tensor, "batch sequence"]:
    """Marks the positions of whole sequences that remain: all that is not visual, and the selected visual tokens.

    Args:
        scores: `(batch, sequence)`, floating; read, and required to be finite, at visual positions only.
        image_index: `(batch, sequence)`, integer: the number of the image that a visual token belongs to (0, 1, …),
            -1 for text and padding.
        keep: Visual tokens to keep in each row, in `[0, visual tokens of the row]`.
        over_images: "each" splits the budget over the images in proportion (`split_keep`) and selects within each;
            "all" selects once among the tokens of all images.

    Returns:
        `(batch, sequence)`, bool, on the device of `image_index`.

    Raises:
        TypeError: An argument is not of its kind.
        ValueError: Shapes that differ, image numbers below -1, `keep` of another length or out of range, scores of
            visual tokens that are not finite.

    Examples:
        >>> image_index = torch.tensor([[-1, 0, 0, -1, 1, 1]])
        >>> scores = torch.tensor([[0.0, 5.0, 4.0, 0.0, 1.0, 2.0]])
        >>> kept_mask(scores, image_index, [2]).int().tolist()
        [[1, 1, 0, 1, 0, 1]]
        >>> kept_mask(scores, image_index, [2], over_images="all").int().tolist()
        [[1, 1, 1, 1, 0, 0]]

    Notes:
        Scores on the meta device have no values; then the earliest tokens are kept, so that shapes come out right.
    """
    require_choice("over_images", over_images, ("each", "all"))
    _require_rows("image_index", image_index)
    if image_index.is_floating_point() or image_index.is_complex() or image_index.dtype == torch.bool:
        raise ValueError(f"image_index must have an integer dtype, got {image_index.dtype}")
    if image_index.numel() and int(image_index.min()) < -1:
        raise ValueError(f"image_index must be at least -1 everywhere, got {int(image_index.min())}")
    _require_rows("scores", scores)
    if scores.shape != image_index.shape:
        raise ValueError(
            f"scores must have the shape of image_index, {tuple(image_index.shape)}, got {tuple(scores.shape)}"
        )
    budgets = require_sequence("keep", keep)
    if len(budgets) != len(image_index):
        raise ValueError(f"keep must have one entry per row, {len(image_index)}, got {len(budgets)}")
    values = (
        torch.zeros(scores.shape, device=image_index.device)
        if scores.is_meta
        else scores.detach().to(image_index.device)
    )
    kept = image_index < 0
    for row, wanted in enumerate(budgets):
        if over_images == "all":
            spans = [torch.nonzero(~kept[row]).flatten()]
            require_integer(f"keep[{row}]", wanted, 0, len(spans[0]))
            parts = [wanted]
        else:
            images = sorted(set(image_index[row][~kept[row]].tolist()))
            spans = [torch.nonzero(image_index[row] == image).flatten() for image in images]
            require_integer(f"keep[{row}]", wanted, 0, sum(map(len, spans)))
            parts = split_keep(wanted, [len(span) for span in spans])
        for span, part in zip(spans, parts, strict=True):
            if len(span):
                kept[row, span[select_tokens(values[row, span], part)]] = True
    return kept


def gather_index(
    kept: Bool[Tensor, "batch sequence"],
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Returns positions to gather so that every row of a batch becomes equally short, aligned at the right end.

    The rows of a batch may drop different numbers of tokens. The new length is the number that the row which drops
    fewest keeps. A row that drops more fills its leading slots with dropped tokens, which the second output marks as
    not kept: they must be masked out like padding. Kept positions stay in their original order.

    Args:
        kept: `(batch, sequence)`, bool, as from `kept_mask`.

    Returns:
        `(batch, length)` int64 positions into the old sequence, and `(batch, length)` bool: which of them are kept.

    Raises:
        TypeError: `kept` is not a tensor.
        ValueError: `kept` is not a bool tensor of two dimensions.

    Examples:
        >>> index, real = gather_index(torch.tensor([[True, False, True, True], [False, False, True, True]]))
        >>> index.tolist(), real.int().tolist()
        ([[0, 2, 3], [1, 2, 3]], [[1, 1, 1], [0, 1, 1]])
    """
    _require_rows("kept", kept)
    if kept.dtype != torch.bool:
        raise ValueError(f"kept must have dtype bool, got {kept.dtype}")
    most_dropped_by_all = int((~kept).sum(dim=1).min()) if len(kept) else 0
    dropped_first = torch.sort(kept.to(torch.int8), dim=1, stable=True).indices
    index = dropped_first[:, most_dropped_by_all:]
    return index, kept.gather(1, index)


def _require_rows(name: str, value: object) -> None:
    value = require_tensor(name, value)
    if value.ndim != 2:
        raise ValueError(f"{name} must have shape (batch, sequence), got shape {tuple(value.shape)}")

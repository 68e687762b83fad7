r"""Rivals that keep tokens unlike each other: DART-like duplication and DivPrune-like diversity."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from entropyprune_ref._numerics.arguments import require_integer_fields

from ._reading import Scores, blank, cosine_distances, per_head, visual_hidden, visual_rows
from .view import LayerView


@dataclass(frozen=True)
class Duplication:
    r"""A few pivot tokens, then the tokens that are least like any pivot.

    $$
    \text{score}_t = 1 - \max_{p \,\in\, \text{pivots}} \cos(x_t, x_p)
    $$

    for hidden states $x$; the pivots are the visual tokens whose keys have the greatest L1 norm, and rank above all.

    Source: DART (arXiv 2502.11494). Departs from it, because a scorer gives one ranking for every number of tokens:
    DART lets each pivot in turn choose an equal share of the tokens least similar to *that* pivot, here all pivots
    judge together; DART also takes pivots among the text tokens, here only visual ones; and ports of its code compare
    hidden states after the model's final norm, here they are compared as they are.

    Args:
        pivots: Tokens that are kept as pivots, at least 1; DART takes 4 of the image.

    Examples:
        The third token has the largest key and is the one pivot; the first points the opposite way, the second along.

        >>> hidden, index = torch.tensor([[[-1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]]), torch.zeros(1, 3, dtype=torch.int64)
        >>> keys = torch.tensor([1.0, 1.0, 9.0]).reshape(1, 1, 3, 1)
        >>> Duplication(pivots=1)(LayerView(hidden, keys, keys, index, index == 0)).tolist()
        [[2.0, 0.0, 3.0]]
    """

    pivots: int = 4
    reads_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_integer_fields(self, 1)

    def __call__(self, view: LayerView) -> Scores:
        """Returns scores in [0, 2], and above 2 for pivots; a zero state has similarity 0 to all."""
        hidden, keys = visual_hidden(view), per_head("keys", view.keys, view.visual)
        scores = blank(view, hidden.device)
        for row, positions in visual_rows(view):
            positions = positions.to(hidden.device)
            distances, place = cosine_distances(hidden[row, positions])
            norms = keys[row, :, positions].transpose(0, 1).flatten(1).abs().sum(dim=-1)
            pivots = norms.argsort(descending=True, stable=True)[: self.pivots]
            ranking = distances[:, place[pivots]].amin(dim=-1)[place]
            ranking[pivots] = 2.0 + torch.arange(len(pivots), 0, -1, device=hidden.device).double()
            scores[row, positions] = ranking
        return scores


@dataclass(frozen=True)
class MaxMinDiversity:
    """The token farthest from all kept so far, again and again: greedy max-min cosine distance.

    The first token is the one whose nearest neighbour is farthest; ties go to the earlier token. The score is minus a
    token's rank in this order, so that the k highest scores are exactly the first k of the greedy choice.

    Source: DivPrune (arXiv 2503.02175). Departs from it in two ways: it works at the input of the prune layer, not on
    the output of the projector; and a token once kept cannot be chosen again (its code can repeat one when only copies
    are left). Images of one row are ranked together.

    Examples:
        Three directions at 0, 45 and 180 degrees: the last is farthest from its neighbour, then the first.

        >>> hidden, index = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]]), torch.zeros(1, 3, dtype=torch.int64)
        >>> unused = torch.zeros(1, 1, 3, 1)
        >>> MaxMinDiversity()(LayerView(hidden, unused, unused, index, index == 0)).tolist()
        [[-1.0, -2.0, 0.0]]

    Notes:
        Greedy choice is sequential: the one scorer here that steps through the tokens, with a tokens x tokens matrix.
    """

    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Scores:
        """Returns scores 0, -1, -2, ... in the order of keeping."""
        hidden = visual_hidden(view)
        scores = blank(view, hidden.device)
        for row, positions in visual_rows(view):
            positions = positions.to(hidden.device)
            distances, place = cosine_distances(hidden[row, positions])
            distances = distances[place][:, place]
            # Before anything is kept, a token's distance is the one to its nearest neighbour, itself excepted.
            nearest = distances.clone().fill_diagonal_(float("inf")).amin(dim=-1)
            kept = torch.zeros_like(nearest, dtype=torch.bool)
            for rank in range(len(positions)):
                chosen = nearest.masked_fill(kept, float("-inf")).argmax().reshape(1)
                kept.index_fill_(0, chosen, True)
                scores[row, positions[chosen]] = 0.0 - rank
                to_chosen = distances.index_select(0, chosen)[0]
                nearest = to_chosen if rank == 0 else torch.minimum(nearest, to_chosen)
        return scores

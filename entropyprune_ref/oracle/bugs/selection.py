"""Wrong selections of tokens."""

import torch
from torch import Tensor

from ...pruning import select_tokens
from .catalogue import memory_order, mutant


def _best_first(scores: Tensor, keep: int) -> Tensor:
    select_tokens(scores, keep)  # refuses what is to be refused
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :keep]


mutant("select_tokens", "keeps the lowest")(lambda scores, keep: select_tokens(-scores, keep))
mutant("select_tokens", "keeps one more")(lambda scores, keep: select_tokens(scores, min(keep + 1, scores.shape[-1])))
mutant("select_tokens", "keeps one less")(lambda scores, keep: select_tokens(scores, max(keep - 1, 0)))
mutant("select_tokens", "none taken for one")(lambda scores, keep: select_tokens(scores, keep or 1))
mutant("select_tokens", "positions in the order of scores")(_best_first)
mutant("select_tokens", "ties to the later token")(
    lambda scores, keep: scores.shape[-1] - 1 - select_tokens(scores.flip(-1), keep).flip(-1)
)
mutant("select_tokens", "positions counted from one")(lambda scores, keep: select_tokens(scores, keep) + 1)
mutant("select_tokens", "positions counted from the end")(
    lambda scores, keep: select_tokens(scores, keep) - scores.shape[-1]
)
mutant("select_tokens", "absolute values")(lambda scores, keep: select_tokens(scores.abs(), keep))
mutant("select_tokens", "half-precision scores")(lambda scores, keep: select_tokens(scores.half().nan_to_num(), keep))
mutant("select_tokens", "softmax before the selection")(
    lambda scores, keep: select_tokens((scores - scores.amax()).softmax(-1), keep)
)
mutant("select_tokens", "ties broken by a small slope")(
    lambda scores, keep: select_tokens(scores - 1e-6 * torch.arange(scores.shape[-1]), keep)
)
mutant("select_tokens", "minus zero below zero")(
    lambda scores, keep: select_tokens(torch.where((scores == 0) & scores.signbit(), -1e-300, scores.double()), keep)
)
mutant("select_tokens", "positions as floating numbers")(lambda scores, keep: select_tokens(scores, keep).float())
mutant("select_tokens", "the first tokens whatever their scores")(
    lambda scores, keep: torch.arange(select_tokens(scores, keep).shape[-1]).expand(*scores.shape[:-1], keep)
)
mutant("select_tokens", "impossible keep clipped")(
    lambda scores, keep: select_tokens(scores, min(max(keep, 0), scores.shape[-1]))
)
mutant("select_tokens", "views read in memory order")(lambda scores, keep: select_tokens(memory_order(scores), keep))


@mutant("select_tokens", "top of the flattened batch")
def _(scores: Tensor, keep: int) -> Tensor:
    rows = scores.reshape(-1, scores.shape[-1])
    flat = select_tokens(rows.reshape(1, -1), len(rows) * keep) if rows.numel() else torch.zeros(0, dtype=torch.int64)
    return (flat % scores.shape[-1]).reshape(*scores.shape[:-1], keep)


@mutant("select_tokens", "one selection for all rows")
def _(scores: Tensor, keep: int) -> Tensor:
    mean = scores.double().reshape(-1, scores.shape[-1]).mean(0).nan_to_num()
    return select_tokens(mean, keep).expand(*scores.shape[:-1], keep)


@mutant("select_tokens", "mask in place of positions")
def _(scores: Tensor, keep: int) -> Tensor:
    return torch.zeros(scores.shape, dtype=torch.bool).scatter(-1, select_tokens(scores, keep), True)


@mutant("select_tokens", "all that reach the last kept score")
def _(scores: Tensor, keep: int) -> Tensor:
    kept = select_tokens(scores, keep)
    if scores.ndim > 1 or keep == 0:
        return kept
    return torch.nonzero(scores >= scores[kept].min())[:, 0]


@mutant("select_tokens", "tied tokens counted once")
def _(scores: Tensor, keep: int) -> Tensor:
    kept = select_tokens(scores, keep)
    if scores.ndim > 1 or keep == 0:
        return kept
    values = scores.unique()
    first = torch.stack([torch.nonzero(scores == value)[0, 0] for value in values.flip(0)[:keep]])
    return first.sort().values


@mutant("select_tokens", "the same token kept twice")
def _(scores: Tensor, keep: int) -> Tensor:
    kept = select_tokens(scores, keep).clone()
    values = scores.gather(-1, kept)
    for place in range(1, keep):  # finds each value again where it stands first
        again = values[..., place] == values[..., place - 1]
        kept[..., place] = torch.where(again, kept[..., place - 1], kept[..., place])
    return kept


@mutant("select_tokens", "chosen scores overwritten in place")
def _(scores: Tensor, keep: int) -> Tensor:
    kept = select_tokens(scores, keep)
    scores.scatter_(-1, kept, -torch.inf)
    return kept

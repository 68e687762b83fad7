r"""Rivals that keep the tokens which receive attention: FastV, as in its code and as in its text."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._reading import Scores, blank, only_visual, per_head
from .view import LayerView


def _attention(
    queries: Float[Tensor, "*batch queries head_dim"],
    keys: Float[Tensor, "*batch keys head_dim"],
    allowed: Bool[Tensor, "*#batch queries keys"],
) -> Float[Tensor, "*batch queries keys"]:
    """Returns softmax attention weights over the allowed keys."""
    logits = queries @ keys.mT / queries.shape[-1] ** 0.5
    return torch.softmax(logits.masked_fill(~allowed, float("-inf")), dim=-1)


@dataclass(frozen=True)
class LastTokenAttention:
    """The attention that a token receives from the last token of the prompt, averaged over heads.

    Source: FastV (arXiv 2403.06764), as its code does it: the weights of layer K - 1, the last query, the mean over
    heads. The paper's text instead averages over all queries, which is `MeanAttention`. Departs in one point: with
    padding, the last token is the last attended one of each row (the code takes one sequence at a time).

    Examples:
        One head of size 1; the last query is 1 and the keys are log 1, log 2 and log 5: weights 1/8, 2/8 and 5/8.

        >>> keys = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log().reshape(1, 1, 3, 1)
        >>> index, seen = torch.tensor([[0, 0, -1]]), torch.ones(1, 3, dtype=torch.bool)
        >>> view = LayerView(keys[0], torch.ones_like(keys), keys, index, seen)
        >>> LastTokenAttention()(view).numpy().round(12).tolist()
        [[0.125, 0.25, 0.0]]
    """

    reads_text: ClassVar[bool] = True

    def __call__(self, view: LayerView) -> Scores:
        """Returns the mean weight, in [0, 1]."""
        queries = per_head("queries", view.queries, view.attended)
        keys = per_head("keys", view.keys, view.attended)
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)
        places = torch.arange(view.attended.shape[1], device=view.attended.device)
        last = torch.where(view.attended, places, 0).amax(dim=-1).to(queries.device)
        attended = view.attended.to(queries.device)
        query = queries.take_along_dim(last[:, None, None, None], dim=2)  # (batch, heads, 1, head_dim)
        weights = _attention(query, keys, attended[:, None, None, :])
        return only_visual(weights.mean(dim=(1, 2)), view)


@dataclass(frozen=True)
class MeanAttention:
    """The attention that a token receives, averaged over every query of the prompt and over heads.

    Source: FastV (arXiv 2403.06764), as its text describes it: the average attention that a token receives from all
    other tokens. Departs from it in that a token's attention to itself is in the average. Under causal attention a
    token is seen only by those after it and the average still divides by all queries, so earlier tokens are favoured.

    Examples:
        Zero queries attend evenly to what they may see. Of three tokens the first gets 1, 1/2 and 1/3, the second 1/2
        and 1/3; over three queries that is 11/18 and 5/18.

        >>> zero, index = torch.zeros(1, 1, 3, 1), torch.tensor([[0, 0, -1]])
        >>> (18 * MeanAttention()(LayerView(zero[0], zero, zero, index, index < 1))).numpy().round(12).tolist()
        [[11.0, 5.0, 0.0]]
    """

    reads_text: ClassVar[bool] = True

    def __call__(self, view: LayerView) -> Scores:
        """Returns the mean weight, in [0, 1]; holds one score matrix at a time."""
        queries = per_head("queries", view.queries, view.attended)
        keys = per_head("keys", view.keys, view.attended)
        batch, heads, sequence, _ = queries.shape
        group = heads // keys.shape[1]
        itself = torch.eye(sequence, dtype=torch.bool, device=queries.device)
        earlier = itself.new_ones(sequence, sequence).tril()
        received = blank(view, queries.device)
        for row in range(batch):
            attended = view.attended[row].to(queries.device)
            # A padding query sees itself, so that its softmax is defined; it then weighs nothing.
            allowed = earlier & attended | itself
            share = attended.double() / attended.sum().clamp_min(1)
            for head in range(heads):
                received[row] += share @ _attention(queries[row, head], keys[row, head // group], allowed)
        return only_visual(received / heads, view)

"""Selections: which tokens a score error explains, and how large that error may be."""

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from ...scoring import Convention, token_entropy
from ..plain.entropies import plain_token_entropy
from .entropies import allowance, token_entropy_floor


def disputed(
    scores: Float64[Tensor, " tokens"], kept: Int[Tensor, " kept"], keep: int, error: float
) -> Bool[Tensor, " tokens"]:
    r"""Which tokens a selection got wrong beyond what a score error of `error` explains.

    Let every score be off by at most $e$ = `error`, and $\tau$ be the `keep`-th highest exact score. The `keep`-th
    highest computed score is within $e$ of $\tau$, for at least `keep` computed scores reach $\tau - e$ and fewer than
    `keep` exceed $\tau + e$. So whoever was kept has an exact score of at least $\tau - 2e$, and whoever was not, of at
    most $\tau + 2e$. A token that breaks this cannot be explained by rounding; and if the gap at the cut exceeds $2e$,
    the two sets are equal.

    Args:
        scores: `(tokens,)`, the exact scores.
        kept: `(kept,)`, the positions that the candidate kept.
        keep: How many it was to keep.
        error: The largest score error, at least 0.

    Returns:
        `(tokens,)`, True for tokens that were wrongly kept or wrongly dropped.

    Examples:
        >>> scores = torch.tensor([3.0, 2.0, 1.9, 0.0], dtype=torch.float64)
        >>> disputed(scores, torch.tensor([0, 2]), 2, 0.06).tolist()  # 2.0 and 1.9 may be told apart or not
        [False, False, False, False]
        >>> disputed(scores, torch.tensor([0, 3]), 2, 0.06).tolist()
        [False, False, False, True]
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[kept] = True
    if keep == 0:
        return chosen
    ordered = scores.sort(descending=True).values
    cut = ordered[keep - 1]
    slack = 2 * error
    after = ordered[keep] if keep < len(scores) else cut
    if keep < len(scores) and cut - after > slack:
        return chosen != (scores >= cut)
    return torch.where(chosen, scores < cut - slack, scores > cut + slack)


def token_score_error(
    queries: Float64[Tensor, "*batch tokens heads head_dim"], convention: Convention, dtype: torch.dtype
) -> float:
    """The largest error a correct token entropy in `dtype` may have on these queries: `e` where no scores are shown."""
    exact = token_entropy(queries, convention)
    plain = plain_token_entropy(queries.to(dtype), convention)
    return float(allowance(token_entropy_floor(queries, convention, dtype), plain, exact, dtype).max())

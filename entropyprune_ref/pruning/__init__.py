r"""Section 5, how to prune: from a budget to a number of tokens (`budgets`), from scores to positions (`selection`)."""

from .budgets import Number, PrunePlan, average_tokens, prune_plan, require_one_budget, split_keep, tokens_to_keep
from .selection import gather_index, kept_mask, select_tokens

__all__ = [
    "Number",
    "PrunePlan",
    "average_tokens",
    "gather_index",
    "kept_mask",
    "prune_plan",
    "require_one_budget",
    "select_tokens",
    "split_keep",
    "tokens_to_keep",
]

"""Ranks, and what is measured with them: AUC, rank correlation, what is left of one score after others."""

import numpy as np


def auc(scores: np.ndarray, on: np.ndarray) -> float:
    """Returns how often a token of `on` has a higher score than one that is not, ties counting half (Mann–Whitney).

    Examples:
        >>> auc(np.array([3.0, 1.0, 2.0]), np.array([True, False, True]))
        1.0
        >>> auc(np.ones(3), np.array([True, False, False]))
        0.5
    """
    ordered, inside = ranks(scores), int(on.sum())
    return float((ordered[on].sum() - inside * (inside + 1) / 2) / (inside * (len(on) - inside)))


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks from 1, the mean rank to equal values.

    Examples:
        >>> ranks(np.array([0.5, 0.1, 0.5])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    mean: np.ndarray = ((last - counts + 1 + last) / 2)[inverse]
    return mean


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the rank correlation; 0 where one of the two does not vary."""
    a, b = ranks(one) - ranks(one).mean(), ranks(other) - ranks(other).mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else 0.0


def residual(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns what is left of the ranks of scores after a linear fit to the ranks of others, `(others, tokens)`."""
    design = np.stack([np.ones(len(scores)), *(ranks(other) for other in others)], axis=1)
    wanted = ranks(scores)
    fitted, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    left: np.ndarray = wanted - design @ fitted
    return left.round(9)  # equal scores stay equal

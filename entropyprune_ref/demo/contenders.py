"""Who takes part in the demonstration, how they do, and who wins, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entropyprune_ref.evaluation.statistics import mean_interval

METHOD = {
    "PAPER": "token-entropy-paper",
    "ROW_NORMALIZED": "token-entropy-row_normalized",
    "RELEASED": "token-entropy-released",
}
"""The three conventions, under the names by which the evaluation knows them."""

COMPARED = (
    "random",
    "uniform-stride",
    "last-token-attention",
    "query-norm-low",
    "hidden-norm-low",
    "max-min-diversity",
    "lowest-entropy",
)
"""The rivals that the demonstration compares with; the evaluation has all of them."""

Interval = tuple[float, float, float]
"""A share and its 95 % interval."""


@dataclass(frozen=True)
class Contender:
    """One way to choose the tokens, a figure for each budget.

    Attributes:
        name: `PAPER`, `ROW_NORMALIZED`, `RELEASED`, a rival's name, or `ground-truth`.
        right: `(budgets, images)`, the share of an image's questions that are answered right.
        seconds: Median prefill time with the scoring, for each budget; None where it was not measured.
    """

    name: str
    right: np.ndarray
    seconds: list[float] | None

    def accuracy(self) -> list[Interval]:
        """Returns the mean over images with its interval, for each budget."""
        return [mean_interval(row) for row in self.right]


@dataclass(frozen=True)
class AtLayer:
    """Results of the contenders when the input of one layer is pruned.

    Attributes:
        layer: The prune layer.
        none_kept: Accuracy with no visual token at all from this layer on.
        contenders: The method, its rivals and the ground truth.
    """

    layer: int
    none_kept: Contender
    contenders: list[Contender]

    def verdict(self, place: int) -> str:
        """Compares the best convention with the best rival at one budget, on the same questions, in a few words."""

        def best(names: Sequence[str]) -> Contender:
            return max((c for c in self.contenders if c.name in names), key=lambda c: float(c.right[place].mean()))

        own, rival = best(list(METHOD)), best(COMPARED)
        gap, low, high = mean_interval(own.right[place] - rival.right[place])
        outcome = "the method wins" if low > 0 else "the rival wins" if high < 0 else "no clear difference"
        return (
            f"best convention {own.name} {own.right[place].mean():.1%}, best rival {rival.name} "
            f"{rival.right[place].mean():.1%}: {outcome} ({_points(gap, low, high)})"
        )

    def loss_of_all(self, unpruned: Contender) -> str:
        """What dropping every visual token at this layer costs, and so how much a choice among them can matter."""
        gap, low, high = mean_interval(self.none_kept.right[0] - unpruned.right[0])
        sentence = (
            f"With no visual token at all from layer {self.layer} on, {self.none_kept.right.mean():.1%} are right "
            f"({_points(gap, low, high)})"
        )
        little = f"{sentence}: which tokens are kept can hardly matter at this layer"
        return little if low > -0.05 else sentence


def _points(gap: float, low: float, high: float) -> str:
    return f"{100 * gap:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"

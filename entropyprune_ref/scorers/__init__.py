r"""Who chooses the tokens: the method itself, and other ways to choose them, with one signature.

A scorer maps a `LayerView` to one float64 score per position, higher means kept; only visual positions are read, all
others are zero. The scorers here are frozen dataclasses, so that they print, compare and can be varied with
`dataclasses.replace`. What papers published as a whole pruning method is reduced to its ranking; each class says where
it departs from its source. Padding is never read, and a row's scores depend on that row alone.
"""

from .attention import LastTokenAttention, MeanAttention
from .controls import HiddenNorm, LowestEntropy, QueryNorm, Random, UniformStride
from .entropy import EntropyScorer
from .given import GivenTokens
from .similarity import Duplication, MaxMinDiversity
from .view import LayerView, Scorer

__all__ = [
    "RIVALS",
    "Duplication",
    "EntropyScorer",
    "GivenTokens",
    "HiddenNorm",
    "LastTokenAttention",
    "LayerView",
    "LowestEntropy",
    "MaxMinDiversity",
    "MeanAttention",
    "QueryNorm",
    "Random",
    "Scorer",
    "UniformStride",
]

RIVALS: dict[str, Scorer] = {
    "random": Random(),
    "uniform-stride": UniformStride(),
    "query-norm-high": QueryNorm(highest=True),
    "query-norm-low": QueryNorm(highest=False),
    "hidden-norm-high": HiddenNorm(highest=True),
    "hidden-norm-low": HiddenNorm(highest=False),
    "last-token-attention": LastTokenAttention(),
    "mean-attention": MeanAttention(),
    "duplication": Duplication(),
    "max-min-diversity": MaxMinDiversity(),
    "lowest-entropy": LowestEntropy(),
}
"""Every rival by the name that the evaluation and the command line use."""

r"""Other ways to choose the tokens, for comparison: scorers with the signature of the method's own.

A scorer maps a `LayerView` to one float64 score per position, higher means kept; only visual positions are read, all
others are zero. The scorers here are frozen dataclasses, so that they print, compare and can be varied with
`dataclasses.replace`. What papers published as a whole pruning method is reduced to its ranking; each class says where
it departs from its source. Padding is never read, and a row's scores depend on that row alone.
"""

from entropyprune_ref.rivals.attention import LastTokenAttention, MeanAttention
from entropyprune_ref.rivals.controls import HiddenNorm, LowestEntropy, QueryNorm, Random, UniformStride
from entropyprune_ref.rivals.similarity import Duplication, MaxMinDiversity
from entropyprune_ref.scoring import Scorer

__all__ = [
    "RIVALS",
    "Duplication",
    "HiddenNorm",
    "LastTokenAttention",
    "LowestEntropy",
    "MaxMinDiversity",
    "MeanAttention",
    "QueryNorm",
    "Random",
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

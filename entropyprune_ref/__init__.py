"""The reference implementation of EntropyPrune (arXiv 2602.17196): one equation, one function, one group of tests."""

from .collapse import Collapse, collapse_layer, layer_entropy
from .entropy import effective_rank, matrix_entropy, renyi_entropy
from .flops import prefill_flops, pruned_prefill_flops, scoring_flops
from .gram import covariance_spectrum, density_matrix, gram_spectrum, spectrum
from .llava import Llava, LlavaConfig
from .pruner import EntropyPrune
from .pruning import select_tokens, tokens_to_keep
from .scoring import PAPER, RELEASED, ROW_NORMALIZED, Convention, token_entropy

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "RELEASED",
    "ROW_NORMALIZED",
    "Collapse",
    "Convention",
    "EntropyPrune",
    "Llava",
    "LlavaConfig",
    "__version__",
    "collapse_layer",
    "covariance_spectrum",
    "density_matrix",
    "effective_rank",
    "gram_spectrum",
    "layer_entropy",
    "matrix_entropy",
    "prefill_flops",
    "pruned_prefill_flops",
    "renyi_entropy",
    "scoring_flops",
    "select_tokens",
    "spectrum",
    "token_entropy",
    "tokens_to_keep",
]

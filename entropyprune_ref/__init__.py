"""The reference implementation of EntropyPrune (arXiv 2602.17196): one equation, one function, one group of tests."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_ROOMS = {
    "collapse": ("Collapse", "collapse_layer", "layer_entropy"),
    "entropy": ("effective_rank", "matrix_entropy", "renyi_entropy"),
    "flops": ("prefill_flops", "pruned_prefill_flops", "scoring_flops"),
    "gram": ("covariance_spectrum", "density_matrix", "gram_spectrum", "spectrum"),
    "llava": ("Llava", "LlavaConfig"),
    "pruner": ("EntropyPrune",),
    "pruning": ("select_tokens", "tokens_to_keep"),
    "scorers": (),
    "scoring": ("PAPER", "RELEASED", "ROW_NORMALIZED", "Convention", "token_entropy"),
}
"""Where each name lives. A room is imported when a name of it is first used, and torch with it."""


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name == room or name in names:
            found = import_module(f".{room}", __name__)
            return found if name == room else globals().setdefault(name, getattr(found, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})

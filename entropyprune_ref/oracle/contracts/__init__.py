"""The contracts: what a candidate may claim to implement, and the laws that it is then held to."""

from .budgets import TOKENS_TO_KEEP
from .collapse import COLLAPSE_LAYER
from .contract import Contract
from .entropies import LAYER_ENTROPY, MATRIX_ENTROPY, TOKEN_ENTROPY
from .flops import PREFILL_FLOPS
from .prefill import PRUNED_PREFILL
from .selection import SELECT_TOKENS

CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        MATRIX_ENTROPY,
        TOKEN_ENTROPY,
        LAYER_ENTROPY,
        COLLAPSE_LAYER,
        SELECT_TOKENS,
        TOKENS_TO_KEEP,
        PREFILL_FLOPS,
        PRUNED_PREFILL,
    )
}
"""All contracts by name."""

__all__ = ["CONTRACTS"]

"""The contracts: what a candidate may claim to implement, and the laws that it is then held to."""

from .budgets import TOKENS_TO_KEEP
from .collapse import COLLAPSE_LAYER
from .composed import KEPT_POSITIONS, TOKEN_SELECTION
from .contract import Contract
from .entropies import LAYER_ENTROPY, MATRIX_ENTROPY, TOKEN_ENTROPY
from .flops import PREFILL_FLOPS
from .prefill import PRUNED_PREFILL
from .selection import SELECT_TOKENS

ALL_CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        MATRIX_ENTROPY,
        TOKEN_ENTROPY,
        LAYER_ENTROPY,
        COLLAPSE_LAYER,
        TOKENS_TO_KEEP,
        SELECT_TOKENS,
        TOKEN_SELECTION,
        KEPT_POSITIONS,
        PREFILL_FLOPS,
        PRUNED_PREFILL,
    )
}
"""All contracts by name, in the order of the method: those that vectors are about."""

CONTRACTS = {name: contract for name, contract in ALL_CONTRACTS.items() if contract.laws}
"""Those that have laws: what `check` tries a candidate on."""

__all__ = ["ALL_CONTRACTS", "CONTRACTS"]

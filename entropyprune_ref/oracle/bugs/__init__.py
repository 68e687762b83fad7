"""Known-wrong implementations: each a few lines, named for its bug, and each must be caught."""

from . import budgets, collapse, entropies, flops, prefill, selection  # noqa: F401  they enter their mutants
from .catalogue import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant"]

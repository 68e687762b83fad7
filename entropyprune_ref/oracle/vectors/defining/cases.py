"""All vectors, in the order of the method's sections."""

from . import counts, decisions, features, prefill, real, selections, tokens
from .case import VectorCase
from .contracts import CONTRACTS


def all_cases() -> list[VectorCase]:
    """Returns every case of the set, contract by contract."""
    parts = (features, tokens, decisions, selections, counts, prefill, real)
    cases = [case for part in parts for case in part.cases()]
    return sorted(cases, key=lambda case: list(CONTRACTS).index(case.contract))

"""All vectors, in the order of the method's sections."""

from ...contracts import ALL_CONTRACTS
from . import counts, decisions, features, prefill, real, selections, tokens
from .case import VectorCase


def all_cases() -> list[VectorCase]:
    """Returns every case of the set, contract by contract."""
    parts = (features, tokens, decisions, selections, counts, prefill, real)
    cases = [case for part in parts for case in part.cases()]
    return sorted(cases, key=lambda case: list(ALL_CONTRACTS).index(case.contract))

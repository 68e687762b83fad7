"""What a known-wrong implementation is, and the list of them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...scoring import PAPER, Convention


@dataclass(frozen=True)
class Mutant:
    """An implementation with one bug.

    Attributes:
        name: The bug, in a few words.
        contract: What it claims to implement.
        implementation: The candidate.
        convention: Formula of token entropy that it claims to implement.
    """

    name: str
    contract: str
    implementation: Callable[..., Any]
    convention: Convention = PAPER


MUTANTS: list[Mutant] = []
"""The catalogue, in the order of the contracts."""


def mutant(
    contract: str, name: str, convention: Convention = PAPER
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enters a function in the catalogue."""

    def enter(implementation: Callable[..., Any]) -> Callable[..., Any]:
        MUTANTS.append(Mutant(name, contract, implementation, convention))
        return implementation

    return enter

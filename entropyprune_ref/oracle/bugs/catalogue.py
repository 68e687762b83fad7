"""What a known-wrong implementation is, and the list of them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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


def memory_order(values: Tensor) -> Tensor:
    """Reads the memory behind a view as if the view were contiguous; where it ends, from its beginning again."""
    length = values.untyped_storage().nbytes() // values.element_size() - int(values.storage_offset())
    places = torch.arange(values.numel()) % max(length, 1)
    return values.as_strided((length,), (1,))[places].reshape(values.shape)

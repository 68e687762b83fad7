"""What a contract is made of: how it is called, what is computed from what, and the laws that must hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from ..inputs.case import Case, Setting
from ..trial.trial import Trial

Inputs = Mapping[str, Any]
"""Arguments of a call by name: numbers, words, tensors, or (weights) tensors by name."""


@dataclass(frozen=True)
class Law:
    """One thing that must hold for every case of a strategy.

    Attributes:
        name: What a report and a list of expected failures call it.
        statement: The law, in a sentence.
        cases: The strategy that draws cases, or a list of cases that are all tried.
        judge: Tries the candidate on one case; raises `Broken` if the law does not hold.
        first: How many of a list the quick size tries.
    """

    name: str
    statement: str
    cases: Callable[[Setting], SearchStrategy[Case] | list[Case]]
    judge: Callable[[Trial], None]
    first: int | None = None


@dataclass(frozen=True)
class Named:
    """The same call for whoever does not write Python: inputs and outputs by name, as the vectors give them.

    Attributes:
        says: What is computed, in a sentence with its equation.
        inputs: By name: shape or range, and meaning.
        outputs: By name: shape, unit and meaning.
        ask: Calls an implementation with inputs by name; gives what it answers by name.
        reference: The implementation of this package, by convention.
        optional: Inputs that a case may lack.
    """

    says: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    ask: Callable[[Callable[..., Any], Inputs], dict[str, Any]]
    reference: Callable[[str | None], Callable[..., Any]]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """A function that a candidate may claim to implement.

    Attributes:
        name: The function's name in `entropyprune_ref`, where it has one.
        call: How the candidate is called, for messages.
        named: The same call in names.
        example: Arguments of a call, to see beforehand whether the candidate could take them.
        laws: What must hold; none for what only the vectors are about.
        floating: Whether dtype matters: whether the inputs have one.
        dtypes: Those that can be asked for.
    """

    name: str
    call: str
    named: Named
    example: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]] = lambda: ((), {})
    laws: tuple[Law, ...] = ()
    floating: bool = True
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

    def answers(
        self, convention: str | None, inputs: Inputs, implementation: Callable[..., Any] | None = None
    ) -> dict[str, Tensor]:
        """Returns what an implementation answers to inputs, by name; by default the reference.

        Raises:
            ValueError: The reference refuses the inputs.
        """
        chosen = self.named.reference(convention) if implementation is None else implementation
        return {name: _as_tensor(value) for name, value in self.named.ask(chosen, inputs).items()}


def _as_tensor(value: Any) -> Tensor:
    """A number, a list or a tensor in float64 or int64."""
    if isinstance(value, Tensor):
        return value.to(torch.float64 if value.is_floating_point() else torch.int64)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)

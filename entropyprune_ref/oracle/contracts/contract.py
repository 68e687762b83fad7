"""What a contract is made of: laws, each with a strategy for its cases and a judge."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis.strategies import SearchStrategy

from ..inputs.case import Case, Setting
from ..trial.trial import Trial


@dataclass(frozen=True)
class Law:
    """One thing that must hold for every case of a strategy.

    Attributes:
        name: What a report and a list of expected failures call it.
        statement: It, in a sentence.
        cases: The strategy that draws cases, or a list of cases that are all tried.
        judge: Tries the candidate on one case; raises `Broken` if the law does not hold.
        first: Of a list, how many the quick size tries.
    """

    name: str
    statement: str
    cases: Callable[[Setting], SearchStrategy[Case] | list[Case]]
    judge: Callable[[Trial], None]
    first: int | None = None


@dataclass(frozen=True)
class Contract:
    """A function that a candidate may claim to implement.

    Attributes:
        name: The function's name in `entropyprune_ref`.
        call: How the candidate is called, for messages.
        example: Arguments of a call, to see beforehand whether the candidate could take them.
        laws: What must hold.
        floating: Whether dtype matters: whether the inputs have one.
        dtypes: Those that can be asked for.
    """

    name: str
    call: str
    example: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
    laws: tuple[Law, ...]
    floating: bool = True
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

"""What a candidate is tried on: a setting that stays, and cases that change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...scoring import PAPER, Convention

Numbers = Mapping[str, Any]

Draw = Callable[..., Any]
"""The first argument of a composite strategy; run-time type checks cannot read hypothesis's own name for it."""


@dataclass(frozen=True)
class Setting:
    """What stays the same during a whole check.

    Attributes:
        contract: Name of the contract.
        convention: Which formula of token entropy is asked for, where that matters.
        dtype: Of the floating inputs that the candidate is given.
        device: Where they are.
        arrays: Their kind: "torch", "numpy" or "jax".
        time_limit: Seconds that one call may take.
        seed: Of the drawing of cases.
    """

    contract: str
    convention: Convention = PAPER
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    arrays: str = "torch"
    time_limit: int | float = 10.0
    seed: int = 0

    def __str__(self) -> str:
        """One line for a report."""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.contract}, convention {self.convention.name}, {dtype}, {self.arrays} arrays on {self.device}"


@dataclass(frozen=True)
class Case:
    """One input, described by a family and numbers only: the same description always builds the same input.

    Attributes:
        family: Names the builder.
        numbers: Its arguments; plain Python values, so that a case can be printed, pasted and written to JSON.
    """

    family: str
    numbers: Numbers

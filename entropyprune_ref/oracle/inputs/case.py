"""What a candidate is tried on: a setting that stays, and cases that change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...scoring import PAPER, Convention

Numbers = Mapping[str, Any]

Draw = Callable[..., Any]
"""The first argument of a composite strategy; run-time type checks cannot read hypothesis's own name for it."""


WITH_CONVENTION = ("token_entropy", "pruned_prefill")
"""Contracts that know several formulas of token entropy."""


@dataclass(frozen=True)
class Setting:
    """What stays the same during a whole check.

    Attributes:
        contract: Name of the contract.
        convention: Which formula of token entropy is asked for, where that matters.
        dtype: Dtype of the floating inputs that the candidate is given; the reference is given the same exact values.
        claimed: What the candidate says that it computes in; `None` if it says nothing. See `computes_in`.
        device: Where they are.
        arrays: Their kind: "torch", "numpy" or "jax".
        time_limit: Seconds that one call may take.
        seed: Seed of the drawing of cases.
    """

    contract: str
    convention: Convention = PAPER
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    arrays: str = "torch"
    time_limit: int | float = 30.0
    seed: int = 0
    claimed: torch.dtype | None = None

    @property
    def computes_in(self) -> torch.dtype:
        """What the candidate computes in, from which follows how far it may be off.

        Unless it says otherwise that is float32 for inputs of 16 bits, since hardly a kernel computes in those, and
        else the dtype of the inputs.
        """
        return self.claimed or torch.promote_types(self.dtype, torch.float32)

    @property
    def formula(self) -> str:
        """Name of the convention; empty for a contract that has none."""
        return self.convention.name if self.contract in WITH_CONVENTION else ""

    def __str__(self) -> str:
        """One line for a report."""
        dtype, computes_in = (str(kind).removeprefix("torch.") for kind in (self.dtype, self.computes_in))
        dtype += f" computed in {computes_in}" if dtype != computes_in else ""
        asked = f", convention {self.formula}" if self.formula else ""
        return f"{self.contract}{asked}, {dtype}, {self.arrays} arrays on {self.device}"


@dataclass(frozen=True)
class Case:
    """One input, described by a family and numbers only: the same description always builds the same input.

    Attributes:
        family: Names the builder.
        numbers: Its arguments; plain Python values, so that a case can be printed, pasted and written to JSON.
    """

    family: str
    numbers: Numbers

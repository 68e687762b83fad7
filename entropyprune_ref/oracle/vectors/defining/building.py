"""How cases are put together: the reference answers, and `tolerances` says how close a consumer must come."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ....scoring import CONVENTIONS
from ...contracts import ALL_CONTRACTS
from ...plain.entropies import plain_matrix_entropy, plain_token_entropy
from ...tolerances import allowance, entropy_floor, token_entropy_floor
from .case import DTYPES, Alternative, Cut, Expected, VectorCase, rounded_up

NAMES = {"matrix_entropy": "features", "token_entropy": "queries", "layer_entropy": "states"}
"""What the only input of an entropy is called."""


def named(contract: str, convention: str | None, name: str) -> str:
    """The id of a case."""
    return "/".join(part for part in (contract, convention, name) if part)


def refused(
    contract: str, name: str, comment: str, flags: str, inputs: Mapping[str, Any], convention: str | None = None
) -> VectorCase:
    """Returns a case that must be rejected."""
    id = named(contract, convention, name)
    return VectorCase(id, contract, convention, comment, tuple(flags.split()), inputs, "must_reject")


def counted(
    contract: str,
    name: str,
    comment: str,
    flags: str,
    inputs: Mapping[str, Any],
    *,
    units: Mapping[str, str],
    convention: str | None = None,
    cut: Cut | None = None,
    alternatives: tuple[Alternative, ...] = (),
    found: Mapping[str, Tensor] | None = None,
) -> VectorCase:
    """Returns a case whose outputs are integers; `either` if there are alternatives.

    The reference answers, unless `found` does: what rounding would decide is decided by reasoning.
    """
    found = ALL_CONTRACTS[contract].answers(convention, inputs) if found is None else found
    compare = "exact" if cut is None else "selection"
    outputs = {output: Expected(value, compare, units[output]) for output, value in found.items()}
    verdict = "either" if alternatives else "must_match"
    id = named(contract, convention, name)
    return VectorCase(
        id, contract, convention, comment, tuple(flags.split()), inputs, verdict, outputs, cut, alternatives
    )


def rows(*values: Sequence[int | float]) -> Tensor:
    """Float64 rows; a single one without the axis of rows."""
    tensor = torch.tensor(values, dtype=torch.float64)
    return tensor[0] if len(values) == 1 else tensor


def entropy_tolerance(contract: str, convention: str | None, inputs: Tensor) -> dict[str, Tensor]:
    """What an entropy may be off, by dtype: `tolerances.allowance`, as in `check`."""
    allowed, exact = {}, ALL_CONTRACTS[contract].answers(convention, {NAMES[contract]: inputs})["entropy"]
    for name, dtype in DTYPES.items():
        if contract == "token_entropy":
            chosen = CONVENTIONS[convention or "paper"]
            floor = token_entropy_floor(inputs.double(), chosen, dtype)
            plain = plain_token_entropy(inputs.to(dtype), chosen)
        else:
            floor, plain = entropy_floor(inputs.double(), dtype), plain_matrix_entropy(inputs.to(dtype))
        allowed[name] = rounded_up(allowance(floor, plain, exact, dtype))
    return allowed


def entropic(
    contract: str,
    convention: str | None,
    name: str,
    comment: str,
    flags: str,
    given: Tensor,
    like: Tensor | None = None,
) -> VectorCase:
    """Returns a case of an entropy; its tolerance is that of `like`, where another input rounds as this one."""
    inputs = {NAMES[contract]: given}
    id = named(contract, convention, name)
    value = ALL_CONTRACTS[contract].answers(convention, inputs)["entropy"]
    unit = "log(heads) nats" if convention == "released" else "nats"
    expected = Expected(value, "close", unit, entropy_tolerance(contract, convention, given if like is None else like))
    return VectorCase(
        id, contract, convention, comment, tuple(flags.split()), inputs, "must_match", {"entropy": expected}
    )

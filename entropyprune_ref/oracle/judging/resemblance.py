"""Which known-wrong implementation a failing candidate looks like: the first thing that one wants to know."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..inputs.case import Setting
from ..trial.arrays import take
from ..trial.failure import Failure
from ..trial.trial import Broken, Call

CASES = 3
"""Failing cases that must look alike: on one small case, half of the catalogue gives the same answer."""

MOST_ALIKE = 2
"""Known bugs that may be named: more of them mean that the cases do not tell."""

MOST_TRIED = 8
MOST_ENTRIES = 10**6


def resembling(broken: Broken, others: Sequence[Broken], setting: Setting) -> Failure:
    """Returns the failure, with the names of those mutants that answer all failing calls as the candidate did.

    Only a wrong answer has a likeness: a candidate that raises or hangs is reported as it is. Nor is a likeness claimed
    where fewer than three cases that differ in size failed, or where more than two known bugs look alike.

    Args:
        broken: The failure that is reported.
        others: All failures of the law that were seen on the way to it.
        setting: Setting of the check.
    """
    from ..bugs import MUTANTS

    failure = broken.failure
    if failure.law in ("returns", "time", "kind", "device", "input unchanged", "repeatable"):
        return failure
    calls: dict[str, Call] = {}
    for entry in (broken, *others):
        if entry.calls and _entries(entry.calls[-1]) <= MOST_ENTRIES:
            calls.setdefault(entry.failure.inputs, entry.calls[-1])
    if len(calls) < CASES:
        return failure
    largest = sorted(calls.values(), key=_entries)[-MOST_TRIED:]
    alike = [
        mutant.name
        for mutant in MUTANTS
        if mutant.contract == setting.contract
        and mutant.convention == setting.convention
        and all(_answers_alike(mutant.implementation, call, setting.dtype) for call in largest)
    ]
    return replace(failure, resembles=tuple(alike) if len(alike) <= MOST_ALIKE else ())


def _entries(call: Call) -> int:
    values = [*call.arguments, *call.options.values()]
    return sum(value.numel() for value in values if isinstance(value, torch.Tensor))


def _answers_alike(implementation: Any, call: Call, dtype: torch.dtype) -> bool:
    try:
        arguments, options = copy.deepcopy((call.arguments, call.options))  # some bugs write to their input
        return same_answer(call.result, implementation(*arguments, **options), dtype)
    except Exception:
        return False


def same_answer(one: Any, other: Any, dtype: torch.dtype) -> bool:
    """Whether two results are the same but for rounding in `dtype`: nested tuples of arrays, numbers or None."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(same_answer(a, b, dtype) for a, b in zip(one, other, strict=True))
    if one is None or other is None:
        return one is other
    try:
        first, second = take(one).cpu().double(), take(other).cpu().double()
    except Exception:
        return bool(one == other)
    if first.shape != second.shape:
        return False
    tolerance = 64 * torch.finfo(dtype).eps
    return np.allclose(first.numpy(), second.numpy(), rtol=tolerance, atol=tolerance, equal_nan=True)

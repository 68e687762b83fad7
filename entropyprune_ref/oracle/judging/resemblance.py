"""Which known-wrong implementation a failing candidate looks like: the first thing that one wants to know."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..inputs.case import Setting
from ..trial.arrays import take
from ..trial.failure import Failure
from ..trial.trial import Broken


def resembling(broken: Broken, setting: Setting) -> Failure:
    """Returns the failure, with the names of those mutants that answer the failing call as the candidate did.

    Only a wrong answer has a likeness: a candidate that raises or hangs is reported as it is.
    """
    from ..bugs import MUTANTS

    failure, calls = broken.failure, broken.calls
    if not calls or failure.law in ("returns", "time", "kind", "device", "input unchanged", "repeatable"):
        return failure
    call = calls[-1]
    alike = []
    for mutant in MUTANTS:
        if mutant.contract != setting.contract or mutant.convention != setting.convention:
            continue
        try:
            answer = mutant.implementation(*call.arguments, **call.options)
        except Exception:
            continue
        if same_answer(call.result, answer, setting.dtype):
            alike.append(mutant.name)
    return replace(failure, resembles=tuple(alike))


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

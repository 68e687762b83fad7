"""Inputs that tell a generated implementation from the right one, found without any law of the oracle.

A difference is one of more than `LEAST`, or of kind, shape or refusal.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .catalogue import PLAIN, Generated
from .examples import Call
from .searched import SEARCHED, Made
from .steps import Steps

LEAST = 1e-6
"""Smallest relative difference that counts: far above rounding in float64, far below a format of ten bits."""


def witness(entry: Generated) -> str | None:
    """The name of the first call that tells the implementation from the right one; None if there is none."""
    plain = PLAIN[entry.contract, entry.convention.name]
    for name, pair in _calls(entry.contract):
        candidate = entry.implementation()
        wrong = [_outcome(candidate, call) for call in pair][-1]
        if not _same(wrong, _right(entry.contract, entry.convention.name, name, plain, pair[-1])):
            return name
    return None


@cache
def _calls(contract: str) -> list[Made]:
    return list(SEARCHED[contract]())


_RIGHT: dict[tuple[str, str, str], Any] = {}


def _right(contract: str, convention: str, name: str, plain: Callable[..., Any], call: Call) -> Any:
    key = contract, convention, name
    if key not in _RIGHT:
        _RIGHT[key] = _outcome(lambda *a, **o: plain(Steps(), *a, **o), call)
    return _RIGHT[key]


def _outcome(candidate: Callable[..., Any], call: Call) -> Any:
    """What a call gives; the exception if it raises one."""
    try:
        return candidate(*call[0], **call[1])
    except Exception as error:
        return error


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Exception) or isinstance(other, Exception):
        return isinstance(one, Exception) and isinstance(other, Exception)
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    if not isinstance(one, Tensor):
        return type(one) is type(other) and one == other
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool(torch.isfinite(one).all()) and bool(((one - other).abs() <= LEAST * (1 + other.abs())).all())

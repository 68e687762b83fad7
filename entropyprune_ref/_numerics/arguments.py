"""Checks of arguments: every message names the argument, what was expected and what it got."""

from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Kind = TypeVar("Kind")

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_floating(name: str, value: object, dims: tuple[str, ...], *, batched: bool = True) -> Tensor:
    """Returns `value` if it is a finite, real floating tensor whose last axes are `dims`, none of them empty.

    Leading batch axes are allowed when `batched`, and may be empty. A tensor without data (the meta device) is
    not searched for NaN.
    """
    value = require_tensor(name, value)
    layout = f"({'..., ' if batched else ''}{', '.join(dims)})"
    shape = tuple(value.shape)
    if value.ndim < len(dims) or (not batched and value.ndim != len(dims)):
        raise ValueError(f"{name} must have shape {layout}, got {value.ndim} dimension(s): shape {shape}")
    for axis, label in enumerate(dims, start=value.ndim - len(dims)):
        if shape[axis] == 0:
            raise ValueError(
                f"{name} must have at least one entry on its axis '{label}' of {layout}, got shape {shape}"
            )
    if value.dtype not in FLOATING:
        kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATING)
        raise ValueError(f"{name} must have a real floating dtype ({kinds}), got {value.dtype}")
    if not value.is_meta and not _finite(value.detach()):
        bad = torch.nonzero(~torch.isfinite(value))[0].tolist()
        raise ValueError(f"{name} must be finite, got {value[tuple(bad)].item()} at index {tuple(bad)}")
    return value


def _finite(value: Tensor) -> bool:
    """Returns whether all entries are finite: they are if their sum is, which is far faster than asking each."""
    half = value.dtype in (torch.float16, torch.bfloat16)
    total = value.sum(dtype=torch.float32 if half else value.dtype)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(value).all())


def require_tensor(name: str, value: object) -> Tensor:
    """Returns `value` if it is a dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_nested or value.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor, got {'a nested one' if value.is_nested else value.layout}")
    return value


def require_kind(name: str, value: object, kind: type[Kind]) -> Kind:
    """Returns `value` if it is of a class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {type(value).__name__} {value!r}")
    return value


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Returns `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def require_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Returns `value` as an int if it is an integer, numpy's included, but not a bool, and `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    value = int(value)
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {bounds}, got {value}")
    return value


def require_rational(name: str, value: object, low: int, high: int) -> Fraction:
    """Returns a number as the exact fraction that its decimal form denotes (0.1 is 1/10), `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | np.integer | np.floating):
        raise TypeError(f"{name} must be an int, a float or a Fraction, got {type(value).__name__} {value!r}")
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")
        exact = Fraction(str(value))  # the shortest decimal that denotes this very number in its own precision
    else:
        exact = value if isinstance(value, Fraction) else Fraction(int(value))
    if not low <= exact <= high:
        raise ValueError(f"{name} must be between {low} and {high}, got {value}")
    return exact


def require_nonnegative(name: str, value: Tensor) -> Tensor:
    """Returns `value` if none of its entries is negative."""
    if not value.is_meta and (value < 0).any():
        bad = tuple(torch.nonzero(value < 0)[0].tolist())
        raise ValueError(f"{name} must be non-negative, got {value[bad].item()} at index {bad}")
    return value


def require_order(name: str, value: object) -> int | float:
    """Returns `value` if it is a real number (not a bool) of at least 0; infinity is one, NaN is not."""
    number = require_real(name, value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return number


def require_real(name: str, value: object) -> int | float:
    """Returns `value` as Python's int or float if it is one of them, or numpy's, but not a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be an int or a float, got {type(value).__name__} {value!r}")
    return value if isinstance(value, int) else float(value) if isinstance(value, float | np.floating) else int(value)


def require_sequence(name: str, values: object) -> list[Any]:
    """Returns `values` as a list if it is a sequence or a NumPy array of one axis; a string does not count as one."""
    array = isinstance(values, np.ndarray) and values.ndim == 1
    if isinstance(values, str | bytes) or not (array or isinstance(values, Sequence)):
        raise TypeError(f"{name} must be a sequence, got {type(values).__name__} {values!r}")
    return list(values)  # type: ignore[call-overload]


def require_integer_fields(owner: Any, low: int, names: Sequence[str] = (), prefix: str = "") -> None:
    """Judges integer fields of a frozen dataclass, all of them by default, and leaves Python's int in each."""
    for name in names or [field.name for field in fields(owner)]:
        object.__setattr__(owner, name, require_integer(prefix + name, getattr(owner, name), low))

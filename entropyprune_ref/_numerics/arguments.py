"""Arguments judged: every message names the argument, what was expected and what came."""

from fractions import Fraction

import torch
from torch import Tensor

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_floating(name: str, value: object, dims: tuple[str, ...], *, batched: bool = True) -> Tensor:
    """Returns `value` if it is a finite, real floating tensor whose last axes are `dims`, none of them empty.

    Leading batch axes are allowed when `batched`, and may be empty. A tensor without data (the meta device) is
    not searched for NaN.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
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
    """Whether all entries are finite: so they are if their sum is, which is far faster than to ask each."""
    half = value.dtype in (torch.float16, torch.bfloat16)
    total = value.sum(dtype=torch.float32 if half else value.dtype)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(value).all())


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def require_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Returns `value` if it is an integer (not a bool) with `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {bounds}, got {value}")
    return value


def require_rational(name: str, value: object, low: int, high: int) -> Fraction:
    """Returns a number as the exact fraction that its decimal form denotes (0.1 is 1/10), `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise TypeError(f"{name} must be an int, a float or a Fraction, got {type(value).__name__} {value!r}")
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{name} must be finite, got {value}")
    exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
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
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be an int or a float, got {type(value).__name__} {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return value

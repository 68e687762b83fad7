"""Floating numbers compared: the one place that says how far an answer is off, for calls and for files alike."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """What is wrong with an answer.

    Attributes:
        message: What was expected and what came.
        index: Index of the worst element.
        error: Error at the worst element.
        allowed: What is allowed at the worst element.
    """

    message: str
    index: tuple[int, ...] | None = None
    error: float | None = None
    allowed: float | None = None


def difference(got: Tensor, expected: Tensor, allowed: Tensor, unit: str) -> Difference | None:
    """Returns the element that exceeds what is allowed the most, or `None` if none does.

    Args:
        got: Finite, float64.
        expected: Expected values of the same shape, float64.
        allowed: How far each element may be off, of the same shape or one for all.
        unit: Unit of the numbers, for the message.
    """
    if got.numel() == 0:
        return None
    error = (got - expected).abs()
    allowed = allowed.expand_as(error)
    excess = (error / allowed.clamp(min=torch.finfo(torch.float64).tiny)).flatten()
    worst = int(excess.argmax())
    if excess[worst] <= 1:
        return None
    place = tuple(int(part) for part in np.unravel_index(worst, error.shape))
    off, limit = float(error[place]), float(allowed[place])
    message = f"expected {float(expected[place]):.17g} {unit} at index {place}, got {float(got[place]):.17g}: "
    return Difference(f"{message}off by {off:.3g}, allowed {limit:.3g}", place, off, limit)

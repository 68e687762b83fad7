"""One call of a candidate on copies of its inputs: whatever it does, its caller gets an outcome."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .arrays import give, moved


@dataclass(frozen=True)
class Raised:
    """An exception, as far as a report needs it.

    Attributes:
        kind: Name of its type.
        message: First line of its text.
        where: File and line at which it was raised.
        ordinary: Whether it is an `Exception`, and not one that ends a program.
    """

    kind: str
    message: str
    where: str = ""
    ordinary: bool = True

    def __str__(self) -> str:
        """As a report shows it."""
        return f"raised {self.kind}: {self.message}{f' ({self.where})' if self.where else ''}"


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    Attributes:
        result: That it returned.
        raised: Or the exception that it raised.
        changed: What it did to its input; empty if nothing.
        ended: Or why it had to be ended: the law that this breaks, and how.
    """

    result: Any = None
    raised: Raised | None = None
    changed: str = ""
    ended: tuple[str, str] | None = None


def called(
    candidate: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    kind: str,
    device: torch.device,
) -> Outcome:
    """Calls a candidate on copies of the arguments, laid out in memory as they are.

    Args:
        candidate: The implementation.
        arguments: Tensors among them are given as arrays of `kind` on `device`.
        options: Those given by name.
        kind: "torch", "numpy" or "jax".
        device: Where the arrays are put.
    """
    given = _given(copy.deepcopy((arguments, options)), kind, device)
    result, raised = None, None
    try:
        result = candidate(*given[0], **given[1])
    except BaseException as error:
        raised = Raised(type(error).__name__, _first_line(error), _innermost(error), isinstance(error, Exception))
    if kind == "torch" and _asks_for_gradients(given):
        return Outcome(result, raised, "set requires_grad on its input")
    same = kind == "jax" or _same_bits((arguments, options), given)  # arrays of JAX cannot be written to
    return Outcome(result, raised, "" if same else "wrote to its input in place")


def _given(value: Any, kind: str, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return give(moved(value, device), kind)
    if isinstance(value, dict):
        return {key: _given(entry, kind, device) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_given(entry, kind, device) for entry in value)
    return value


def _asks_for_gradients(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.requires_grad
    if isinstance(value, dict):
        return any(map(_asks_for_gradients, value.values()))
    return isinstance(value, tuple | list) and any(map(_asks_for_gradients, value))


def _same_bits(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        after = after.detach().cpu() if isinstance(after, Tensor) else torch.as_tensor(after)
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        if not before.is_floating_point():
            return torch.equal(before, after)
        return torch.equal(torch.nan_to_num(before, nan=0.5), torch.nan_to_num(after, nan=0.5))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same_bits(before[key], after[key]) for key in before)
    if isinstance(before, tuple | list):
        return len(before) == len(after) and all(map(_same_bits, before, after))
    return bool(before == after or before != before)  # or NaN, which equals nothing


def _first_line(error: BaseException) -> str:
    try:
        return (str(error).strip().splitlines() or ["no message"])[0]
    except Exception:
        return "a message that cannot be shown"


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"

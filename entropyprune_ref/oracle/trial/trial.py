"""One trial of a candidate on one case: it is called with care, and what comes back is looked at."""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..inputs.case import Case, Setting
from .arrays import give, shown, take
from .failure import Failure

STRUCTURE = {
    "returns": "the candidate returns, and does not raise",
    "time": "every call ends within the time limit",
    "kind": "the result is an array or a number of the right kind",
    "shape": "the result has the right shape",
    "dtype": "the result has a dtype that fits",
    "device": "the result is on the device of the input",
    "finite": "the result is finite",
    "input unchanged": "the candidate does not write to its input",
    "repeatable": "the same call gives the same verdict again",
}
"""Laws that every call of every contract is held to, beside the law under which it is made."""


@dataclass
class Call:
    """One call that was made: what went in, and what came back."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    result: Any = None


class Broken(AssertionError):
    """A law that does not hold, with all that is known of how."""

    def __init__(self, failure: Failure, calls: Sequence[Call] = ()) -> None:
        super().__init__(str(failure))
        self.failure, self.calls = failure, calls


class Hang(BaseException):
    """A call that took too long. Not an `Exception`: there is no point in looking for a smaller case."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass
class Trial:
    """A candidate at one case of one law."""

    setting: Setting
    law: str
    statement: str
    case: Case
    candidate: Callable[..., Any]
    calls: list[Call] = field(default_factory=list)

    def call(self, *arguments: Any, **options: Any) -> Any:
        """Calls the candidate, tensors among the arguments given as its kind of array, and returns what it returns.

        Raises:
            Broken: It raised, or wrote to its input.
            Hang: It did not return within the time limit.
        """
        result, error = self.attempt(*arguments, **options)
        if error is not None:
            where = _innermost(error)
            message = f"raised {type(error).__name__}: {_first_line(error)}{where}"
            raise self.broken("returns", message)
        return result

    def attempt(self, *arguments: Any, **options: Any) -> tuple[Any, BaseException | None]:
        """As `call`, but returns an exception rather than reporting it, for inputs that ought to raise one."""
        record = Call(arguments, options)
        self.calls.append(record)
        before = copy.deepcopy((arguments, options))
        outcome: list[Any] = [None, None]

        def work() -> None:
            try:
                kind, device = self.setting.arrays, self.setting.device
                outcome[0] = self.candidate(*_given(arguments, kind, device), **_given(options, kind, device))
            except BaseException as error:
                outcome[1] = error

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(self.setting.time_limit)
        if worker.is_alive():
            limit = f"{self.setting.time_limit:g} s"
            raise Hang(self.broken("time", f"did not return within {limit}").failure)
        if not _same_bits(before, (arguments, options)):
            raise self.broken("input unchanged", "wrote to its input in place")
        record.result = outcome[0]
        return outcome[0], outcome[1]

    def tensor(
        self, value: Any, shape: tuple[int, ...], *, floating: bool = True, finite: bool = True, name: str = "result"
    ) -> Tensor:
        """Returns a result as a tensor on the CPU: float64 or int64.

        Raises:
            Broken: No array, another shape, another device, no floating (no integer) dtype, NaN or infinity.
        """
        try:
            tensor = take(value)
        except TypeError as error:
            raise self.broken("kind", f"{name} must be {error}") from None
        except Exception as error:
            raise self.broken("kind", f"{name} cannot be read as an array: {_first_line(error)}") from None
        if isinstance(value, Tensor) and value.device.type != self.setting.device.type:
            raise self.broken("device", f"{name} must be on {self.setting.device}, got {value.device}")
        if tuple(tensor.shape) != shape:
            raise self.broken("shape", f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
        fits = tensor.is_floating_point() if floating else not (tensor.is_floating_point() or tensor.is_complex())
        if not fits or tensor.dtype == torch.bool:
            wanted = "a real floating" if floating else "an integer"
            raise self.broken("dtype", f"{name} must have {wanted} dtype, got {tensor.dtype}")
        tensor = tensor.to("cpu", torch.float64 if floating else torch.int64)
        if finite and not bool(torch.isfinite(tensor).all()):
            place = tuple(torch.nonzero(~torch.isfinite(tensor))[0].tolist())
            raise self.broken("finite", f"{name} must be finite, got {tensor[place].item()} at index {place}")
        return tensor

    def close(self, got: Tensor, expected: Tensor, allowed: Tensor, unit: str = "nats") -> None:
        """Compares elementwise.

        Raises:
            Broken: Naming the worst element, its index, its error and what was allowed.
        """
        if got.numel() == 0:
            return
        error = (got - expected).abs()
        excess = (error / allowed.expand_as(error).clamp(min=torch.finfo(torch.float64).tiny)).flatten()
        worst = int(excess.argmax())
        if excess[worst] <= 1:
            return
        place = tuple(int(part) for part in np.unravel_index(worst, error.shape))
        off, limit = error.flatten()[worst].item(), allowed.expand_as(error).flatten()[worst].item()
        raise self.broken(
            self.law,
            f"expected {expected.flatten()[worst].item():.17g} {unit} at index {place}, "
            f"got {got.flatten()[worst].item():.17g}: off by {off:.3g}, allowed {limit:.3g}",
            index=place,
            error=off,
            allowed=limit,
        )

    def broken(self, law: str, message: str, **figures: Any) -> Broken:
        """The failure of a law on this case, to be raised."""
        last = self.calls[-1] if self.calls else Call((), {})
        failure = Failure(
            contract=self.setting.contract,
            law=law,
            statement=self.statement if law == self.law else STRUCTURE.get(law, self.statement),
            under=self.law,
            message=message,
            convention=self.setting.convention.name,
            dtype=str(self.setting.dtype).removeprefix("torch."),
            device=str(self.setting.device),
            arrays=self.setting.arrays,
            seed=self.setting.seed,
            family=self.case.family,
            numbers=dict(self.case.numbers),
            inputs=_described(last),
            candidate=_name(self.candidate),
        )
        return Broken(replace(failure, **figures), self.calls)


def _given(value: Any, kind: str, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return give(value.to(device), kind)
    if isinstance(value, dict):
        return {key: _given(entry, kind, device) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_given(entry, kind, device) for entry in value)
    return value


def _same_bits(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        if not before.is_floating_point():
            return torch.equal(before, after)
        return torch.equal(torch.nan_to_num(before, nan=0.5), torch.nan_to_num(after, nan=0.5))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same_bits(before[key], after[key]) for key in before)
    if isinstance(before, tuple | list):
        return len(before) == len(after) and all(map(_same_bits, before, after))
    return bool(before == after)


def _described(call: Call) -> str:
    parts = [shown(argument) for argument in call.arguments]
    parts += [f"{name}={shown(value)}" for name, value in call.options.items()]
    return ", ".join(parts)


def _name(candidate: Callable[..., Any]) -> str:
    module, name = getattr(candidate, "__module__", None), getattr(candidate, "__qualname__", None)
    return f"{module}:{name}" if module and name else repr(candidate)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"

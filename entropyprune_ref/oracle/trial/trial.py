"""One trial of a candidate on one case: it is called with care, and what comes back is looked at."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..inputs.case import Case, Setting
from .arrays import shown, take
from .calling import Outcome, Raised, called
from .comparing import difference
from .failure import Failure
from .isolation import Isolated
from .names import name_of

STRUCTURE = {
    "returns": "the candidate returns, and does not raise",
    "time": "every call ends within the time limit",
    "memory": "no call uses more than the memory limit, where the candidate is isolated",
    "survives": "no call ends its process, where the candidate is isolated",
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
    """A call that had to be ended, or ended its process. Not an `Exception`: no smaller case is looked for."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass
class Trial:
    """A candidate at one case of one law.

    Attributes:
        setting: Setting of the check.
        law: That is being tried.
        statement: The law, in a sentence.
        case: That it is tried on.
        candidate: Who is tried.
        calls: That were made.
        rounding: Relative error of one rounding to the dtype of the result that was read last.
    """

    setting: Setting
    law: str
    statement: str
    case: Case
    candidate: Callable[..., Any] | Isolated
    calls: list[Call] = field(default_factory=list)
    rounding: float = 0.0

    def call(self, *arguments: Any, **options: Any) -> Any:
        """Calls the candidate, tensors among the arguments given as its kind of array, and returns what it returns.

        Raises:
            Broken: It raised, or wrote to its input.
            Hang: It did not return within the limits, or took its process down.
        """
        result, raised = self.attempt(*arguments, **options)
        if raised is not None:
            raise self.broken("returns", str(raised))
        return result

    def attempt(self, *arguments: Any, **options: Any) -> tuple[Any, Raised | None]:
        """As `call`, but returns an exception rather than reporting it, for inputs that ought to raise one."""
        record = Call(arguments, options)
        self.calls.append(record)
        outcome = self._outcome(arguments, options)
        if outcome.ended is not None:
            raise Hang(self.broken(*outcome.ended).failure)
        if outcome.changed:
            raise self.broken("input unchanged", outcome.changed)
        record.result = outcome.result
        return outcome.result, outcome.raised

    def _outcome(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Outcome:
        """Of a call in a process of its own, or in a thread."""
        candidate = self.candidate
        if isinstance(candidate, Isolated):
            return candidate.call(arguments, options)
        if math.isinf(self.setting.time_limit):
            return called(candidate, arguments, options, self.setting.arrays, self.setting.device)
        found: list[Outcome] = []
        call = (candidate, arguments, options, self.setting.arrays, self.setting.device)
        worker = threading.Thread(target=lambda: found.append(called(*call)), daemon=True)
        worker.start()
        worker.join(self.setting.time_limit)
        if worker.is_alive():
            return Outcome(ended=("time", f"did not return within {self.setting.time_limit:g} s"))
        return found[0]

    def read(self, value: Any, name: str = "result") -> Tensor:
        """Returns a result as a tensor, whatever its shape and dtype.

        Raises:
            Broken: It is no array.
        """
        try:
            return take(value)
        except TypeError as error:
            raise self.broken("kind", f"{name} must be {error}") from None
        except Exception as error:
            raise self.broken("kind", f"{name} cannot be read as an array: {_first_line(error)}") from None

    def tensor(
        self,
        value: Any,
        shape: tuple[int, ...],
        *,
        floating: bool = True,
        expected: Tensor | None = None,
        name: str = "result",
    ) -> Tensor:
        """Returns a result as a tensor on the CPU: float64 or int64.

        Where `expected` is beyond the range of the inputs' own dtype, and the result came in that, an infinity is the
        right rounding of it, and is taken for it.

        Raises:
            Broken: No array, another shape, another device, no floating (no integer) dtype, NaN or infinity.
        """
        tensor = self.read(value, name)
        if isinstance(value, Tensor) and value.device.type != self.setting.device.type:
            raise self.broken("device", f"{name} must be on {self.setting.device}, got {value.device}")
        if tuple(tensor.shape) != shape:
            raise self.broken("shape", f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
        fits = tensor.is_floating_point() if floating else not (tensor.is_floating_point() or tensor.is_complex())
        if not fits or tensor.dtype == torch.bool:
            wanted = "a real floating" if floating else "an integer"
            raise self.broken("dtype", f"{name} must have {wanted} dtype, got {tensor.dtype}")
        own = tensor.dtype
        tensor = tensor.to("cpu", torch.float64 if floating else torch.int64)
        if floating:
            self.rounding = self._rounding(own)
            if expected is not None and own == self.setting.dtype:
                beyond = (expected.abs() >= torch.finfo(own).max) & (tensor == expected.sign() * torch.inf)
                tensor = torch.where(beyond, expected, tensor)
        if not bool(torch.isfinite(tensor).all()):
            place = tuple(torch.nonzero(~torch.isfinite(tensor))[0].tolist())
            raise self.broken("finite", f"{name} must be finite, got {tensor[place].item()} at index {place}")
        return tensor

    def _rounding(self, result: torch.dtype) -> float:
        """One rounding to the dtype of a result, but none that loses more than the inputs and the computation do."""
        kinds = (self.setting.dtype, self.setting.computes_in)
        return min(torch.finfo(result).eps, max(torch.finfo(kind).eps for kind in kinds)) / 2

    def close(self, got: Tensor, expected: Tensor, allowed: Tensor, unit: str = "nats", *, roundings: int = 1) -> None:
        """Compares elementwise; beside what is allowed each result is rounded once, to its own dtype.

        Raises:
            Broken: Naming the worst element, its index, its error and what was allowed.
        """
        allowed = allowed + roundings * self.rounding * expected.abs()
        if wrong := difference(got, expected, allowed, unit):
            raise self.broken(self.law, wrong.message, index=wrong.index, error=wrong.error, allowed=wrong.allowed)

    def broken(self, law: str, message: str, **figures: Any) -> Broken:
        """The failure of a law on this case, to be raised."""
        last = self.calls[-1] if self.calls else Call((), {})
        failure = Failure(
            contract=self.setting.contract,
            law=law,
            statement=self.statement if law == self.law else STRUCTURE.get(law, self.statement),
            under=self.law,
            message=message,
            convention=self.setting.formula,
            dtype=str(self.setting.dtype).removeprefix("torch."),
            computes_in=str(self.setting.computes_in).removeprefix("torch."),
            device=str(self.setting.device),
            arrays=self.setting.arrays,
            seed=self.setting.seed,
            family=self.case.family,
            numbers=dict(self.case.numbers),
            inputs=_described(last),
            candidate=name_of(self.candidate),
        )
        return Broken(replace(failure, **figures), self.calls)


def _described(call: Call) -> str:
    parts = [shown(argument) for argument in call.arguments]
    parts += [f"{name}={shown(value)}" for name, value in call.options.items()]
    return ", ".join(parts)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]

"""A candidate in a process of its own: what takes that process down is an outcome, and the next call gets a new one."""

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .arrays import take
from .calling import Outcome, called

GIB = 2**30
MOST_OUTPUT = 8 * 2**20
"""Bytes of what a candidate prints that are kept."""


class Isolated:
    """A candidate that is called in a child process.

    The child is a fork of this process, so that a candidate may be anything that is callable; where a fork would not do
    (a device that is not the CPU, arrays of JAX) it is a new process, and the candidate must be one that `pickle` finds
    by its name. The child computes on one thread.
    """

    def __init__(
        self, candidate: Callable[..., Any], kind: str, device: torch.device, time_limit: float, memory_limit: float
    ) -> None:
        """Prepares; the process starts at the first call.

        Args:
            candidate: The implementation.
            kind: Kind of its arrays.
            device: Where they are.
            time_limit: Seconds that one call may take.
            memory_limit: GiB that the child may use beyond what it starts with.

        Raises:
            ValueError: The candidate has to be pickled, and cannot be.
        """
        self.candidate, self.kind, self.device = candidate, kind, device
        self.time_limit, self.memory_limit = time_limit, memory_limit
        forks = "fork" in multiprocessing.get_all_start_methods() and device.type == "cpu" and kind != "jax"
        self._context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        if not forks:
            try:
                pickle.dumps(candidate)
            except Exception as error:
                message = f"candidate must be one that can be imported by name, to be isolated on {device} with {kind}"
                raise ValueError(f"{message} arrays, got {candidate!r}: {error}") from None
        handle, name = tempfile.mkstemp(prefix="entropyprune-ref-")
        os.close(handle)
        self._printed = Path(name)
        self._process: Any = None
        self._pipe: Any = None
        self._at_start = 0

    def call(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Outcome:
        """One call; a child that does not survive it is replaced at the next."""
        if self._process is None:
            self._start()
        try:
            self._pipe.send_bytes(pickle.dumps((arguments, options)))
            ended = self._waited()
            if ended is None:
                return _restored(pickle.loads(self._pipe.recv_bytes()))
        except (EOFError, OSError):
            self._process.join(1)
            ended = "survives", _how(self._process.exitcode)
        self._end()
        return Outcome(ended=ended)

    @property
    def output(self) -> str:
        """What the candidate printed, in all processes so far."""
        return self._printed.read_text(errors="replace") if self._printed.exists() else ""

    def close(self) -> None:
        """Ends the child and forgets what was printed."""
        self._end()
        self._printed.unlink(missing_ok=True)

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        given = (theirs, self.candidate, self.kind, str(self.device), str(self._printed), self.memory_limit)
        self._process = self._context.Process(target=_serve, args=given, daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that a fork may harm threads: the child has one
            self._process.start()
        theirs.close()
        self._pipe.recv_bytes()  # it is ready
        self._at_start = _resident(self._process.pid)

    def _waited(self) -> tuple[str, str] | None:
        """None once there is an answer; otherwise which limit the child exceeded."""
        until = time.monotonic() + self.time_limit
        while not self._pipe.poll(0.05):
            if _resident(self._process.pid) - self._at_start > self.memory_limit * GIB:
                return "memory", f"used more than {self.memory_limit:g} GiB"
            if time.monotonic() > until:
                return "time", f"did not return within {self.time_limit:g} s"
        if self._printed.stat().st_size > MOST_OUTPUT:
            os.truncate(self._printed, 0)
        return None

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it has started ends with it
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None


def _serve(
    pipe: Connection, candidate: Callable[..., Any], kind: str, device: str, printed: str, memory_limit: float
) -> None:
    """The child: calls until the pipe is closed."""
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle = os.open(printed, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout = sys.stderr = open(handle, "w", buffering=1, errors="replace")  # noqa: SIM115  for as long as it lives
    faulthandler.enable(handle)  # so that a crash leaves a trace among what was printed
    torch.set_num_threads(1)
    place = torch.device(device)
    if place.type == "cpu" and kind != "jax":
        _limit_memory(memory_limit)
    pipe.send_bytes(b"ready")
    while True:
        try:
            arguments, options = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        outcome = called(candidate, arguments, options, kind, place)
        sys.stdout.flush()
        if outcome.raised is not None and _out_of_memory(outcome.raised.kind, outcome.raised.message):
            outcome = Outcome(ended=("memory", f"asked for more than {memory_limit:g} GiB"))
        pipe.send_bytes(
            pickle.dumps(Outcome(_portable(outcome.result), outcome.raised, outcome.changed, outcome.ended))
        )


def _limit_memory(gib: float) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + int(gib * GIB), resource.getrlimit(resource.RLIMIT_AS)[1]))


def _out_of_memory(kind: str, message: str) -> bool:
    return kind in ("MemoryError", "OutOfMemoryError", "_ArrayMemoryError") or "can't allocate memory" in message


def _resident(process: int) -> int:
    """Bytes that a process occupies; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _how(code: int | None) -> str:
    """The end of a process in words."""
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


class _Elsewhere:
    """A tensor and the device that it was on."""

    def __init__(self, tensor: Tensor) -> None:
        self.device = str(tensor.device)
        self.tensor = tensor if tensor.device.type == "meta" else tensor.detach().cpu().clone()


class Unreadable:
    """Stands for a result that cannot leave its process: it can be named, and no more."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        """Its type."""
        return f"<{self.kind}>"


def _portable(result: Any) -> Any:
    """The result, or what can be read of it, as something that can be sent."""
    if isinstance(result, Tensor):
        return _Elsewhere(result)
    if type(result) in (tuple, list):
        return type(result)(map(_portable, result))
    try:
        pickle.loads(pickle.dumps(result))
        return result
    except Exception:
        pass
    for readable in (take, lambda value: SimpleNamespace(layer=_portable(value.layer))):
        try:
            return readable(result)
        except Exception:
            continue
    return Unreadable(type(result).__name__)


def _restored(outcome: Outcome) -> Outcome:
    def back(value: Any) -> Any:
        if isinstance(value, _Elsewhere):
            return value.tensor.to(value.device)
        if isinstance(value, SimpleNamespace):
            return SimpleNamespace(layer=back(value.layer))
        return type(value)(map(back, value)) if type(value) in (tuple, list) else value

    return Outcome(back(outcome.result), outcome.raised, outcome.changed, outcome.ended)

"""A process that has imported everything and collected the tests of a room once; it forks for every change.

In the fork, the code of the functions that changed is swapped, and only tests run that execute the changed statement,
those first that have noticed most in the least time, up to the first that fails. Coverage has recorded, in a fork for
each test, what it executes. What a swap cannot change (constants, decorators, defaults, whatever runs while modules are
imported) is tried again in a fork of a second process that has not imported the package: there it runs every test.

python -m tests.mutation.warm SOCKET RECORDS MODULES TEST...   # serves until it is killed; MODULES is a number of paths
"""

import contextlib
import functools
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .changes import Change, change, compiled, functions, living, swap
from .records import Record, Records

if TYPE_CHECKING:
    import coverage

FOLDER = Path.cwd()
PACKAGE = FOLDER / "entropyprune_ref"
OPTIONS = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain", "--strict-markers"]
UNREWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"  # hypothesis was imported before pytest could
MEMORY = 6 << 30
FAILED, PASSED, BROKEN = 1, 0, 70
"""Answers: a test failed, none did, the fork was killed or could not run."""


def main(path: str, records: str, count: str, *targets: str) -> None:
    """Imports what tests use, leaves a process behind that goes no further, and collects."""
    _import()
    with socket.socket(socket.AF_UNIX) as listener:
        here, there = socket.socketpair()
        options = [*OPTIONS, "-W", UNREWRITTEN, f"--basetemp={FOLDER.parent / 'tmp'}"]
        if os.fork() == 0:
            here.close()
            _cold(there, options, targets)
        there.close()
        warm = Warm(
            listener, path, here, Records(Path(records), FOLDER), [FOLDER / name for name in targets[-int(count) :]]
        )
        warm.start()
        pytest.main([*options, *targets], plugins=[warm])


def _import() -> None:
    import hypothesis.strategies
    import jaxtyping
    import jsonschema
    import matplotlib.pyplot
    import mpmath
    import rich.progress
    import safetensors.torch
    import scipy.linalg
    import scipy.spatial.distance
    import scipy.special
    import scipy.stats
    import torch
    import torch.utils.flop_counter
    from transformers import LlavaForConditionalGeneration

    assert all((hypothesis, jaxtyping, jsonschema, matplotlib, mpmath, rich, safetensors, scipy, torch))
    assert LlavaForConditionalGeneration
    early = [name for name in sys.modules if name.startswith("entropyprune_ref")]
    assert not early, f"the package is imported too early: {early}"


def _forked(work: Callable[[], int], client: socket.socket | None = None, seconds: float = 600) -> int:
    """The exit code of some work in a child, which is killed when it uses too much or when the client hangs up."""
    child = os.fork()
    if child == 0:
        code = BROKEN
        try:
            os.setsid()
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    while client:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) & 0xFF
        readable, _, _ = select.select([client], [], [], 0.01)
        if readable and not client.recv(1):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return BROKEN
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


class Stop:
    """Ends the process at the first test that fails, before anything is written about it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Nothing is reported of a failure."""
        if (
            call.excinfo
            and not call.excinfo.errisinstance(pytest.skip.Exception)
            and not item.get_closest_marker("xfail")
        ):
            told = FOLDER.parent / "noticed.txt"
            told.write_text(f"{item.nodeid}\n{call.excinfo.exconly()}")
            os._exit(FAILED)


def _run(session: pytest.Session, items: list[pytest.Item]) -> int:
    session.config.pluginmanager.register(Stop())
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return FAILED if session.testsfailed else PASSED


class Cold:
    """Runs the tests in a given order; nothing was imported before."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        if session.testsfailed:
            os._exit(FAILED)
        place = {name: number for number, name in enumerate(self.order)}
        os._exit(_run(session, sorted(session.items, key=lambda item: place.get(item.nodeid, len(place)))))


def _cold(requests: socket.socket, options: list[str], targets: Iterable[str]) -> None:
    """Answers the warm process until that ends."""
    gc.collect()
    gc.freeze()
    while size := requests.recv(8):
        order, seconds = json.loads(requests.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        tests = functools.partial(pytest.main, [*options, *targets], plugins=[Cold(order)])
        code = _forked(lambda tests=tests: int(tests()) or FAILED, seconds=seconds)
        requests.sendall(bytes([code]))
    os._exit(0)


class Warm:
    """The plugin that takes the place of pytest's loop over the tests.

    Attributes:
        touched: For each module and line, the tests that execute it; under "" what ran before any test.
        seconds: CPU time of each test alone.
        noticed: How many changes each test was the first to notice.
        tried: How often each test was run for a change.
    """

    def __init__(
        self, listener: socket.socket, path: str, cold: socket.socket, records: Records, modules: list[Path]
    ) -> None:
        self.listener, self.socket, self.cold, self.records = listener, path, cold, records
        sources = [file for path in modules for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
        self.sources = {file: file.read_text() for file in sources}
        self.touched: dict[str, dict[int, list[str]]] = {}
        self.seconds: dict[str, float] = {}
        self.noticed: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()
        self.importing = _coverage()

    def start(self) -> None:
        """Begins to take down what importing and collecting execute."""
        self.importing.start()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Records once, then answers one client after the other."""
        if session.testsfailed:
            os._exit(FAILED)
        self.session, self.items = session, {item.nodeid: item for item in session.items}
        self._forget()
        gc.collect()
        self.alive = living(PACKAGE)  # before they are frozen, after which they are not found
        gc.freeze()  # so that no collection in a fork touches, and thereby copies, what is shared
        self.importing.stop()
        _enter(self.touched, "", _lines(self.importing))
        for name, (seconds, lines) in self.records.all(self.items, self._measured).items():
            self.seconds[name] = seconds
            _enter(self.touched, name, lines)
        self.listener.bind(self.socket)
        self.listener.listen()
        while True:
            client, _ = self.listener.accept()
            with client:
                answer = self._answer(client)
                with contextlib.suppress(BrokenPipeError):
                    client.sendall(bytes([answer]))

    def _forget(self) -> None:
        """Empties caches that collecting has filled."""
        for thing in gc.get_objects():
            if type(thing) is functools._lru_cache_wrapper and thing.__module__.startswith("entropyprune_ref"):
                thing.cache_clear()

    def _measured(self, name: str) -> Record:
        """Runs a test alone, in a fork."""
        note = FOLDER.parent / "measured.json"

        def alone() -> int:
            watched, began = _coverage(), time.process_time()
            watched.start()
            code = _run(self.session, [self.items[name]])
            watched.stop()
            note.write_text(json.dumps([time.process_time() - began, _lines(watched)]))
            return code

        if _forked(alone):
            raise RuntimeError(f"{name} does not pass alone, without any change")
        seconds, lines = json.loads(note.read_text())
        return seconds, lines

    def _answer(self, client: socket.socket) -> int:
        changed = [(path, text) for path, text in self.sources.items() if path.read_text() != text]
        if not changed:
            return self._unchanged(client)
        ((path, before),) = changed
        try:
            made = change(path, before, path.read_text(), _module(path))
        except SyntaxError:
            return FAILED
        if made.codes == []:
            return PASSED  # another spelling of the same program
        if made.codes and all(code in self.alive for code, _ in made.codes):
            lines = self.touched.get(str(path.relative_to(FOLDER)), {})
            if self._hot(made, self._touching(made, lines), client) != PASSED:
                return FAILED
            if not any("" in lines.get(row, []) for row in made.lines):
                return PASSED
        return self._cold()

    def _unchanged(self, client: socket.socket) -> int:
        """Every test in one fork, with the code of every function swapped for the same code compiled again."""
        codes = [
            (code, code.replace())
            for path, text in self.sources.items()
            for code in functions(compiled(path, text, _module(path)))
            if code in self.alive
        ]

        def work() -> int:
            swap(codes, self.alive)
            return _run(self.session, list(self.items.values()))

        return _forked(work, client)

    def _touching(self, made: Change, lines: dict[int, list[str]]) -> list[str]:
        """The tests that execute a changed statement; if no line of it counts as one, those of its function."""
        for rows in (made.lines, made.around):
            if names := {name for row in rows for name in lines.get(row, []) if name}:
                return sorted(names, key=self._merit, reverse=True)
        return []

    def _merit(self, name: str) -> float:
        """How many changes a test may be expected to notice in a second."""
        return (self.noticed[name] + 0.5) / (self.tried[name] + 1) / (self.seconds.get(name, 1.0) + 0.01)

    def _limit(self, tests: list[str]) -> float:
        """Seconds after which a change is taken to have made an endless loop."""
        return 30 + 5 * sum(self.seconds[name] for name in tests)

    def _hot(self, made: Change, tests: list[str], client: socket.socket) -> int:
        def work() -> int:
            if not swap(made.codes or [], self.alive):
                return PASSED
            return _run(self.session, [self.items[name] for name in tests])

        code = _forked(work, client, self._limit(tests))
        self._learn("swapped", tests, code)
        return code

    def _cold(self) -> int:
        order = sorted(self.items, key=self._merit, reverse=True)
        sent = json.dumps([order, self._limit(order)]).encode()
        self.cold.sendall(len(sent).to_bytes(8, "big") + sent)
        code = self.cold.recv(1)[0]
        self._learn("imported", order, code)
        return code

    def _learn(self, how: str, tests: list[str], code: int) -> None:
        """Counts which tests ran, and which of them noticed."""
        told = FOLDER.parent / "noticed.txt"
        killer, error = told.read_text().splitlines()[:2] if code == FAILED and told.exists() else (None, code)
        told.unlink(missing_ok=True)
        print(how, killer or (f"none of {len(tests)}" if code == PASSED else "ended"), error, flush=True)
        if killer in tests:
            self.noticed[killer] += 1
            tests = tests[: tests.index(killer) + 1]
        self.tried.update(tests)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")


def _coverage() -> "coverage.Coverage":
    import coverage  # not there where only the tests are to run

    watched = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}/*"])
    watched.set_option("run:disable_warnings", ["no-data-collected"])  # some tests only look at what is there
    return watched


def _lines(watched: "coverage.Coverage") -> dict[str, list[int]]:
    data = watched.get_data()
    return {str(Path(path).relative_to(FOLDER)): data.lines(path) or [] for path in data.measured_files()}


def _enter(touched: dict[str, dict[int, list[str]]], name: str, lines: dict[str, list[int]]) -> None:
    for path, rows in lines.items():
        for row in rows:
            touched.setdefault(path, {}).setdefault(row, []).append(name)


if __name__ == "__main__":
    main(*sys.argv[1:])

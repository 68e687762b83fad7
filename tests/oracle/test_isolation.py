"""A candidate in a process of its own: whatever takes that process down is one broken law, and the check goes on."""

import ctypes
import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from entropyprune_ref import matrix_entropy, tokens_to_keep
from entropyprune_ref.oracle import Report, check, replay
from entropyprune_ref.oracle.contracts import CONTRACTS
from entropyprune_ref.oracle.trial.isolation import Isolated, Unreadable
from entropyprune_ref.oracle.trial.names import name_of

LAWS = [law.name for law in CONTRACTS["tokens_to_keep"].laws]


def isolated(candidate: Any, **options: Any) -> Report:
    """Of a contract whose calls cost nothing."""
    return check("tokens_to_keep", candidate, size="quick", isolate=True, **options)


def at_layer_0(misbehaves: Any) -> Any:
    """Right, but where the prune layer does not exist, which only the last law tries."""

    def candidate(average: Any, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
        print("a line of the kernel's own")
        if prune_layer in (0, layers):
            misbehaves()
        return tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)

    return candidate


ENDS: dict[str, tuple[Any, dict[str, float], str, str]] = {
    "segmentation fault": (lambda: ctypes.string_at(0), {}, "survives", "its process was ended by SIGSEGV"),
    "exit": (lambda: os._exit(7), {}, "survives", "its process ended with exit code 7"),
    "hang": (lambda: time.sleep(60), {"time_limit": 0.5}, "time", "did not return within 0.5 s"),
    "allocation": (lambda: torch.ones(10**10), {"memory_limit": 0.5}, "memory", "asked for more than 0.5 GiB"),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_process_is_one_broken_law_and_the_others_go_on(name: str) -> None:
    misbehaves, limits, law, message = ENDS[name]
    report = isolated(at_layer_0(misbehaves), **limits)
    assert [failure.law for failure in report.failures] == [law]
    failure = report.failures[0]
    assert (
        message in failure.message
        and failure.under == LAWS[-1]
        and failure.numbers["prune_layer"] in (0, failure.numbers["layers"])
    )
    assert "isolate=True" in failure.snippet
    assert [verdict.law for verdict in report.verdicts] == LAWS and not report.not_run
    assert sum(verdict.passed for verdict in report.verdicts) == len(report.verdicts) - 1
    assert report.output.startswith("a line of the kernel's own\n") and "a line of" not in str(report)
    assert "a line of the kernel's own" in report.in_full()


def test_replay_of_a_crash_survives_it() -> None:
    with pytest.raises(AssertionError, match="ended by SIGSEGV"):
        numbers = {"average": 9, "visual_tokens": 9, "layers": 4, "prune_layer": 0}
        replay("tokens_to_keep", at_layer_0(lambda: ctypes.string_at(0)), LAWS[-1], "average", numbers, isolate=True)


def test_a_candidate_that_always_hangs_ends_the_check_and_lists_what_was_not_run() -> None:
    report = isolated(lambda average, **sizes: time.sleep(60), time_limit=0.2)
    assert report.not_run == tuple(LAWS[2:]) and not report.passed
    assert "not run, since 2 laws took too long: " in str(report)
    suite = ElementTree.fromstring(report.to_junit())
    assert int(suite.attrib["tests"]) == len(LAWS) and int(suite.attrib["skipped"]) == len(LAWS) - 2


@pytest.mark.parametrize("isolate", [False, True])
def test_requires_grad_on_the_input_is_a_broken_law(isolate: bool) -> None:
    report = check(
        "matrix_entropy", lambda f: matrix_entropy(f.requires_grad_()), size="quick", shrink=False, isolate=isolate
    )
    assert [failure.law for failure in report.failures] == ["input unchanged"]
    assert report.failures[0].message == "set requires_grad on its input"


def test_results_come_back_as_they_are() -> None:
    class Found:
        layer = torch.tensor(3)
        lock = property(lambda self: self)

    results = [torch.ones(2, 3).mT, torch.empty(2, device="meta"), (1, [torch.zeros(1), None]), Found(), object()]
    child = Isolated(lambda number: results[number], "torch", torch.device("cpu"), 10.0, 8.0)
    try:
        back = [child.call((number,), {}).result for number in range(len(results))]
    finally:
        child.close()
    assert back[0].tolist() == results[0].tolist() and back[1].device.type == "meta"
    assert back[2] == (1, [torch.zeros(1), None]) and int(back[3].layer) == 3
    assert isinstance(back[4], Unreadable) or type(back[4]) is object


def test_what_cannot_be_imported_cannot_be_isolated_beside_another_device() -> None:
    with pytest.raises(ValueError, match="candidate must be one that can be imported by name, to be isolated on meta"):
        Isolated(lambda features: features, "torch", torch.device("meta"), 1.0, 1.0)


partial = functools.partial(matrix_entropy)
short = lambda features: matrix_entropy(features)  # noqa: E731


def test_candidates_are_named_by_what_imports_them() -> None:
    assert name_of(matrix_entropy) == "entropyprune_ref.entropy:matrix_entropy"
    assert name_of(partial) == f"{__name__}:partial" and name_of(short) == f"{__name__}:short"
    assert "<lambda>" in name_of(lambda features: features)


def test_a_check_leaves_nothing_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("from entropyprune_ref import tokens_to_keep\nprint('imported')\n")
    command = [sys.executable, "-m", "entropyprune_ref", "check", "tokens_to_keep", "./kernels.py:tokens_to_keep"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--size", "quick", "--dtype", "torch.float32"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "imported" not in done.stdout and "passed: " in done.stdout and len(done.stdout.splitlines()) <= 40
    assert [path.name for path in tmp_path.iterdir()] == ["kernels.py"]

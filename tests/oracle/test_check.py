"""`check`, `replay` and the pytest helper: whatever a candidate does is reported, and never a crash of the kit."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis.internal.conjecture import providers
from torch import Tensor

from entropyprune_ref import PAPER, RELEASED, matrix_entropy, token_entropy, tokens_to_keep
from entropyprune_ref.oracle import CONTRACTS, Report, check, parametrize_with_checks, replay
from entropyprune_ref.oracle.bugs import MUTANTS
from entropyprune_ref.oracle.judging.asked import prepared
from entropyprune_ref.oracle.judging.trying import SIZES, judged
from entropyprune_ref.oracle.trial.arrays import give, take

pytestmark = pytest.mark.usefixtures("few_laws")

STATE = {"calls": 0}
LAWS = len(CONTRACTS["matrix_entropy"].laws)


def quick(candidate: Callable[..., Any], **options: Any) -> Report:
    return check("matrix_entropy", candidate, size="quick", **options)


def broken_laws(candidate: Callable[..., Any], **options: Any) -> set[str]:
    return {failure.law for failure in quick(candidate, **options).failures}


def alternating(features: Tensor) -> Tensor:
    STATE["calls"] += 1
    return matrix_entropy(features) + (STATE["calls"] % 2)


def raising(features: Tensor) -> Tensor:
    raise KeyError("no such kernel")


MISBEHAVIOUR: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "raises": (raising, "returns", r"raised KeyError: 'no such kernel' \(.*test_check.py:\d+\)"),
    "exits": (lambda features: sys.exit(3), "returns", "raised SystemExit: 3"),
    "NaN": (lambda features: matrix_entropy(features) * torch.nan, "finite", "must be finite, got nan at index"),
    "infinity": (lambda features: matrix_entropy(features) + torch.inf, "finite", "must be finite, got inf"),
    "shape": (lambda features: matrix_entropy(features)[..., None], "shape", r"must have shape \(\), got \(1,\)"),
    "integers": (lambda features: matrix_entropy(features).long(), "dtype", "real floating dtype, got torch.int64"),
    "complex": (lambda features: matrix_entropy(features).to(torch.complex128), "dtype", "got torch.complex128"),
    "nothing": (lambda features: None, "kind", "an array or a number, got NoneType"),
    "a string": (lambda features: "0.5", "kind", "an array or a number, got str"),
    "ragged": (lambda features: [[1.0], [1.0, 2.0]], "kind", "cannot be read as an array"),
    "another device": (lambda features: matrix_entropy(features).to("meta"), "device", "must be on cpu, got meta"),
    "writes": (lambda features: matrix_entropy(features.mul_(2)), "input unchanged", "wrote to its input"),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_misbehaviour_is_reported_as_what_it_is(name: str) -> None:
    candidate, law, message = MISBEHAVIOUR[name]
    report = quick(candidate, shrink=False)
    assert not report.passed
    failure = next(found for found in report.failures if found.law == law)
    assert re.search(message, failure.message), failure.message


def test_a_call_that_takes_too_long_ends_the_check() -> None:
    start = time.perf_counter()
    report = quick(lambda features: time.sleep(30), time_limit=0.2)
    assert time.perf_counter() - start < 10
    assert [failure.law for failure in report.failures] == ["time"]
    assert report.not_run == tuple(law.name for law in CONTRACTS["matrix_entropy"].laws[1:])
    assert "not run, since a call is still running, which isolate=True would end: real sizes" in str(report)
    assert "did not return within 0.2 s" in report.failures[0].message


def test_a_candidate_that_answers_differently_each_time_is_reported() -> None:
    assert broken_laws(alternating) & {"repeatable"}


def test_check_is_deterministic() -> None:
    wrong = MUTANTS[0].implementation
    first, second = (quick(wrong, seed=5) for _ in range(2))
    assert [failure.numbers for failure in first.failures] == [failure.numbers for failure in second.failures]
    assert [verdict.cases for verdict in first.verdicts] == [verdict.cases for verdict in second.verdicts]


@pytest.mark.skipif(not hasattr(providers, "_local_constants"), reason="this release of hypothesis draws none")
def test_check_draws_the_same_in_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws constants of whatever modules are imported: here, of one that has just been."""
    constants = providers._local_constants
    monkeypatch.setattr(providers, "_get_local_constants", lambda: constants)

    def drawn() -> list[str]:
        monkeypatch.setattr(providers, "CONSTANTS_CACHE", type(providers.CONSTANTS_CACHE)(64))
        calls: list[str] = []

        def counted(average: float, **numbers: int) -> int:
            calls.append(f"{average} {numbers}")
            return tokens_to_keep(average, **numbers)

        assert check("tokens_to_keep", counted, size="quick").passed
        return calls

    first = drawn()
    constants = type(constants)(integers=set(range(3, 2990, 7)))
    assert drawn() == first


def test_what_is_remembered_of_a_case_is_of_its_setting_alone() -> None:
    """The same cases in another convention and precision, after a trial whose answers are kept."""

    def holds(contract: str, candidate: Callable[..., Tensor], **asked: str) -> bool:
        asked = {"convention": None, "dtype": "float64", "computes_in": None, **asked}
        computes_in = asked.pop("computes_in")
        entered, setting = prepared(
            contract, candidate, **asked, device="cpu", arrays="torch", seed=0, time_limit=10.0, computes_in=computes_in
        )
        return judged(entered.laws[0], candidate, setting, SIZES["quick"], shrink=False).failure is None

    paper, released = (lambda queries, c=c: token_entropy(queries, c) for c in (PAPER, RELEASED))
    for convention, right, wrong in (("paper", paper, released), ("released", released, paper)) * 2:
        assert holds("token_entropy", right, convention=convention)
        assert not holds("token_entropy", wrong, convention=convention)
    narrow = lambda features: matrix_entropy(features.float())  # noqa: E731
    single = lambda features: matrix_entropy(features).float()  # noqa: E731
    assert holds("matrix_entropy", single, dtype="float32") and not holds("matrix_entropy", narrow)
    assert holds("matrix_entropy", narrow, computes_in="float32")


def test_failures_say_everything_and_shrink() -> None:
    report = check("token_entropy", lambda queries: token_entropy(queries) + 1e-3, dtype="float32", size="quick")
    text = str(report)
    failure = report.failures[0]
    for word in ("token_entropy", "law 'value'", "convention paper", "float32", "off by 0.001", "allowed", "seed 0"):
        assert word in text
    assert failure.index is not None and failure.error == pytest.approx(1e-3, rel=1e-3)
    assert failure.allowed is not None and failure.allowed < 1e-4
    assert failure.numbers["rows"] * failure.numbers["columns"] <= 4  # the smallest that there is


def test_a_snippet_shows_the_failure_again() -> None:
    report = check("matrix_entropy", MUTANTS[0].implementation, dtype="float32", size="quick")
    for failure in report.failures:
        lines = failure.snippet.splitlines()
        assert lines[1] == "candidate = ...  # yours"
        scope = {"candidate": MUTANTS[0].implementation}
        with pytest.raises(AssertionError, match="does not hold"):
            exec("\n".join([lines[0], *lines[2:]]), scope)


def test_a_snippet_imports_what_can_be_imported() -> None:
    failure = check("matrix_entropy", raising, size="quick").failures[0]
    assert failure.snippet.splitlines()[1] == f"from {raising.__module__} import raising as candidate"


def test_replay_of_a_law_that_holds_says_nothing() -> None:
    numbers = {"batch": [2], "rows": 3, "columns": 4, "seed": 1}
    replay("matrix_entropy", matrix_entropy, "value", "gaussian", numbers, dtype="float32")
    with pytest.raises(ValueError, match=r"law must be one of 'value', .*, got 'beauty'"):
        replay("matrix_entropy", matrix_entropy, "beauty", "gaussian", numbers)


def test_expected_failures_count_as_passed_and_unexpected_success_does_not() -> None:
    def wrong_on_views(features: Tensor) -> Tensor:
        return matrix_entropy(features if features.is_contiguous() else features * 0)

    assert broken_laws(wrong_on_views) == {"views", "real sizes"}
    report = quick(
        wrong_on_views, expected_failures=dict.fromkeys(("views", "real sizes"), "our kernel wants contiguous input")
    )
    assert report.passed and not report.failures
    assert "broken as expected (our kernel wants contiguous input)" in str(report)
    assert "2 fail as expected" in str(report)
    report = quick(matrix_entropy, expected_failures={"views": "fixed long ago"})
    assert not report.passed and "holds against expectation (fixed long ago)" in str(report)
    report = quick(matrix_entropy, expected_failures={"time": "slow, once"})
    assert not report.passed and "holds against expectation (slow, once)" in str(report)
    with pytest.raises(ValueError, match=r"expected_failures must name laws of matrix_entropy .*got \['vews'\]"):
        quick(matrix_entropy, expected_failures={"vews": "a slip"})


def test_reports_as_json_and_junit() -> None:
    report = quick(lambda features: matrix_entropy(features) / 0.7, shrink=False)
    record = json.loads(report.to_json())
    assert record["passed"] is False and len(record["laws"]) == len(CONTRACTS["matrix_entropy"].laws)
    assert sum(law["cases"] for law in record["laws"]) == record["cases"] == report.cases
    assert {law["law"] for law in record["laws"] if law["status"] == "broken"} >= {"value", "scale"}
    suite = ElementTree.fromstring(report.to_junit())
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 0
    assert "off by" in suite.findall("testcase/failure")[0].attrib["message"]
    clean = ElementTree.fromstring(quick(matrix_entropy).to_junit())
    assert clean.attrib["failures"] == "0" and not clean.findall("testcase/failure")


def test_progress_counts_laws() -> None:
    seen: list[tuple[str, int, int]] = []
    quick(matrix_entropy, progress=lambda law, done, total: seen.append((law, done, total)))
    laws = CONTRACTS["matrix_entropy"].laws
    assert seen == [(law.name, number, len(laws)) for number, law in enumerate(laws)] + [("done", len(laws), len(laws))]


class Wrapped:
    """An array of an unknown library, with the protocol that all share."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.asarray(array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class ByDLPack:
    """Another, with the newer protocol."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


def test_candidates_may_take_and_return_arrays_of_other_libraries() -> None:
    def in_numpy(features: np.ndarray) -> Any:
        assert isinstance(features, np.ndarray)
        rows = features - features.mean(-2, keepdims=True)
        squares = np.linalg.svd(rows, compute_uv=False).astype(np.float64) ** 2
        total = squares.sum(-1, keepdims=True)
        shares = squares / np.where(total > 0, total, 1)
        return Wrapped(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1))

    report = quick(in_numpy, arrays="numpy", dtype="float32")
    assert report.passed, str(report)
    assert quick(lambda features: ByDLPack(matrix_entropy(features))).passed
    assert quick(lambda features: matrix_entropy(features).numpy()).passed
    assert not quick(lambda features: Wrapped(matrix_entropy(features).numpy() + 1)).passed


def test_arrays_are_shared_and_read_without_loss() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    view = give(tensor.mT, "numpy")
    assert np.shares_memory(view, tensor.numpy()) and view.shape == (3, 2)
    read_only = np.arange(3.0)
    read_only.flags.writeable = False
    assert take(read_only).tolist() == [0.0, 1.0, 2.0]
    assert take(True).dtype == torch.bool and take(3).dtype == torch.int64
    with pytest.raises(TypeError, match="an array or a number, got dict"):
        take({})


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "contract": ({"contract": "vanish"}, ValueError, "contract must be one of matrix_entropy, .*, got 'vanish'"),
    "candidate": ({"candidate": 3}, TypeError, "candidate must be callable, got int"),
    "arity": (
        {"candidate": lambda: 0},
        ValueError,
        r"candidate must be callable as matrix_entropy\(features\).*, got one with too many positional arguments",
    ),
    "arity 2": ({"candidate": lambda a, b: 0}, ValueError, "got one with missing a required argument: 'b'"),
    "convention": (
        {"contract": "token_entropy", "convention": "mine"},
        ValueError,
        "convention must be one of paper, row_normalized, released, got",
    ),
    "no convention": (
        {"convention": "released"},
        ValueError,
        "convention must not be given for matrix_entropy, which has none, got 'released'",
    ),
    "seed": ({"seed": 2**64}, ValueError, r"seed must be an integer from 0 to 2\^64 - 1, got 18446744073709551616"),
    "memory limit": ({"memory_limit": 0}, ValueError, "memory_limit must be above 0 GiB, got 0"),
    "convention type": (
        {"contract": "token_entropy", "convention": 3},
        TypeError,
        "convention must be a Convention or its name, got int",
    ),
    "dtype": ({"dtype": "int8"}, ValueError, "dtype must be one of float64, float32, bfloat16, float16 .*got int8"),
    "device": ({"device": "abacus"}, ValueError, "device must be one that torch can use here, got 'abacus'"),
    "arrays": ({"arrays": "lists"}, ValueError, "arrays must be one of 'torch', 'numpy', 'jax', got 'lists'"),
    "numpy bfloat16": (
        {"arrays": "numpy", "dtype": "bfloat16"},
        ValueError,
        "dtype must be one that NumPy has, got bfloat16",
    ),
    "size": ({"size": "huge"}, ValueError, "size must be one of 'quick', 'default', 'thorough', got 'huge'"),
    "time limit": ({"time_limit": 0}, ValueError, "time_limit must be above 0 seconds, got 0"),
}


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named(name: str) -> None:
    options, kind, message = BAD[name]
    arguments = {"contract": "matrix_entropy", "candidate": matrix_entropy, "size": "quick"} | options
    with pytest.raises(kind, match=message):
        check(arguments.pop("contract"), arguments.pop("candidate"), **arguments)


def test_jax_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="arrays='jax' must find JAX installed"):
        quick(matrix_entropy, arrays="jax")


THEIRS = """
    from entropyprune_ref import tokens_to_keep
    from entropyprune_ref.oracle import parametrize_with_checks

    @parametrize_with_checks("tokens_to_keep", tokens_to_keep, size="quick")
    def test_right(law):
        law()

    def clipped(average, **numbers):
        try:
            return tokens_to_keep(average, **numbers)
        except ValueError:
            return 0

    EXCUSED = dict.fromkeys(("infeasible average", "impossible numbers"), "not yet")

    @parametrize_with_checks("tokens_to_keep", clipped, size="quick", expected_failures=EXCUSED)
    def test_wrong_as_expected(law):
        law()

    @parametrize_with_checks("tokens_to_keep", lambda average, **numbers: 1 + tokens_to_keep(average, **numbers))
    def test_wrong(law):
        law()
"""


def test_parametrize_with_checks_makes_one_test_of_each_law(tmp_path: Path) -> None:
    """In the test file of someone else, run by a pytest of its own."""
    (tmp_path / "test_theirs.py").write_text(textwrap.dedent(THEIRS))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n0",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    laws = len(CONTRACTS["tokens_to_keep"].laws)
    assert f"{laws - 2} failed, {laws + laws - 2 + 2} passed, 2 xfailed" in done.stdout, done.stdout
    assert "test_wrong[published budgets]" in done.stdout and "expected 166 tokens, got 167" in done.stdout


def test_parametrize_with_checks_refuses_what_check_refuses() -> None:
    with pytest.raises(ValueError, match="contract must be one of"):
        parametrize_with_checks("vanish", matrix_entropy)
    with pytest.raises(ValueError, match="size must be one of"):
        parametrize_with_checks("matrix_entropy", matrix_entropy, size="huge")
    with pytest.raises(ValueError, match="expected_failures must name laws"):
        parametrize_with_checks("matrix_entropy", matrix_entropy, expected_failures={"vews": "a slip"})


def test_the_default_convention_is_the_paper_s() -> None:
    assert check("token_entropy", lambda queries: token_entropy(queries, PAPER), size="quick").passed

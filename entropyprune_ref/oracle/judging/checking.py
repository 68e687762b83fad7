"""`check`: tries a candidate on every law of a contract, and shrinks what breaks to the smallest case."""

import inspect
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from zlib import crc32

import hypothesis
import torch
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Flaky, HypothesisWarning

from ...scoring import CONVENTIONS, PAPER, Convention
from ..contracts import CONTRACTS
from ..contracts.contract import Contract, Law
from ..inputs.case import Case, Setting
from ..trial.arrays import require_kind
from ..trial.failure import Failure
from ..trial.trial import STRUCTURE, Broken, Hang, Trial
from .report import Report, Verdict
from .resemblance import resembling

SIZES = {"quick": 15, "default": 150, "thorough": 2000}
"""Cases that are drawn for each law."""

Progress = Callable[[str, int, int], None]


def check(
    contract: str,
    candidate: Callable[..., Any],
    *,
    convention: Convention | str = PAPER,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    size: str = "default",
    seed: int = 0,
    time_limit: int | float = 10.0,
    expected_failures: Mapping[str, str] | None = None,
    shrink: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Checks a candidate implementation of one function of the method against the reference.

    Args:
        contract: Name of the function; one of `CONTRACTS`.
        candidate: The implementation, called as the contract says (`CONTRACTS[contract].call`).
        convention: Formula of token entropy that the candidate implements, or its name.
        dtype: Of the floating inputs, or its name. Tolerances follow from it.
        device: Where the inputs are put.
        arrays: What the candidate takes: "torch", "numpy" or "jax". It may return any of them.
        size: "quick", "default" or "thorough": `SIZES` cases for each law.
        seed: Of the drawing of cases. The same seed tries the same cases.
        time_limit: Seconds that one call may take.
        expected_failures: Laws that are known not to hold, with the reason. One that holds all the same is a failure.
        shrink: Whether to look for the smallest case that breaks a law; False saves time where only the verdict counts.
        progress: Called with the name of a law, laws done and laws in all.

    Returns:
        A report; `report.passed`, `report.failures`, and a table when printed.

    Raises:
        TypeError: `candidate` is not callable.
        ValueError: An unknown name, a dtype that the contract or the kind of arrays does not have, a candidate that
            cannot take the arguments, or an expected failure that names no law.

    Properties:
        - correct implementations never fail -> `test_correct_variants_never_fail`
        - known-wrong ones always do -> `test_every_mutant_is_caught`
        - same seed, same cases -> `test_check_is_deterministic`

    Examples:
        >>> from entropyprune_ref import token_entropy
        >>> check("token_entropy", token_entropy, size="quick").passed
        True
        >>> report = check("token_entropy", lambda queries: 2 * token_entropy(queries), size="quick")
        >>> report.passed, report.failures[0].law
        (False, 'value')
    """
    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, seed, time_limit)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {size!r}")
    excuses = dict(expected_failures or {})
    known = {law.name for law in chosen.laws} | set(STRUCTURE)
    if unknown := sorted(set(excuses) - known):
        raise ValueError(f"expected_failures must name laws of {contract} ({', '.join(sorted(known))}), got {unknown}")
    verdicts: list[Verdict] = []
    for number, law in enumerate(chosen.laws):
        if progress is not None:
            progress(law.name, number, len(chosen.laws))
        verdict = judged(law, candidate, setting, SIZES[size], shrink)
        broken = verdict.failure.law if verdict.failure else law.name
        verdicts.append(replace(verdict, expected=excuses.get(broken, excuses.get(law.name))))
        if verdict.failure is not None and verdict.failure.law == "time":
            break  # the call still runs: whatever came next would share its cores with it
    if progress is not None:
        progress("done", len(chosen.laws), len(chosen.laws))
    name = f"{getattr(candidate, '__module__', '?')}:{getattr(candidate, '__qualname__', repr(candidate))}"
    return Report(contract, name, str(setting), size, seed, tuple(verdicts))


def replay(
    contract: str,
    candidate: Callable[..., Any],
    law: str,
    family: str,
    numbers: Mapping[str, Any],
    *,
    convention: Convention | str = PAPER,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    time_limit: int | float = 10.0,
) -> None:
    """Tries one law on one case again: what a failure's snippet calls.

    Args:
        contract: As in `check`.
        candidate: As in `check`.
        law: The law under which the case was tried.
        family: Of the case.
        numbers: That describe it.
        convention: As in `check`.
        dtype: As in `check`.
        device: As in `check`.
        arrays: As in `check`.
        time_limit: As in `check`.

    Raises:
        AssertionError: The law does not hold on this case.
        ValueError: An unknown name.

    Properties:
        - shows the failure that a report shows -> `test_a_snippet_shows_the_failure_again`
    """
    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, 0, time_limit)
    laws = {entry.name: entry for entry in chosen.laws}
    if law not in laws:
        raise ValueError(f"law must be one of {', '.join(map(repr, laws))}, got {law!r}")
    try:
        laws[law].judge(Trial(setting, law, laws[law].statement, Case(family, dict(numbers)), candidate))
    except Hang as hang:
        raise Broken(hang.failure) from None


def prepared(
    contract: str,
    candidate: Callable[..., Any],
    convention: Convention | str,
    dtype: torch.dtype | str,
    device: torch.device | str,
    arrays: str,
    seed: int,
    time_limit: int | float,
) -> tuple[Contract, Setting]:
    """Returns the contract and the setting, or says which argument is wrong."""
    if contract not in CONTRACTS:
        raise ValueError(f"contract must be one of {', '.join(CONTRACTS)}, got {contract!r}")
    if not callable(candidate):
        raise TypeError(f"candidate must be callable, got {type(candidate).__name__}")
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}")
        convention = CONVENTIONS[convention]
    if not isinstance(convention, Convention):
        raise TypeError(f"convention must be a Convention or its name, got {type(convention).__name__}")
    chosen = CONTRACTS[contract]
    names = {str(known).removeprefix("torch."): known for known in chosen.dtypes}
    wanted = names.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in chosen.dtypes:
        raise ValueError(f"dtype must be one of {', '.join(names)} for {contract}, got {dtype}")
    require_kind(arrays, wanted)
    if not time_limit > 0:
        raise ValueError(f"time_limit must be above 0 seconds, got {time_limit}")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that torch can use here, got {device!r}: {error}") from None
    arguments, options = chosen.example()
    try:
        inspect.signature(candidate).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"candidate must be callable as {chosen.call}, got one with {error}") from None
    except ValueError:
        pass  # built in C, without a signature: the first call will tell
    return chosen, Setting(contract, convention, wanted, place, arrays, time_limit, seed)


def judged(law: Law, candidate: Callable[..., Any], setting: Setting, examples: int, shrink: bool = True) -> Verdict:
    """Draws cases until the law breaks or enough have passed; a broken law comes with its smallest case."""
    tried = 0

    def holds(case: Case) -> None:
        nonlocal tried
        tried += 1
        law.judge(Trial(setting, law.name, law.statement, case, candidate))

    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    run = hypothesis.seed(setting.seed ^ crc32(law.name.encode()))(
        settings(hypothesis.given(law.cases(setting))(holds))
    )
    start = time.perf_counter()
    failure: Failure | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        try:
            run()
        except Broken as broken:
            failure = resembling(broken, setting)
        except Hang as hang:
            failure = hang.failure
        except Flaky as flaky:
            failure = _unrepeatable(flaky, law, setting, candidate)
    return Verdict(law.name, law.statement, tried, failure, None, time.perf_counter() - start)


def _unrepeatable(flaky: Flaky, law: Law, setting: Setting, candidate: Callable[..., Any]) -> Failure:
    """A law that broke once and held the second time, on the same case."""
    seen = [error.failure for error in getattr(flaky, "exceptions", ()) if isinstance(error, Broken)]
    before = f"; once it gave: {seen[0].message}" if seen else ""
    case = Case(seen[0].family, seen[0].numbers) if seen else Case("unknown", {})
    trial = Trial(setting, law.name, law.statement, case, candidate)
    return trial.broken("repeatable", f"the same call broke the law and then did not{before}").failure

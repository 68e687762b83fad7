"""`check`: tries a candidate on every law of a contract, and shrinks what breaks to the smallest case."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ...scoring import Convention
from ..contracts.contract import Contract
from ..inputs.case import Case, Setting
from ..trial.isolation import Isolated
from ..trial.names import name_of
from ..trial.trial import STRUCTURE, Broken, Hang, Trial
from .asked import prepared
from .power import power_line
from .report import Report, Verdict
from .trying import SIZES, judged

Progress = Callable[[str, int, int], None]


def check(
    contract: str,
    candidate: Callable[..., Any],
    *,
    convention: Convention | str | None = None,
    dtype: torch.dtype | str = torch.float64,
    computes_in: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    size: str = "default",
    seed: int = 0,
    time_limit: int | float = 30.0,
    memory_limit: int | float = 8.0,
    isolate: bool = False,
    expected_failures: Mapping[str, str] | None = None,
    shrink: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Checks a candidate implementation of one function of the method against the reference.

    Args:
        contract: Name of the function; one of `CONTRACTS`.
        candidate: The implementation, called as the contract says (`CONTRACTS[contract].call`).
        convention: Formula of token entropy that the candidate implements, or its name; default: the paper's. Only for
            the contracts `token_entropy` and `pruned_prefill`.
        dtype: Dtype of the floating inputs, or its name. The reference is given the same exact values.
        computes_in: What the candidate computes in, or its name: tolerances follow from it, and from one rounding to
            the dtype of the result. Default: float32 for inputs of 16 bits, else the dtype of the inputs.
        device: Where the inputs are put.
        arrays: What the candidate takes: "torch", "numpy" or "jax". It may return any of them.
        size: "quick", "default" or "thorough": `SIZES` cases for each law.
        seed: Seed of the drawing of cases. The same seed tries the same cases.
        time_limit: Seconds that one call may take; infinite for no limit.
        memory_limit: GiB that an isolated candidate may use.
        isolate: Whether the candidate runs in a process of its own. Then a crash, a call that takes too long or too
            much memory is one broken law, and the other laws are tried in a new process; and what the candidate prints
            is kept in the report. It computes on one thread there.
        expected_failures: Laws that are known not to hold, with the reason. One that holds all the same is a failure.
        shrink: Whether to look for the smallest case that breaks a law; False saves time where only the verdict counts.
        progress: Called with the name of a law, laws done and laws in all.

    Returns:
        A report; `report.passed`, `report.failures`, and a table when printed.

    Raises:
        TypeError: `candidate` is not callable.
        ValueError: An unknown name, a dtype that the contract or the kind of arrays does not have, a candidate that
            cannot take the arguments, or an expected failure that names no law.

    Examples:
        >>> from entropyprune_ref import tokens_to_keep
        >>> check("tokens_to_keep", tokens_to_keep, size="quick").passed
        True
        >>> report = check("tokens_to_keep", lambda average, **sizes: round(average), size="quick")
        >>> report.passed, report.failures[0].law
        (False, 'published budgets')
    """
    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, seed, time_limit, computes_in)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {size!r}")
    if not memory_limit > 0:
        raise ValueError(f"memory_limit must be above 0 GiB, got {memory_limit}")
    excuses = excused(chosen, expected_failures)
    tried = Isolated(candidate, arrays, setting.device, time_limit, memory_limit) if isolate else candidate
    try:
        verdicts, ended = _tried(chosen, tried, setting, size, shrink, excuses, progress)
        output = tried.output if isinstance(tried, Isolated) else ""
    finally:
        if isinstance(tried, Isolated):
            tried.close()
    not_run = tuple(law.name for law in chosen.laws[len(verdicts) :])
    broken = {verdict.failure.law for verdict in verdicts if verdict.failure is not None}
    for name in sorted(set(excuses) & set(STRUCTURE) - broken):  # expected of no law in particular: it has held
        verdicts.append(Verdict(name, STRUCTURE[name], 0, None, excuses[name], 0.0))
    return Report(
        contract,
        name_of(candidate),
        str(setting),
        size,
        seed,
        tuple(verdicts),
        not_run,
        ended,
        power_line(setting),
        output,
    )


def excused(chosen: Contract, expected_failures: Mapping[str, str] | None) -> dict[str, str]:
    """Laws that are expected to fail, with the reason; of the contract, or of every call."""
    known = {law.name for law in chosen.laws} | set(STRUCTURE)
    if unknown := sorted(set(expected_failures or {}) - known):
        names = ", ".join(sorted(known))
        raise ValueError(f"expected_failures must name laws of {chosen.name} ({names}), got {unknown}")
    return dict(expected_failures or {})


MOST_HANGS = 2
"""Laws that an isolated candidate may break by taking too long before the check ends: each costs the time limit."""


def _tried(
    chosen: Contract,
    candidate: Callable[..., Any] | Isolated,
    setting: Setting,
    size: str,
    shrink: bool,
    excuses: Mapping[str, str],
    progress: Progress | None,
) -> tuple[list[Verdict], str]:
    """The verdicts, and why there are not more of them."""
    verdicts: list[Verdict] = []
    hangs = 0
    for number, law in enumerate(chosen.laws):
        if progress is not None:
            progress(law.name, number, len(chosen.laws))
        verdict = judged(law, candidate, setting, SIZES[size], shrink)
        broken = verdict.failure.law if verdict.failure else law.name
        verdicts.append(replace(verdict, expected=excuses.get(broken, excuses.get(law.name))))
        hangs += broken == "time"
        if hangs and not isinstance(candidate, Isolated):
            return verdicts, "a call is still running, which isolate=True would end"
        if hangs == MOST_HANGS:
            return verdicts, f"{hangs} laws took too long"
    if progress is not None:
        progress("done", len(chosen.laws), len(chosen.laws))
    return verdicts, ""


def replay(
    contract: str,
    candidate: Callable[..., Any],
    law: str,
    family: str,
    numbers: Mapping[str, Any],
    *,
    convention: Convention | str | None = None,
    dtype: torch.dtype | str = torch.float64,
    computes_in: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    arrays: str = "torch",
    time_limit: int | float = 30.0,
    memory_limit: int | float = 8.0,
    isolate: bool = False,
) -> None:
    """Tries one law on one case again: what a failure's snippet calls.

    Args:
        contract: As in `check`.
        candidate: As in `check`.
        law: The law under which the case was tried.
        family: Family of the case.
        numbers: Numbers that describe it.
        convention: As in `check`.
        dtype: As in `check`.
        computes_in: As in `check`.
        device: As in `check`.
        arrays: As in `check`.
        time_limit: As in `check`.
        memory_limit: As in `check`.
        isolate: As in `check`.

    Raises:
        AssertionError: The law does not hold on this case.
        ValueError: An unknown name.
    """
    chosen, setting = prepared(contract, candidate, convention, dtype, device, arrays, 0, time_limit, computes_in)
    laws = {entry.name: entry for entry in chosen.laws}
    if law not in laws:
        raise ValueError(f"law must be one of {', '.join(map(repr, laws))}, got {law!r}")
    tried = Isolated(candidate, arrays, setting.device, time_limit, memory_limit) if isolate else candidate
    try:
        laws[law].judge(Trial(setting, law, laws[law].statement, Case(family, dict(numbers)), tried))
    except Hang as hang:
        raise Broken(hang.failure) from None
    finally:
        if isinstance(tried, Isolated):
            tried.close()

"""One law: cases are drawn until one breaks it or enough have passed; what breaks it is shrunk to the smallest case."""

import time
import warnings
from collections.abc import Callable
from typing import Any
from zlib import crc32

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Flaky, HypothesisWarning

from ..contracts.contract import Law
from ..inputs.case import Case, Setting
from ..trial.failure import Failure
from ..trial.isolation import Isolated
from ..trial.trial import Broken, Hang, Trial
from .apart import apart
from .report import Verdict
from .resemblance import resembling

SIZES = {"quick": 15, "default": 150, "thorough": 2000}
"""Cases that are drawn for each law."""


def judged(
    law: Law, candidate: Callable[..., Any] | Isolated, setting: Setting, examples: int, shrink: bool = True
) -> Verdict:
    """Draws cases until the law breaks or enough have passed; a broken law comes with its smallest case.

    Smallest among those that break the law in the same way: a case that breaks it in another way is not smaller, but
    another failure.
    """
    tried = 0
    broken: list[Broken] = []

    def holds(case: Case) -> None:
        nonlocal tried
        tried += 1
        try:
            law.judge(Trial(setting, law.name, law.statement, case, candidate))
        except Broken as found:
            if broken and found.failure.law != broken[0].failure.law:
                return
            broken.append(found)
            raise

    cases = law.cases(setting)
    if isinstance(cases, list):
        return _listed(law, cases if examples >= SIZES["default"] else cases[: law.first], holds, setting)
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
    run = hypothesis.seed(setting.seed ^ crc32(law.name.encode()))(settings(hypothesis.given(cases)(holds)))
    start = time.perf_counter()
    failure: Failure | None = None
    with warnings.catch_warnings(), apart():
        warnings.simplefilter("ignore", HypothesisWarning)
        try:
            run()
        except Broken as found:
            failure = resembling(found, broken, setting)
        except Hang as hang:
            failure = hang.failure
        except Flaky as flaky:
            failure = _unrepeatable(flaky, law, setting, candidate)
    return Verdict(law.name, law.statement, tried, failure, None, time.perf_counter() - start)


def _listed(law: Law, cases: list[Case], holds: Callable[[Case], None], setting: Setting) -> Verdict:
    """Tries all cases of a list, until one breaks the law."""
    start = time.perf_counter()
    failure: Failure | None = None
    tried = 0
    for case in cases:
        tried += 1
        try:
            holds(case)
        except Broken as broken:
            failure = resembling(broken, [broken], setting)
        except Hang as hang:
            failure = hang.failure
        if failure is not None:
            break
    return Verdict(law.name, law.statement, tried, failure, None, time.perf_counter() - start)


def _unrepeatable(flaky: Flaky, law: Law, setting: Setting, candidate: Callable[..., Any] | Isolated) -> Failure:
    """A law that broke once and held the second time, on the same case."""
    seen = [error.failure for error in getattr(flaky, "exceptions", ()) if isinstance(error, Broken)]
    before = f"; once it gave: {seen[0].message}" if seen else ""
    case = Case(seen[0].family, seen[0].numbers) if seen else Case("unknown", {})
    trial = Trial(setting, law.name, law.statement, case, candidate)
    return trial.broken("repeatable", f"the same call broke the law and then did not{before}").failure

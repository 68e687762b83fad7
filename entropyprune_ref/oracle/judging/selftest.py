"""The oracle's own check: every known-wrong implementation must be caught, in every setting that `check` offers."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch

from ...scoring import CONVENTIONS, PAPER, Convention
from ..bugs import MUTANTS, Mutant
from ..contracts import CONTRACTS
from ..inputs.case import WITH_CONVENTION, Setting
from .checking import check
from .power import key
from .report import Report
from .trying import SIZES, judged

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Catch:
    """A mutant, and what the check said of it.

    Attributes:
        mutant: The known-wrong implementation.
        report: Report of its check.
    """

    mutant: Mutant
    report: Report

    @property
    def caught(self) -> bool:
        """Whether some law broke."""
        return bool(self.report.failures)

    @property
    def laws(self) -> tuple[str, ...]:
        """Names of the laws that broke."""
        return tuple(failure.law for failure in self.report.failures)


def self_test(size: str = "quick", *, progress: Progress | None = None) -> list[Catch]:
    """Checks every mutant of the catalogue, in float64.

    Args:
        size: As in `check`.
        progress: Called with the name of a mutant, mutants done and mutants in all.

    Returns:
        One entry for each mutant.
    """
    catches = []
    for number, mutant in enumerate(MUTANTS):
        if progress is not None:
            progress(mutant.name, number, len(MUTANTS))
        report = check(
            mutant.contract,
            mutant.implementation,
            convention=mutant.convention if mutant.contract in WITH_CONVENTION else None,
            dtype=torch.float64,
            size=size,
            shrink=False,
        )
        catches.append(Catch(mutant, report))
    if progress is not None:
        progress("done", len(MUTANTS), len(MUTANTS))
    return catches


def caught_by(
    candidate: Callable[..., Any], setting: Setting, size: str = "default", first: tuple[str, ...] = ()
) -> str | None:
    """The first law that a candidate breaks, as `check` would find; None if it passes them all.

    Args:
        candidate: An implementation.
        setting: Setting of the check. The cases of a law do not depend on which laws were tried before it.
        size: As in `check`.
        first: Laws to try before the others, since they are likely to break.
    """
    laws = sorted(CONTRACTS[setting.contract].laws, key=lambda law: (*first, law.name).index(law.name))
    for law in laws:
        verdict = judged(law, candidate, setting, SIZES[size], shrink=False)
        if verdict.failure is not None:
            return law.name
    return None


def settings() -> Iterator[Setting]:
    """Every setting that `check` offers on a CPU with arrays of torch: contract, convention, dtypes."""
    for name, contract in CONTRACTS.items():
        conventions: tuple[Convention, ...] = tuple(CONVENTIONS.values()) if name in WITH_CONVENTION else (PAPER,)
        for convention in conventions:
            for dtype in contract.dtypes if contract.floating else (torch.float64,):
                for claimed in _computed_in(dtype) if name in CLAIMS else (None,):
                    yield Setting(name, convention, dtype, time_limit=math.inf, claimed=claimed)


CLAIMS = ("matrix_entropy", "token_entropy", "layer_entropy", "collapse_layer")
"""Contracts in which 16 bits throughout is something that a candidate may claim."""


def _computed_in(dtype: torch.dtype) -> tuple[torch.dtype | None, ...]:
    """What a candidate may claim to compute in: the default, float64, or the 16 bits of its inputs throughout."""
    if dtype == torch.float64:
        return (None,)
    return (None, torch.float64) if dtype == torch.float32 else (None, dtype)


def known_for(setting: Setting) -> list[Mutant]:
    """The mutants of a setting: those that are wrong there.

    Two compute in half precision: that loses nothing of scores in float16, and no more of curves in float16 than what
    Eq. 4.3 calls a tie.
    """
    entries = [e for e in MUTANTS if e.contract == setting.contract and e.convention == setting.convention]
    half = ("half-precision scores", "computed in half precision")
    return [entry for entry in entries if setting.dtype != torch.float16 or entry.name not in half]


def digest() -> str:
    """Of the names of all known-wrong implementations: by it, recorded power is known to be that of this catalogue."""
    names = "\n".join(f"{entry.contract} {entry.convention.name} {entry.name}" for entry in MUTANTS)
    return sha256(names.encode()).hexdigest()


def measured(setting: Setting, hints: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How many mutants of the catalogue there are for a setting, which are missed, and which law caught each other."""
    caught: dict[str, str] = {}
    missed = []
    entries = known_for(setting)
    for mutant in entries:
        hint = (hints or {}).get(mutant.name)
        law = caught_by(mutant.implementation, setting, first=(hint,) if hint else ())
        if law is None:
            missed.append(mutant.name)
        else:
            caught[mutant.name] = law
    return {"known": len(entries), "missed": missed, "caught": caught}


def measure_power(*, progress: Progress | None = None) -> dict[str, Any]:
    """Runs the whole catalogue in every setting: what `check --self-test --all` prints, and what the package ships."""
    found: dict[str, Any] = {}
    every = list(settings())
    for number, setting in enumerate(every):
        if progress is not None:
            progress(key(setting), number, len(every))
        found[key(setting)] = measured(setting)
    return {"catalogue": digest(), "size": "default", "settings": found}

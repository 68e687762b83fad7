"""The oracle's own check: every known-wrong implementation of the catalogue must be caught."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..bugs import MUTANTS, Mutant
from .checking import check
from .report import Report


@dataclass(frozen=True)
class Catch:
    """A mutant, and what the check said of it.

    Attributes:
        mutant: The known-wrong implementation.
        report: Of its check.
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


def self_test(size: str = "quick", *, progress: Callable[[str, int, int], None] | None = None) -> list[Catch]:
    """Checks every mutant of the catalogue, in float64.

    Args:
        size: As in `check`.
        progress: Called with the name of a mutant, mutants done and mutants in all.

    Returns:
        One entry for each mutant.

    Properties:
        - every mutant is caught -> `test_every_mutant_is_caught`
        - and is wrong: the laws that it breaks hold of the reference -> `test_the_reference_passes_every_contract`
    """
    catches = []
    for number, mutant in enumerate(MUTANTS):
        if progress is not None:
            progress(mutant.name, number, len(MUTANTS))
        report = check(
            mutant.contract,
            mutant.implementation,
            convention=mutant.convention,
            dtype=torch.float64,
            size=size,
            shrink=False,
        )
        catches.append(Catch(mutant, report))
    if progress is not None:
        progress("done", len(MUTANTS), len(MUTANTS))
    return catches

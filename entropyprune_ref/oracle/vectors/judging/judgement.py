"""What a judgement of foreign answers looks like: one verdict for each case, and failures that name the case."""

from dataclasses import dataclass

from ...judging.report import Report
from ...trial.failure import Failure

UNANSWERED = "not answered"
"""The message of a case without an answer."""


@dataclass(frozen=True)
class VectorFailure(Failure):
    """A case that a file of results got wrong.

    Attributes:
        flags: The bug classes that the case is there to catch, each with its note.
        folder: Folder of the vectors; empty for the released ones.
    """

    flags: tuple[tuple[str, str], ...] = ()
    folder: str = ""

    @property
    def snippet(self) -> str:
        """Python that shows the case."""
        folder = repr(self.folder) if self.folder else ""
        return (
            "from entropyprune_ref.oracle.vectors import load\n"
            f"case = load({folder}).cases[{self.law!r}]\n"
            "print(case.inputs, case.outputs)"
        )

    def __str__(self) -> str:
        """Everything, for a reader who has not seen the vectors."""
        convention = f", convention {self.convention}" if self.convention else ""
        lines = [
            f"{self.law}: {self.statement}",
            f"  {self.message}",
            f"  asked    {self.contract}{convention}, computed in {self.dtype}",
            f"  inputs   {self.inputs}",
            *(f"  catches  {name}: {note}" for name, note in self.flags),
        ]
        if self.resembles:
            lines.append(f"  the same answer as the known-wrong implementation(s): {', '.join(self.resembles)}")
        return "\n".join([*lines, "  the case:", *(f"    {line}" for line in self.snippet.splitlines())])


@dataclass(frozen=True)
class Judgement(Report):
    """What became of every case; one verdict for each, its law being the id of the case."""

    def __str__(self) -> str:
        """Cases by contract, then the failures."""
        names = list(dict.fromkeys(verdict.law.split("/")[0] for verdict in self.verdicts))
        width = max([len(name) for name in names] + [8])
        lines = [f"{self.candidate}: {self.setting}", "", f"{'contract':<{width}}  {'cases':>5}  passed"]
        for name in names:
            own = [verdict for verdict in self.verdicts if verdict.law.split("/")[0] == name]
            lines.append(f"{name:<{width}}  {len(own):>5}  {sum(verdict.passed for verdict in own):>6}")
        good = sum(verdict.passed for verdict in self.verdicts)
        expected = sum(verdict.status == "broken as expected" for verdict in self.verdicts)
        also = f", {expected} of them fail as expected" if expected else ""
        lines += ["", f"{'passed' if self.passed else 'FAILED'}: {good} of {len(self.verdicts)} cases{also}"]
        missing = [failure.law for failure in self.failures if failure.message == UNANSWERED]
        if missing:
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            lines.append(f"{UNANSWERED}: {', '.join(missing[:10])}{more}")
        for failure in self.failures:
            if failure.message != UNANSWERED:
                lines += ["", str(failure)]
        for verdict in self.verdicts:
            if verdict.status == "holds against expectation":
                lines += ["", f"{verdict.law} passes, although it was expected to fail: {verdict.expected}"]
        return "\n".join(lines)

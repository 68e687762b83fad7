"""What a check found: failures that one can act on, as a table, as JSON, and as JUnit XML."""

import json
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from xml.etree import ElementTree

from ..trial.failure import Failure, short


@dataclass(frozen=True)
class Verdict:
    """How one law fared.

    Attributes:
        law: Its name.
        statement: The law, in a sentence.
        cases: How many cases were tried.
        failure: The smallest failure, if it does not hold.
        expected: Why it was expected to fail, if it was.
        seconds: How long it took.
    """

    law: str
    statement: str
    cases: int
    failure: Failure | None
    expected: str | None
    seconds: float

    @property
    def status(self) -> str:
        """One of "holds", "broken", "broken as expected", "holds against expectation"."""
        if self.expected is None:
            return "holds" if self.failure is None else "broken"
        return "holds against expectation" if self.failure is None else "broken as expected"

    @property
    def passed(self) -> bool:
        """Whether this is as it should be: an expected failure that does not occur is not."""
        return self.status in ("holds", "broken as expected")


LINES = 40
"""A report is one screen, unless it is asked for in full."""


@dataclass(frozen=True)
class Report:
    """What a check of one candidate found.

    Attributes:
        contract: What the candidate claims to implement.
        candidate: Where it comes from.
        setting: Convention, dtype, arrays and device, in words.
        size: "quick", "default" or "thorough".
        seed: Seed of the drawing of cases.
        verdicts: One for each law that was tried.
        not_run: Laws that were not tried, since the check ended early; then it has not passed.
        ended: Why it ended early.
        power: How many known-wrong implementations a check in this setting tells from the right one.
        output: What an isolated candidate printed.
    """

    contract: str
    candidate: str
    setting: str
    size: str
    seed: int
    verdicts: tuple[Verdict, ...] = field(default_factory=tuple)
    not_run: tuple[str, ...] = ()
    ended: str = ""
    power: str = ""
    output: str = ""

    @property
    def passed(self) -> bool:
        """Whether every law was tried and holds, or fails as was expected of it."""
        return bool(self.verdicts) and not self.not_run and all(verdict.passed for verdict in self.verdicts)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The unexpected failures, one for each broken law; that of the first law, about values, comes first."""
        found: dict[str, Failure] = {}
        for verdict in self.verdicts:
            if verdict.failure is not None and verdict.expected is None:
                found.setdefault(verdict.failure.law, verdict.failure)
        return tuple(found.values())

    @property
    def cases(self) -> int:
        """Cases tried in all."""
        return sum(verdict.cases for verdict in self.verdicts)

    def __str__(self) -> str:
        """One screen: a line for each law, the first failure, and what the check is worth."""
        failures, ending = self.failures, self._ending()
        first = str(failures[0]).splitlines() if failures else []
        if len(failures) > 1:
            first.append(f"  ({len(failures) - 1} more in full: report.in_full(), or --full on the command line)")
        body = self._table(LINES - 4 - len(ending) - len(first) - 2 * bool(first))
        return "\n".join([self._title(), "", *body, "", *ending, *([""] if first else []), *first])

    def in_full(self) -> str:
        """Every law on a line of its own and every failure, however long."""
        parts = [self._title(), "", *self._table(len(self.verdicts) + 1), "", *self._ending()]
        for failure in self.failures:
            parts += ["", str(failure)]
        return "\n".join([*parts, *(["", "printed by the candidate:", self.output.rstrip()] if self.output else [])])

    def _title(self) -> str:
        return f"{self.candidate} as {self.setting}; size {self.size}, seed {self.seed}"

    def _table(self, most: int) -> list[str]:
        """A line for each law; those that hold share lines if there are more than `most`."""
        width = max([len(verdict.law) for verdict in self.verdicts] + [3])
        lines = [f"{'law':<{width}}  {'cases':>6}  result"]
        together = len(self.verdicts) + 1 > most
        seen: set[str] = set()
        for verdict in self.verdicts:
            if together and verdict.status == "holds":
                continue
            said = verdict.status + (f" ({verdict.expected})" if verdict.expected else "")
            failure = verdict.failure
            if failure is not None and verdict.expected is None:
                law = "" if failure.law == verdict.law else f"{failure.law}, "
                said += f": {law}{'as above' if failure.law in seen else _in_brief(failure)}"
                seen.add(failure.law)
            lines.append(f"{verdict.law:<{width}}  {verdict.cases:>6}  {said}")
        holding = [verdict.law for verdict in self.verdicts if verdict.status == "holds"]
        if together and holding:
            lines += wrap(f"{len(holding)} hold: {', '.join(holding)}", 120, subsequent_indent="  ")
        return lines

    def _ending(self) -> list[str]:
        as_expected = sum(verdict.status == "broken as expected" for verdict in self.verdicts)
        laws = len(self.verdicts) + len(self.not_run)
        end = f"{sum(verdict.passed for verdict in self.verdicts) - as_expected} of {laws} laws hold"
        end += f", {as_expected} fail as expected" if as_expected else ""
        lines = [f"{'passed' if self.passed else 'FAILED'}: {end}, {self.cases} cases"]
        if self.not_run:
            lines += wrap(f"not run, since {self.ended}: {', '.join(self.not_run)}", 120, subsequent_indent="  ")
        if self.output:
            lines.append(f"The candidate printed {len(self.output.splitlines())} lines: report.output, or --full.")
        return lines + wrap(self.power, 120, subsequent_indent="  ")

    def to_json(self) -> str:
        """The whole report as JSON text."""
        record = {
            "contract": self.contract,
            "candidate": self.candidate,
            "setting": self.setting,
            "size": self.size,
            "seed": self.seed,
            "passed": self.passed,
            "cases": self.cases,
            "not_run": list(self.not_run),
            "ended": self.ended,
            "power": self.power,
            "output": self.output,
            "laws": [
                {
                    "law": verdict.law,
                    "statement": verdict.statement,
                    "status": verdict.status,
                    "cases": verdict.cases,
                    "seconds": round(verdict.seconds, 3),
                    "expected": verdict.expected,
                    "failure": None
                    if verdict.failure is None
                    else asdict(verdict.failure) | {"snippet": verdict.failure.snippet},
                }
                for verdict in self.verdicts
            ],
        }
        return json.dumps(record, indent=2, default=str)

    def to_junit(self) -> str:
        """The report as JUnit XML: one test case for each law; a failure that was expected counts as skipped."""
        suite = ElementTree.Element(
            "testsuite",
            name=f"entropyprune-ref check {self.contract}",
            tests=str(len(self.verdicts) + len(self.not_run)),
            failures=str(sum(not verdict.passed for verdict in self.verdicts)),
            skipped=str(sum(verdict.status == "broken as expected" for verdict in self.verdicts) + len(self.not_run)),
            time=f"{sum(verdict.seconds for verdict in self.verdicts):.3f}",
        )
        for verdict in self.verdicts:
            entry = ElementTree.SubElement(
                suite, "testcase", classname=self.candidate, name=verdict.law, time=f"{verdict.seconds:.3f}"
            )
            if verdict.status == "broken as expected":
                ElementTree.SubElement(entry, "skipped", message=_xml(verdict.expected or ""))
            elif not verdict.passed:
                message = verdict.failure.message if verdict.failure else f"holds, although: {verdict.expected}"
                detail = ElementTree.SubElement(entry, "failure", message=_xml(message))
                detail.text = _xml(str(verdict.failure or message))
        for law in self.not_run:
            entry = ElementTree.SubElement(suite, "testcase", classname=self.candidate, name=law)
            ElementTree.SubElement(entry, "skipped", message=_xml(f"not run, since {self.ended}"))
        if self.output:
            ElementTree.SubElement(suite, "system-out").text = _xml(self.output)
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _in_brief(failure: Failure) -> str:
    if failure.error is None or failure.allowed is None:
        return short(failure.message, 100)
    return f"off by {failure.error:.3g}, allowed {failure.allowed:.3g}"


def _xml(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter if letter >= " " or letter in "\n\t" else "?" for letter in text)

"""What a check found: failures that one can act on, as a table, as JSON, and as JUnit XML."""

import json
from dataclasses import asdict, dataclass, field
from xml.etree import ElementTree

from ..trial.failure import Failure


@dataclass(frozen=True)
class Verdict:
    """How one law fared.

    Attributes:
        law: Its name.
        statement: It, in a sentence.
        cases: That were tried.
        failure: The smallest failure, if it does not hold.
        expected: Why it was expected to fail, if it was.
        seconds: That it took.
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


@dataclass(frozen=True)
class Report:
    """What a check of one candidate found.

    Attributes:
        contract: What the candidate claims to implement.
        candidate: Where it comes from.
        setting: Convention, dtype, arrays and device, in words.
        size: "quick", "default" or "thorough".
        seed: Of the drawing of cases.
        verdicts: One for each law.
    """

    contract: str
    candidate: str
    setting: str
    size: str
    seed: int
    verdicts: tuple[Verdict, ...] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether every law holds, or fails as was expected of it."""
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The unexpected failures, one for each broken law."""
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
        """A table of laws, then the failures."""
        width = max([len(verdict.law) for verdict in self.verdicts] + [3])
        lines = [
            f"{self.candidate} as {self.setting}; size {self.size}, seed {self.seed}",
            "",
            f"{'law':<{width}}  {'cases':>6}  result",
        ]
        for verdict in self.verdicts:
            because = f" ({verdict.expected})" if verdict.expected else ""
            lines.append(f"{verdict.law:<{width}}  {verdict.cases:>6}  {verdict.status}{because}")
        as_expected = sum(verdict.status == "broken as expected" for verdict in self.verdicts)
        end = f"{sum(verdict.passed for verdict in self.verdicts) - as_expected} of {len(self.verdicts)} laws hold"
        end += f", {as_expected} fail as expected" if as_expected else ""
        lines += ["", f"{'passed' if self.passed else 'FAILED'}: {end}, {self.cases} cases"]
        for failure in self.failures:
            lines += ["", str(failure)]
        return "\n".join(lines)

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
            tests=str(len(self.verdicts)),
            failures=str(sum(not verdict.passed for verdict in self.verdicts)),
            skipped=str(sum(verdict.status == "broken as expected" for verdict in self.verdicts)),
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
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter if letter >= " " or letter in "\n\t" else "?" for letter in text)

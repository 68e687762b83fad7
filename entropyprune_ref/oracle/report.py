"""What a check found: failures that one can act on, as a table, as JSON, and as JUnit XML."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True)
class Failure:
    """One broken law at the smallest case that was found.

    Attributes:
        contract: What the candidate claims to implement.
        law: The law that does not hold.
        statement: It, in a sentence.
        under: The law that was being tried when this one broke; the same, unless a call went wrong altogether.
        message: What was expected and what came.
        convention: Formula of token entropy that was asked for.
        dtype: Of the inputs.
        device: Where they were.
        arrays: Their kind.
        seed: Of the check.
        family: Of the case.
        numbers: That describe the case within its family.
        inputs: Shapes and dtypes of the last call; its values too where they are few.
        candidate: Where the candidate comes from.
        index: Of the worst element.
        error: At the worst element.
        allowed: There.
        resembles: Known-wrong implementations that give the same answer on this case.
    """

    contract: str
    law: str
    statement: str
    under: str
    message: str
    convention: str
    dtype: str
    device: str
    arrays: str
    seed: int
    family: str
    numbers: Mapping[str, Any]
    inputs: str
    candidate: str
    index: tuple[int, ...] | None = None
    error: float | None = None
    allowed: float | None = None
    resembles: tuple[str, ...] = ()

    @property
    def snippet(self) -> str:
        """Python that shows the failure again when pasted."""
        module, _, name = self.candidate.partition(":")
        known = name and "<" not in name and "." not in name and module != "__main__"
        source = f"from {module} import {name} as candidate" if known else "candidate = ...  # yours"
        options = [
            f"convention={self.convention!r}",
            f"dtype={self.dtype!r}",
            *([f"device={self.device!r}"] if self.device != "cpu" else []),
            *([f"arrays={self.arrays!r}"] if self.arrays != "torch" else []),
        ]
        return (
            "from entropyprune_ref.oracle import replay\n"
            f"{source}\n"
            f"replay({self.contract!r}, candidate, {self.under!r}, {self.family!r}, {dict(self.numbers)!r}, "
            f"{', '.join(options)})"
        )

    def __str__(self) -> str:
        """Everything, for a reader who has not seen the check."""
        lines = [
            f"{self.contract}: law '{self.law}' does not hold: {self.statement}",
            f"  {self.message}",
            f"  case     {self.family} {dict(self.numbers)}, seed {self.seed}",
            f"  asked    convention {self.convention}, {self.dtype}, {self.arrays} arrays on {self.device}",
            f"  inputs   {self.inputs}",
        ]
        if self.under != self.law:
            lines.append(f"  under    law '{self.under}'")
        if self.resembles:
            lines.append(f"  the same answer as the known-wrong implementation(s): {', '.join(self.resembles)}")
        return "\n".join([*lines, "  again:", *(f"    {line}" for line in self.snippet.splitlines())])


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

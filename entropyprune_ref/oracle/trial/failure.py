"""One broken law: what was expected, what came, on which case, and how to see it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One broken law at the smallest case that was found.

    Attributes:
        contract: What the candidate claims to implement.
        law: The law that does not hold.
        statement: The law, in a sentence.
        under: The law that was being tried when this one broke; the same, unless a call went wrong altogether.
        message: What was expected and what came.
        convention: Formula of token entropy that was asked for; empty where there is none.
        dtype: Dtype of the inputs.
        computes_in: What the candidate says that it computes in.
        device: Where the inputs were.
        arrays: Kind of the arrays.
        seed: Seed of the check.
        family: Family of the case.
        numbers: Numbers that describe the case within its family.
        inputs: Shapes and dtypes of the last call; its values too where they are few.
        candidate: Where the candidate comes from.
        index: Index of the worst element.
        error: Error at the worst element.
        allowed: What is allowed at the worst element.
        resembles: At most two known-wrong implementations that give the same answers on all cases that were kept.
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
    computes_in: str = ""

    @property
    def snippet(self) -> str:
        """Python that shows the failure again when pasted."""
        options = [
            *([f"convention={self.convention!r}"] if self.convention else []),
            f"dtype={self.dtype!r}",
            *([f"computes_in={self.computes_in!r}"] if self.computes_in not in ("", self.dtype) else []),
            *([f"device={self.device!r}"] if self.device != "cpu" else []),
            *([f"arrays={self.arrays!r}"] if self.arrays != "torch" else []),
            *(["isolate=True"] if self.law in ("survives", "memory", "time") else []),
        ]
        return (
            "from entropyprune_ref.oracle import replay\n"
            f"{self._source}\n"
            f"replay({self.contract!r}, candidate, {self.under!r}, {self.family!r}, {dict(self.numbers)!r}, "
            f"{', '.join(options)})"
        )

    @property
    def _source(self) -> str:
        """A line that imports the candidate, if it can be imported."""
        module, _, name = self.candidate.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))) or module == "__main__":
            return "candidate = ...  # yours"
        outer, *inner = name.split(".")
        if not inner:
            return f"from {module} import {outer} as candidate"
        return f"from {module} import {outer}; candidate = {name}"

    def __str__(self) -> str:
        """Everything, for a reader who has not seen the check."""
        asked = f"convention {self.convention}, " if self.convention else ""
        lines = [
            f"{self.contract}: law '{self.law}' does not hold: {self.statement}",
            f"  {short(self.message, 480)}",
            f"  case     {self.family} {short(str(dict(self.numbers)), 240)}, seed {self.seed}",
            f"  asked    {asked}{self.dtype}, {self.arrays} arrays on {self.device}",
            f"  inputs   {short(self.inputs, 240)}",
        ]
        if self.under != self.law:
            lines.append(f"  under    law '{self.under}'")
        if self.resembles:
            lines.append(f"  the same answers as the known-wrong implementation(s): {', '.join(self.resembles)}")
        return "\n".join([*lines, "  again:", *(f"    {line}" for line in self.snippet.splitlines())])


def short(text: str, most: int) -> str:
    """The text, or its beginning and its end."""
    return text if len(text) <= most else f"{text[: most - 60]} ... {text[-50:]}"

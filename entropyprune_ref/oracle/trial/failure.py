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

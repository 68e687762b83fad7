"""What a vector is: a call of a contract, what must come out of it, how close, and which bugs it is there to catch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Context, Decimal
from typing import Any

import torch
from torch import Tensor

from .draws import Recipe

DTYPES = {"float64": torch.float64, "float32": torch.float32}
"""What a consumer may compute in; tolerances are given for each."""

VERDICTS = ("must_match", "must_reject", "either")


@dataclass(frozen=True)
class Expected:
    """One output of a case.

    Attributes:
        value: As the reference has it, float64 or int64.
        compare: "close": within `tolerance`; "exact": the same integers; "selection": the same positions, unless
            rounding can explain another choice at the cut.
        unit: Unit of the value.
        tolerance: By dtype of the consumer, in the shape of `value`; for "close" only.
    """

    value: Tensor
    compare: str
    unit: str
    tolerance: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One set of scores that a selection divides: a row of a batch, or the tokens of an image.

    Attributes:
        scores: `(tokens,)`, float64.
        keep: How many are kept.
    """

    scores: Tensor
    keep: int

    @property
    def gap(self) -> float | None:
        """The last kept score less the first dropped one; `None` where nothing is dropped or nothing kept."""
        if not 0 < self.keep < len(self.scores):
            return None
        ordered = self.scores.sort(descending=True).values
        return abs(float(ordered[self.keep - 1] - ordered[self.keep]))


@dataclass(frozen=True)
class Cut:
    """Where a selection divides the scores.

    Attributes:
        rows: What is divided.
        score_error: By dtype, how far a correct score may be off.
    """

    rows: tuple[Row, ...]
    score_error: Mapping[str, float]


@dataclass(frozen=True)
class Alternative:
    """Another answer that passes, of a case whose verdict is `either`.

    Attributes:
        comment: Who answers so, and why that is no bug.
        values: By output.
    """

    comment: str
    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class VectorCase:
    """One vector.

    Attributes:
        id: Names the case and, in a file of results, its answers: `<id>.<output>`, or `<id>.rejected`.
        contract: Which call; one of `ALL_CONTRACTS`.
        convention: Formula of token entropy, where it matters.
        comment: What the case is, in a sentence.
        flags: The bug classes that it is there to catch; each is explained in `NOTES`.
        inputs: By name: tensors, numbers, words, or (weights) tensors by name.
        verdict: "must_match", "must_reject" or "either".
        outputs: By name; none where the input must be rejected.
        cut: The cut of a selection.
        alternatives: Other answers that pass; for "either" only.
        recipes: Recipes of inputs that are drawn and not shipped, by name.
    """

    id: str
    contract: str
    convention: str | None
    comment: str
    flags: tuple[str, ...]
    inputs: Mapping[str, Any]
    verdict: str
    outputs: Mapping[str, Expected] = field(default_factory=dict)
    cut: Cut | None = None
    alternatives: tuple[Alternative, ...] = ()
    recipes: Mapping[str, Recipe] = field(default_factory=dict)


def rounded_up(allowed: Tensor) -> Tensor:
    """Returns allowances to three significant digits, never smaller: what lies behind them differs between machines.

    Examples:
        >>> rounded_up(torch.tensor([0.012341, 0.0], dtype=torch.float64)).tolist()
        [0.0124, 0.0]
    """
    context = Context(prec=3, rounding=ROUND_UP)
    digits = [float(context.create_decimal(Decimal(value))) for value in allowed.double().flatten().tolist()]
    return torch.tensor(digits, dtype=torch.float64).reshape(allowed.shape)

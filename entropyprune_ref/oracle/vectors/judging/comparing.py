"""Compares what was answered to a case with what is expected of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...tolerances import disputed
from ...trial.comparing import Difference, difference
from ..defining.case import Cut, Expected, VectorCase
from .judgement import UNANSWERED


def judged(case: VectorCase, given: Mapping[str, Tensor], dtype: str) -> Difference | None:
    """Returns what is wrong with the answers to a case, or `None` if nothing is.

    Args:
        case: The case.
        given: What was answered, by output; `rejected` among them for a rejection.
        dtype: What it was computed in.
    """
    if not given:
        return Difference(UNANSWERED)
    if "rejected" in given:
        return _rejected(case, given)
    if case.verdict == "must_reject":
        return Difference(f"must be rejected, got {_shown(next(iter(given.values())))}")
    found = None
    for outputs in _acceptable(case):
        one = _compared(case, outputs, given, dtype)
        if one is None:
            return None
        found = found or one
    return found


def _rejected(case: VectorCase, given: Mapping[str, Tensor]) -> Difference | None:
    marker = given["rejected"]
    if marker.numel() != 1 or marker.is_complex() or float(marker) != 1:
        return Difference(f"rejected must be a single 1, got {_shown(marker)}")
    if len(given) > 1:
        return Difference(f"must be rejected or answered, got both: {', '.join(sorted(given))}")
    return None if case.verdict == "must_reject" else Difference("rejected, although there is an answer")


def _acceptable(case: VectorCase) -> Iterator[Mapping[str, Expected]]:
    """The reference's answer, then the alternatives."""
    yield case.outputs
    for other in case.alternatives:
        values = other.values.items()
        yield {**case.outputs, **{name: replace(case.outputs[name], value=v, compare="exact") for name, v in values}}


def _compared(
    case: VectorCase, outputs: Mapping[str, Expected], given: Mapping[str, Tensor], dtype: str
) -> Difference | None:
    for name, expected in outputs.items():
        if name not in given:
            return Difference(f"{name} is missing")
        got = given[name]
        if got.ndim == 1 and got.numel() == 1 and expected.value.ndim == 0:
            got = got.reshape(())
        wrong = _kind(got, expected)
        if wrong is None and expected.compare == "close":
            wrong = _close(got.double(), expected, dtype)
        elif wrong is None and expected.compare == "selection" and case.cut is not None:
            wrong = _selected(got.long(), expected.value, case.cut, dtype)
        elif wrong is None and not torch.equal(got.long(), expected.value):
            wrong = _unequal(got.long(), expected)
        if wrong is not None:
            return replace(wrong, message=f"{name}: {wrong.message}")
    return None


def _kind(got: Tensor, expected: Expected) -> Difference | None:
    floating = expected.value.is_floating_point()
    fits = got.is_floating_point() if floating else not (got.is_floating_point() or got.is_complex())
    if not fits or got.dtype == torch.bool:
        return Difference(f"must have {'a floating' if floating else 'an integer'} dtype, got {got.dtype}")
    if got.shape != expected.value.shape:
        return Difference(f"must have shape {tuple(expected.value.shape)}, got {tuple(got.shape)}")
    return None


def _close(got: Tensor, expected: Expected, dtype: str) -> Difference | None:
    if got.numel() == 0:
        return None
    finite = torch.isfinite(got)
    if not bool(finite.all()):
        place = tuple(torch.nonzero(~finite)[0].tolist())
        return Difference(f"must be finite, got {float(got[place])} at index {place}", place)
    return difference(got, expected.value, expected.tolerance[dtype], expected.unit)


def _selected(got: Tensor, expected: Tensor, cut: Cut, dtype: str) -> Difference | None:
    """Each row keeps the expected tokens, or others only where rounding of the scores explains them."""
    shape = (len(cut.rows), expected.shape[-1])
    rows = zip(got.reshape(shape), expected.reshape(shape), cut.rows, strict=True)
    for number, (kept, wanted, row) in enumerate(rows):
        if torch.equal(kept, wanted):
            continue
        tokens = len(row.scores)
        if int(kept.min()) < 0 or int(kept.max()) >= tokens or bool((kept.diff() <= 0).any()):
            return Difference(
                f"row {number}: must be strictly ascending positions below {tokens}, got {kept.tolist()}", (number,)
            )
        error = cut.score_error[dtype]
        if error == 0 or bool(disputed(row.scores, kept, row.keep, error).any()):
            return Difference(
                f"row {number}: expected {wanted.tolist()}, got {kept.tolist()}; the gap at the cut is {row.gap:.3g}, "
                f"scores may be off by {error:.3g}",
                (number,),
            )
    return None


def _unequal(got: Tensor, expected: Expected) -> Difference:
    if got.numel() <= 12:
        return Difference(f"expected {expected.value.tolist()} {expected.unit}, got {got.tolist()}")
    place = tuple(torch.nonzero(got != expected.value)[0].tolist())
    return Difference(
        f"expected {int(expected.value[place])} {expected.unit} at index {place}, got {int(got[place])}", place
    )


def _shown(value: Tensor) -> str:
    return str(value.tolist()) if value.numel() <= 12 else f"{value.dtype} {tuple(value.shape)}"

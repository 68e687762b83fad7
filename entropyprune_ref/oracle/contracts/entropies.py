"""Contracts of sections 1, 3 and 4: functions that give one entropy for each matrix of a stack."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...collapse import layer_entropy
from ...entropy import matrix_entropy
from ...scoring import token_entropy
from ..inputs.case import Setting
from ..inputs.matrices import build, empty_batches, largest_rank, matrices
from ..plain.entropies import plain_matrix_entropy, plain_token_entropy
from ..tolerances import allowance, entropy_floor, token_entropy_floor
from ..trial.trial import Trial
from .contract import Contract, Law

Reference = Callable[[Tensor, Setting], tuple[Tensor, Tensor]]


def _reference(setting: Setting, features: Tensor) -> tuple[Tensor, Tensor]:
    """Exact entropies of the numbers that the candidate was given, and what it may be off."""
    exact = features.to(torch.float64)
    if setting.contract == "token_entropy":
        expected = token_entropy(exact, setting.convention)
        floor = token_entropy_floor(exact, setting.convention, setting.dtype)
        plain = plain_token_entropy(features, setting.convention)
    else:
        expected = (layer_entropy if setting.contract == "layer_entropy" else matrix_entropy)(exact)
        floor = entropy_floor(exact, setting.dtype)
        plain = plain_matrix_entropy(features)
    return expected, allowance(floor, plain, expected, setting.dtype)


def _agrees(trial: Trial) -> None:
    """The candidate's entropies are those of the reference, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    got = trial.tensor(trial.call(features), tuple(features.shape[:-2]))
    expected, allowed = _reference(trial.setting, features)
    trial.close(got, expected, allowed)


def _in_range(trial: Trial) -> None:
    """The candidate's entropies lie between zero and the logarithm of the largest possible rank, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    got = trial.tensor(trial.call(features), tuple(features.shape[:-2]))
    allowed = _reference(trial.setting, features)[1]
    high = math.log(max(1, largest_rank(tuple(features.shape))))
    trial.close(got, got.clamp(0, high), allowed)


def _part_by_part(trial: Trial) -> None:
    """The candidate gives a stack what it gives its matrices one by one, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    whole = trial.tensor(trial.call(features), tuple(features.shape[:-2])).flatten()
    allowed = _reference(trial.setting, features)[1].flatten()
    stack = features.reshape(-1, *features.shape[-2:])
    axes = () if trial.setting.contract == "matrix_entropy" else (1,)
    parts = [trial.tensor(trial.call(part.reshape(*axes, *part.shape)), axes).reshape(()) for part in stack]
    trial.close(whole, torch.stack(parts), 2 * allowed)


def _twice(trial: Trial) -> None:
    """The candidate gives the same input the same entropies again, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    first, second = (trial.tensor(trial.call(features), tuple(features.shape[:-2])) for _ in range(2))
    trial.close(second, first, 2 * _reference(trial.setting, features)[1])


def _laws(axes: int, *, rows: str, convention: bool) -> tuple[Law, ...]:
    """The laws of an entropy of matrices with `axes` axes before their own two, whose rows are `rows`."""
    least = 2 if convention else 1

    def law(name: str, statement: str, family: str, judge: Callable[[Trial], None] = _agrees, **options: Any) -> Law:
        def cases(setting: Setting) -> Any:
            # one row has no entropy per log of the rows
            smallest = max(options.get("least_rows", 1), least if setting.convention.log_heads else 1)
            return matrices(setting, family, axes, **options | {"least_rows": smallest})

        return Law(name, statement, cases, judge)

    return (
        law("value", "the entropy of ordinary matrices is that of the equation, in nats", "gaussian"),
        law("range", "entropies lie between 0 and log min(rows - 1, columns)", "gaussian", _bounded_unless_released),
        law("known spectrum", "the entropy is that of the eigenvalues, over orders of magnitude", "known spectrum"),
        law("rank one", f"{rows} on one line have no entropy", "rank one"),
        law("equal eigenvalues", "r equal eigenvalues have entropy log r", "equal eigenvalues", least_rank=1),
        law("near-degenerate", "nearly equal eigenvalues are no trouble", "near-degenerate", least_rank=2),
        law("no variance", f"equal {rows} give 0 (by definition; never NaN)", "equal rows"),
        law("common shift", f"adding one vector to all {rows} changes nothing: they are centred", "shifted"),
        law("scale", "magnitudes count as the convention says, over the range of the dtype", "scaled"),
        law("one huge among small", "one huge matrix of a stack does not disturb the others", "one huge"),
        law("subnormals", "entries close to zero are no trouble", "subnormals"),
        law("views", "transposed and strided views are read as what they are", "view"),
        law("part by part", "a stack has the entropies of its matrices one by one", "gaussian", _part_by_part),
        law("repeatable", "the same call gives the same answer again", "gaussian", _twice),
        Law("empty batch", "no matrices have no entropies", lambda _: empty_batches(axes), _agrees),
    )


def _bounded_unless_released(trial: Trial) -> None:
    """The range law for what has a range; otherwise agreement."""
    (_in_range if trial.setting.convention.trace_normalized else _agrees)(trial)


def _example(axes: int) -> Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]:
    return lambda: ((torch.zeros(*[1] * axes, 2, 2),), {})


MATRIX_ENTROPY = Contract(
    "matrix_entropy",
    "matrix_entropy(features): (..., samples, dims) -> (...)",
    _example(0),
    _laws(0, rows="samples", convention=False),
)

TOKEN_ENTROPY = Contract(
    "token_entropy",
    "token_entropy(queries): (..., tokens, heads, head_dim) -> (..., tokens)",
    _example(1),
    _laws(1, rows="heads", convention=True),
)

LAYER_ENTROPY = Contract(
    "layer_entropy",
    "layer_entropy(states): (..., layers + 1, tokens, dims) -> (..., layers + 1)",
    _example(1),
    _laws(1, rows="tokens", convention=False),
)

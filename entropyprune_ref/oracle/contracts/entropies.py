"""Contracts of sections 1, 3 and 4: functions that give one entropy for each matrix of a stack.

What is *not* accepted, though a textbook may have it, because it is wrong where somebody will use it:

- centring twice: the Gram matrix of rows as they come, centred on both sides afterwards (as in kernel PCA). It is the
  same in exact arithmetic, but squares what a common shift costs: `kappa**2` in place of `kappa` (law "common shift").
  Nor centring once more after rows were normalised: those of `ROW_NORMALIZED` no longer sum to zero.
- `log(levels + 1e-12)`, and any other constant that is added to eigenvalues, traces or norms: it is off by as much for
  each eigenvalue, which float64 shows and float32 does not, and by everything where features are small (law "scale").
- `log s - sum(levels * log(levels)) / s`, with s the sum of the levels, is accepted: its rounding is in `evaluation`.

Inputs are finite: a kernel need not look for NaN. (A whole program must, and the vectors say so.)
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...collapse import layer_entropy
from ...entropy import matrix_entropy
from ...scoring import CONVENTIONS, token_entropy
from ..inputs.case import Case, Setting
from ..inputs.matrices import build, empty_batches, largest_rank, matrices, scale_bounds
from ..plain.entropies import plain_matrix_entropy, plain_token_entropy
from ..tolerances import allowance, entropy_floor, token_entropy_floor
from ..trial.memory import remembered
from ..trial.trial import Trial
from .contract import Contract, Law, Named

MOST_PARTS = 8
"""Of a large stack so many matrices are tried one by one."""


def _reference(setting: Setting, features: Tensor) -> tuple[Tensor, Tensor]:
    """Exact entropies of the numbers that the candidate was given, and what it may be off."""
    exact, claimed, dtype = features.to(torch.float64), features.to(setting.computes_in), setting.computes_in
    if setting.contract == "token_entropy":
        expected = token_entropy(exact, setting.convention)
        floor = token_entropy_floor(exact, setting.convention, dtype)
        plain = plain_token_entropy(claimed, setting.convention)
    else:
        expected = (layer_entropy if setting.contract == "layer_entropy" else matrix_entropy)(exact)
        floor = entropy_floor(exact, dtype)
        plain = plain_matrix_entropy(claimed)
    return expected, allowance(floor, plain, expected, dtype)


def _agrees(trial: Trial) -> None:
    """The candidate's entropies are those of the reference, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    answer = trial.call(features)
    expected, allowed = remembered(trial, lambda: _reference(trial.setting, features))
    trial.close(trial.tensor(answer, tuple(features.shape[:-2]), expected=expected), expected, allowed)


def _in_range(trial: Trial) -> None:
    """The candidate's entropies lie between zero and the logarithm of the largest possible rank, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    got = trial.tensor(trial.call(features), tuple(features.shape[:-2]))
    allowed = remembered(trial, lambda: _reference(trial.setting, features))[1]
    high = math.log(max(1, largest_rank(tuple(features.shape))))
    trial.close(got, got.clamp(0, high), allowed)


def _part_by_part(trial: Trial) -> None:
    """The candidate gives a stack what it gives its matrices one by one, to rounding."""
    features = build(trial.case, trial.setting.dtype)
    whole = trial.tensor(trial.call(features), tuple(features.shape[:-2])).flatten()
    stack = features.reshape(-1, *features.shape[-2:])
    some = torch.linspace(0, len(stack) - 1, min(len(stack), MOST_PARTS)).long()
    allowed = _reference(trial.setting, stack[some])[1]
    axes = () if trial.setting.contract == "matrix_entropy" else (1,)
    parts = [trial.tensor(trial.call(part.reshape(*axes, *part.shape)), axes).reshape(()) for part in stack[some]]
    trial.close(whole[some], torch.stack(parts), 2 * allowed, roundings=2)


def _twice(trial: Trial) -> None:
    """The candidate gives the same input the same entropies again, to rounding, whatever it was asked in between.

    The first answer is read after the next call, which must not have written to it.
    """
    features, shape = build(trial.case, trial.setting.dtype), tuple(trial.case.numbers["batch"])
    other = build(replace(trial.case, numbers={**trial.case.numbers, "seed": 2**17}), trial.setting.dtype)
    answer, _ = trial.call(features), trial.call(other)
    first = trial.tensor(answer, shape).clone()
    second = trial.tensor(trial.call(features), shape)
    expected, allowed = remembered(trial, lambda: _reference(trial.setting, features))
    trial.close(first, expected, allowed)
    trial.close(second, first, 2 * allowed, roundings=2)


def _real(setting: Setting, axes: int) -> list[Case]:
    """Stacks of the sizes of real models, in one layout after the other; the first six or eight by the quick size too.

    Heads and head sizes of LLaVA-1.5-7B, 13B and Qwen2.5-VL-7B, and wider than any; more matrices than a grid of 16
    bits has blocks; states of 33 and 41 layers, of images with a class token, wide and of many tokens, though not both.
    Whoever takes the larger of the two dual matrices is right, so none has a side beyond 4,225, and those of many
    layers stay far below.
    """
    if setting.contract == "token_entropy":
        sizes = [[576, 32, 128], [576, 40, 128], [64, 28, 128], [5, 136, 640], [1, 2880, 6, 12], [3, 23040, 3, 5]]
        more = [[1, 576, 28, 128], [2880, 32, 128], [2, 23040, 4, 16], [1, 1030, 1040]]
    else:
        sizes = [[1, 577, 2049], [3, 11, 576, 64], [41, 289, 96], [1, 2881, 32], [1, 4225, 16], [1, 33, 4097]]
        sizes += [[1, 1030, 1040], [1700, 41, 3, 5]]
        more = [[1, 2880, 256], [41, 576, 192]]
    cases = []
    for number, (*batch, rows, columns) in enumerate(sizes + more):
        numbers = {"batch": batch, "rows": rows, "columns": columns, "seed": setting.seed % 2**16 + number}
        family = "as in models" if rows < 1000 or columns < 1000 else "gaussian"  # of which the entropy is largest
        if setting.computes_in == torch.float16:  # whose range ends at sums of squares of a few hundred numbers
            family, numbers["power"] = "scaled", min(scale_bounds(setting, rows, columns)[1], -1)
        cases.append(Case(family, numbers | {"layout": REAL_LAYOUTS[number % len(REAL_LAYOUTS)]}))
    return cases


REAL_LAYOUTS = ("heads first", "leading strided", "reversed", "offset")
"""Layouts of the inputs of real sizes, one after the other."""


def _laws(axes: int, *, rows: str, convention: bool) -> tuple[Law, ...]:
    """The laws of an entropy of matrices with `axes` axes before their own two, whose rows are `rows`."""
    least = 2 if convention else 1

    def law(name: str, statement: str, family: str, judge: Callable[[Trial], None] = _agrees, **options: Any) -> Law:
        def cases(setting: Setting) -> Any:
            # one row has no entropy per log of the rows
            smallest = max(options.get("least_rows", 1), least if setting.convention.log_heads else 1)
            chosen = "gaussian" if family == "as in models" and setting.computes_in == torch.float16 else family
            return matrices(setting, chosen, axes, **options | {"least_rows": smallest})

        return Law(name, statement, cases, judge)

    return (
        law("value", "the entropy of ordinary matrices is that of the equation, in nats", "gaussian"),
        Law(
            "real sizes",
            "so it is at the sizes of real models",
            lambda setting: _real(setting, axes),
            _agrees,
            first=6 if convention else 8,
        ),
        law("as in models", "so it is at the magnitudes of trained models, whose sums are large", "as in models"),
        law("range", "entropies lie between 0 and log min(rows - 1, columns)", "gaussian", _bounded_unless_released),
        law("known spectrum", "the entropy is that of the eigenvalues, over orders of magnitude", "known spectrum"),
        law("slow decay", "no eigenvalue is left out, however many there are", "power law"),
        law(
            "tail",
            "small eigenvalues count, one or all but the largest, with nothing between",
            "tail",
            least_rank=2,
        ),
        law("rank one", f"{rows} on one line have no entropy", "rank one"),
        law("equal eigenvalues", "r equal eigenvalues have entropy log r", "equal eigenvalues", least_rank=1),
        law("near-degenerate", "nearly equal eigenvalues are no trouble", "near-degenerate", least_rank=2),
        law("no variance", f"equal {rows} give 0 (by definition; never NaN)", "equal rows"),
        law("zero rows", f"{rows} that are zero, or all of them, are no trouble", "zero rows"),
        law("twin rows", f"{rows} that are the same as others are no trouble", "twin rows", least_rows=2),
        law("common shift", f"adding one vector to all {rows} changes nothing: they are centred", "shifted"),
        law("scale", "magnitudes count as the convention says, over the range of the dtype", "scaled"),
        law("one huge among small", "one huge matrix of a stack does not disturb the others", "one huge"),
        law("subnormals", "entries close to zero are no trouble", "subnormals"),
        law("views", "views are read as what they are, however they lie in memory", "gaussian", layout=True),
        law("part by part", "a stack has the entropies of its matrices one by one", "gaussian", _part_by_part),
        law(
            "repeatable", "the same call gives the same answer again, and answers stay as they are", "gaussian", _twice
        ),
        Law("empty batch", "no matrices have no entropies", lambda _: empty_batches(axes), _agrees),
    )


def _bounded_unless_released(trial: Trial) -> None:
    """The range law for what has a range; otherwise agreement."""
    (_in_range if trial.setting.convention.trace_normalized else _agrees)(trial)


def scores_of(convention: str | None) -> Callable[[Tensor], Tensor]:
    """Token entropy in a convention."""
    return lambda queries: token_entropy(queries, CONVENTIONS[convention or "paper"])


def _example(axes: int) -> Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]:
    return lambda: ((torch.zeros(*[1] * axes, 2, 2),), {})


MATRIX_ENTROPY = Contract(
    "matrix_entropy",
    "matrix_entropy(features): (..., samples, dims) -> (...)",
    Named(
        "Von Neumann entropy of the features (Eq. 1.4): centre the rows, Z; eigenvalues x of Z^T Z over their sum; "
        "-sum x log x with 0 log 0 = 0.",
        {"features": "(..., samples, dims), float64: samples are rows, and are centred"},
        {"entropy": "(...), nats; 0 without variance"},
        lambda ask, given: {"entropy": ask(given["features"])},
        lambda _: matrix_entropy,
    ),
    _example(0),
    _laws(0, rows="samples", convention=False),
)

TOKEN_ENTROPY = Contract(
    "token_entropy",
    "token_entropy(queries): (..., tokens, heads, head_dim) -> (..., tokens)",
    Named(
        "Entropy of each token over its heads (Eqs. 3.1 to 3.3): centre the rows, Z; if row_normalized, divide each by "
        "its norm, a zero row stays zero; eigenvalues x of Z Z^T, over their sum if trace_normalized, else over heads; "
        "raise them to the clamp if there is one; -sum x log x, over log(heads) if log_heads.",
        {"queries": "(..., tokens, heads, head_dim), float64: heads are rows, and are centred"},
        {"entropy": "(..., tokens), nats; under 'released' in units of log(heads) nats"},
        lambda ask, given: {"entropy": ask(given["queries"])},
        scores_of,
    ),
    _example(1),
    _laws(1, rows="heads", convention=True),
)

LAYER_ENTROPY = Contract(
    "layer_entropy",
    "layer_entropy(states): (..., layers + 1, tokens, dims) -> (..., layers + 1)",
    Named(
        "Matrix entropy, as in matrix_entropy, of the visual tokens' states at every layer (Eq. 4.1).",
        {"states": "(..., layers + 1, tokens, dims), float64: tokens are rows, and are centred"},
        {"entropy": "(..., layers + 1), nats"},
        lambda ask, given: {"entropy": ask(given["states"])},
        lambda _: layer_entropy,
    ),
    _example(1),
    _laws(1, rows="tokens", convention=False),
)

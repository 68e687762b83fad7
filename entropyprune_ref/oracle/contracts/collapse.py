"""Contract of section 4: the Entropy Collapse Layer of given curves."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from ...collapse import collapse_layer
from ..inputs.case import Case, Setting
from ..inputs.curves import (
    build,
    disagreeing_samples,
    equal_drops,
    flat,
    late_drop,
    near_tie,
    noisy_decay,
    real,
    rising,
    single_step,
    two_camps,
    two_drops,
)
from ..tolerances import acceptable_layers
from ..trial.answers import shown, whole_number
from ..trial.memory import remembered
from ..trial.trial import Trial
from .contract import Contract, Law, Named


def _layer(trial: Trial, answer: Any, layers: int) -> int | None:
    """The layer that was answered: an int, None for no collapse, or an object with either as its `layer`."""
    if not isinstance(answer, Tensor) and not hasattr(answer, "__array__"):
        try:
            answer = getattr(answer, "layer", answer)
        except Exception as error:
            raise trial.broken("kind", f"result.layer cannot be read: {type(error).__name__}") from None
    if answer is None:
        return None
    layer = whole_number(trial, answer, "layer")
    if not 1 <= layer <= layers:
        raise trial.broken(trial.law, f"layer must be None or between 1 and {layers}, got {shown(layer)}")
    return layer


def _judged(trial: Trial, curves: Tensor) -> None:
    """The candidate's layer is one that rounding can explain."""
    layer = _layer(trial, trial.call(curves), curves.shape[-1] - 1)
    accepted = remembered(trial, lambda: acceptable_layers(curves, trial.setting.computes_in))
    if accepted[layer or 0]:
        return
    expected = collapse_layer(curves)
    drops = -curves.to("cpu", torch.float64).reshape(-1, curves.shape[-1]).mean(0).diff()
    of = "none" if layer is None else f"{layer}, where the mean drop is {float(drops[layer - 1]):.6g} nats"
    largest = f"the largest mean drop is {expected.drop:.6g} nats"
    others = [place or None for place, fits in enumerate(accepted) if fits and (place or None) != expected.layer]
    also = f" (within rounding also {', '.join(map(str, others))})" if others else ""
    raise trial.broken(trial.law, f"expected layer {expected.layer}{also}: {largest}; got {of}")


def _agrees(trial: Trial) -> None:
    """The candidate's layer is one that rounding can explain."""
    _judged(trial, build(trial.case, trial.setting.dtype))


def _with_and_without_samples(trial: Trial) -> None:
    """A curve without the axis of samples, then the same curve as one sample."""
    curve = build(trial.case, trial.setting.dtype)
    _judged(trial, curve)
    _judged(trial, curve[None])


def _factors(setting: Setting) -> SearchStrategy[Case]:
    """Curves scaled by powers of two as far as all of their quanta and sums are ordinary numbers."""
    return two_drops(setting, powers=(-13, 8) if setting.dtype == torch.float16 else (-40, 40))


def _law(
    name: str,
    statement: str,
    cases: Callable[[Setting], SearchStrategy[Case] | list[Case]],
    judge: Callable[[Trial], None] = _agrees,
) -> Law:
    return Law(name, statement, cases, judge)


def _found(found: Any) -> int:
    """The layer, or 0 for none: from an int, None, or an object whose attribute `layer` is either."""
    return int(getattr(found, "layer", found) or 0)


COLLAPSE_LAYER = Contract(
    "collapse_layer",
    "collapse_layer(curves): (layers + 1,) or (samples, layers + 1) -> int, or None for no collapse; "
    "or an object whose attribute 'layer' is one of them",
    Named(
        "The state into which the entropy falls most, on average over samples, the earliest of equal ones; none if "
        "that does not exceed 2^-42 times the largest magnitude (Eqs. 4.2 and 4.3; inferred).",
        {"curves": "(layers + 1,) or (samples, layers + 1), float64: entropies in nats"},
        {"layer": "(), the first state after the drop, from 1; 0 if no drop is found"},
        lambda ask, given: {"layer": _found(ask(given["curves"]))},
        lambda _: collapse_layer,
    ),
    lambda: ((torch.zeros(1, 2),), {}),
    (
        _law("after the drop", "the layer is the first state after the drop", single_step),
        _law("real sizes", "so it is as deep as models are, and over as many samples as are measured", real),
        _law("late drop", "a drop into the last state is found like any other", late_drop),
        _law("largest drop", "the largest drop counts, not the first, nor a rise", two_drops),
        _law("earliest of equals", "of equally large drops the earliest counts", equal_drops),
        _law("none in a flat curve", "a curve that does not change has no collapse", flat),
        _law("none in a rising curve", "a curve that never falls has no collapse", rising),
        _law("mean over samples", "drops are averaged over samples before the largest is taken", disagreeing_samples),
        _law("many samples", "each sample counts once, however many there are", two_camps),
        _law("one sample", "a curve alone and a set of one curve are the same", two_drops, _with_and_without_samples),
        _law(
            "constants", "adding a constant to all entropies changes nothing", lambda s: two_drops(s, shifts=(-64, 128))
        ),
        _law("factors", "multiplying all entropies by a positive factor changes nothing", _factors),
        _law("noisy curves", "curves as they are measured, to rounding in their dtype", noisy_decay),
        _law("near-ties", "of drops that nearly tie one of the largest counts, to rounding", near_tie),
        _law(
            "views",
            "views are read as what they are, however they lie in memory",
            lambda setting: disagreeing_samples(setting, views=True),
        ),
    ),
)

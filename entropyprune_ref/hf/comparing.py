"""One prompt of a model of the library, whole and pruned: answers, time, caches, and what was kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from entropyprune_ref.flops import DecoderSize, Flops, prefill_flops, pruned_prefill_flops
from entropyprune_ref.pruner import EntropyPrune

from .passes import Prefill
from .pruned import pruned


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        tokens: Ids of the answer.
        seconds: Seconds of a prefill (median), with the vision tower and the last position's logits.
        cache_bytes: Bytes of keys and values behind the prefill.
        flops: FLOPs of the decoder and the last position's logits; of the method's scores too, if it is pruned.
    """

    tokens: list[int]
    seconds: float
    cache_bytes: int
    flops: Flops


@dataclass(frozen=True)
class Comparison:
    """What a prompt costs and answers, whole and pruned; and what was kept of it."""

    unpruned: Side
    pruned: Side
    prefill: Prefill


@torch.no_grad()
def compare(
    model: Any,
    inputs: dict[str, Any],
    pruner: EntropyPrune,
    *,
    new_tokens: int = 64,
    rounds: int = 3,
    report: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Answers a prompt greedily, whole and pruned, and measures both.

    Args:
        model: A model of one of the `FAMILIES`.
        inputs: One prompt on its device.
        pruner: Where and how much.
        new_tokens: Most tokens of an answer, at least 1.
        rounds: Prefills of either kind that are timed, at least 1; they take turns, behind one that warms up.
        report: Called with stage, done, total.

    Raises:
        TypeError: Another model.
        ValueError: Nothing that can be pruned; the message says why.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    held, answers, last = [0, 0], [], None
    for turn in range(rounds + 1):
        for place, used in enumerate((None, pruner)):
            taken, cache, prefill = _prefilled(model, inputs, used)
            last = prefill or last
            held[place] = _bytes(cache)
            if turn:
                seconds[place].append(taken)
            if report is not None:
                report("prefills", 2 * turn + place + 1, 2 * rounds + 2)
    for place, used in enumerate((None, pruner)):
        answers.append(_answer(model, inputs, used, new_tokens))
        if report is not None:
            report("answers", place + 1, 2)
    assert last is not None
    flops = _flops(model, last, pruner)
    whole, short = (Side(answers[i], median(seconds[i]), held[i], flops[i]) for i in (0, 1))
    return Comparison(whole, short, last)


def _flops(model: Any, last: Prefill, pruner: EntropyPrune) -> tuple[Flops, Flops]:
    visual, plan = int((last.image_index >= 0).sum()), last.plan[0]
    if not visual:
        raise ValueError("inputs must hold a visual token, got none")
    size = DecoderSize.from_transformers(model.config)
    text = int(last.attended.sum()) - visual
    scoring = pruner.scorer is None
    return (
        prefill_flops(size, text_tokens=text, visual_tokens=visual, lm_head="last"),
        pruned_prefill_flops(
            size,
            text_tokens=text,
            visual_tokens=visual,
            prune_layer=plan.prune_layer,
            keep=plan.keep,
            lm_head="last",
            scoring=scoring,
        ),
    )


def _prefilled(model: Any, inputs: dict[str, Any], pruner: EntropyPrune | None) -> tuple[float, Any, Prefill | None]:
    def call() -> tuple[float, Any]:
        _wait(model)
        started = time.perf_counter()
        output = model(**inputs, use_cache=True, logits_to_keep=1)
        _wait(model)
        return time.perf_counter() - started, output.past_key_values

    if pruner is None:
        return *call(), None
    with pruned(model, pruner) as run:
        return *call(), run.last


def _answer(model: Any, inputs: dict[str, Any], pruner: EntropyPrune | None, new_tokens: int) -> list[int]:
    def call() -> list[int]:
        ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False, num_beams=1)
        return [int(token) for token in ids[0, inputs["input_ids"].shape[1] :]]

    if pruner is None:
        return call()
    with pruned(model, pruner):
        return call()


def _bytes(cache: Any) -> int:
    tensors: list[Tensor] = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)

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

from .families import anatomy
from .passes import Prefill
from .pruned import pruned


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        tokens: Ids of the answer.
        seconds: Of a prefill, median, with the vision tower and the last position's logits.
        cache_bytes: Of keys and values behind the prefill.
        flops: Of the decoder and the last position's logits; of the method's scores too, if it is pruned.
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
    layers = len(anatomy(model).layers)
    visual = 0
    answers, seconds, bytes_ = [], [[], []], [0, 0]  # type: ignore[var-annotated]
    last: Prefill | None = None
    for turn in range(rounds + 1):
        for place, used in enumerate((None, pruner)):
            taken, cache, prefill = _prefilled(model, inputs, used)
            last = prefill or last
            bytes_[place] = _bytes(cache)
            if turn:
                seconds[place].append(taken)
            if report is not None:
                report("prefills", 2 * turn + place + 1, 2 * rounds + 2)
    assert last is not None
    for place, used in enumerate((None, pruner)):
        answers.append(_answer(model, inputs, used, new_tokens))
        if report is not None:
            report("answers", place + 1, 2)
    size = DecoderSize.from_transformers(model.config)
    visual = int((last.image_index >= 0).sum())
    if not visual:
        raise ValueError("inputs must hold a visual token, got none")
    plan = last.plan[0]
    prompt: dict[str, Any] = {"text_tokens": inputs["input_ids"].shape[1] - visual, "visual_tokens": visual}
    prompt["lm_head"] = "last"
    assert plan.prune_layer < layers
    whole = prefill_flops(size, **prompt)
    short = pruned_prefill_flops(
        size, prune_layer=plan.prune_layer, keep=plan.keep, scoring=pruner.scorer is None, **prompt
    )
    return Comparison(
        Side(answers[0], median(seconds[0]), bytes_[0], whole),
        Side(answers[1], median(seconds[1]), bytes_[1], short),
        last,
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

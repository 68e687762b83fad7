"""The inputs among which witnesses are looked for: named calls of every contract, cheap ones first.

The domain that is searched: matrices of up to 1,100 on one axis (or on two), 33,000 scores, 1,100 samples or layers,
prompts of up to 1,100 tokens, 128 layers and 2^24 tokens in a budget, decoders of up to 405 billion parameters and a
million tokens in a count of FLOPs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .examples import DECODER, Call, normal, prefill_call

SEEDS = (0, 1)
EDGES = tuple(edge + off for edge in (8, 16, 32, 64, 128, 256, 1024) for off in (-1, 0, 1))

Made = tuple[str, list[Call]]
"""A name, and calls that are made one after the other, of which the last one counts."""


def _matrices(*shapes: tuple[int, ...]) -> Callable[[], Iterator[Made]]:
    def made() -> Iterator[Made]:
        for shape in shapes:
            yield f"normal {shape}", [((normal(*shape, seed=seed),), {}) for seed in SEEDS]
        yield "equal rows", [((normal(3, 1, 9, seed=seed).expand(3, 6, 9) * 0 + 1 + seed,), {}) for seed in SEEDS]
        yield "rank one", [((normal(3, 6, 1, seed=seed) @ normal(3, 1, 9, seed=9),), {}) for seed in SEEDS]
        yield (
            "a row at the mean",
            [((torch.cat([z := normal(3, 4, 9, seed=seed), z.mean(1, True)], 1),), {}) for seed in SEEDS],
        )
        yield "a row at the mean of one matrix", [((_at_the_mean(seed),), {}) for seed in SEEDS]
        yield "small", [((1e-9 * normal(3, 6, 9, seed=seed),), {}) for seed in SEEDS]
        yield "shifted", [((normal(3, 6, 9, seed=seed) + 1000,), {}) for seed in SEEDS]
        for shape in ((1, 1100, 1100), (1100, 3, 4), (2, 1100, 9), (2, 9, 1100), (2, 300, 310), (2, 310, 300)):
            yield f"normal {shape}", [((normal(*shape, seed=seed),), {}) for seed in SEEDS]

    return made


def _at_the_mean(seed: int) -> Tensor:
    """Three matrices, of which the second has a row that is zero once it is centred."""
    matrices = normal(3, 5, 9, seed=seed)
    matrices[1, 4] = matrices[1, :4].mean(0)
    return matrices


def _curves() -> Iterator[Made]:
    def of(rows: Tensor) -> Call:
        return (rows,), {}

    def step(samples: int, layers: int, sample: int, layer: int) -> Tensor:
        curves = torch.ones(samples, layers + 1, dtype=torch.float64)
        curves[sample, layer:] = 0
        return curves

    for place in (1, 2, 5, 6, 9, *EDGES, 70, 71, 300, 301, 1100):
        yield f"one drop at {place}", [of(step(1, 1100, 0, place if seed else 7)) for seed in SEEDS]
    for place in (1, 6, 71, 301, 1100):
        second = step(1, 1100, 0, 20) + 0.7 * step(1, 1100, 0, place)
        yield f"two drops, at 20 and {place}", [of(second if seed else -second) for seed in SEEDS]
    for place in (0, 5, 6, *EDGES, 70, 300, 1099):
        yield f"one drop in sample {place}", [of(step(1100, 3, place, 2) * (seed or -1)) for seed in SEEDS]
    for number in range(60):
        shape = ((4, 9), (2, 400), (1100, 5))[number % 3]
        yield f"noise {shape} {number}", [of(normal(*shape, seed=2 * number + seed)) for seed in SEEDS]
    for number in range(20):
        yield f"ties {number}", [of(normal(2, 12, seed=50 + 2 * number + seed).round()) for seed in SEEDS]
        near = (20 + 1e-4 * normal(1, 9, seed=number)).cumsum(-1).flip(-1)
        yield f"near-ties {number}", [of(near if seed else near.flip(-1)) for seed in SEEDS]
    yield "flat", [of(torch.full((3, 5), 2.0 + seed, dtype=torch.float64)) for seed in SEEDS]
    yield "rising", [of(torch.arange(6.0, dtype=torch.float64)[None] * (1 + seed)) for seed in SEEDS]


def _at_the_cut(place: int, sign: int) -> Tensor:
    """Scores of 1,200 tokens, all of one sign, of which one is the first that is not among the 500 highest."""
    ranks = normal(1200, seed=1).argsort().argsort().double()
    other = int(torch.nonzero(ranks == 699)[0])
    ranks[[place, other]] = ranks[[other, place]]
    return (ranks + (1 if sign > 0 else -1300))[None]


def _scores() -> Iterator[Made]:
    def of(scores: Tensor, keep: int) -> Call:
        return (scores, keep), {}

    for shape, keep in (((3, 9), 4), ((3, 9), 0), ((3, 9), 9), ((2, 400), 350), ((1100, 9), 4), ((2, 2500), 1100)):
        yield f"{keep} of {shape}", [of(normal(*shape, seed=seed), keep) for seed in SEEDS]
    for place in (0, 5, 70, 300, 1199):
        for sign in (1, -1):
            yield f"{place} at the cut, {sign:+}", [of(_at_the_cut(place, sign) + seed, 500) for seed in SEEDS]
    yield "70 of 70", [of(normal(2, 70, seed=seed), 70) for seed in SEEDS]
    yield "ties", [of(normal(3, 40, seed=seed).round(), 17) for seed in SEEDS]
    yield "near-ties", [of(1 + 1e-5 * normal(3, 40, seed=seed), 17) for seed in SEEDS]
    yield "negative", [of(-normal(3, 40, seed=seed).abs(), 17) for seed in SEEDS]
    for edge in EDGES:
        yield (
            f"best in {edge}",
            [of(-(torch.arange(1200.0).double() - edge - seed + 1).abs()[None], 3) for seed in SEEDS],
        )
    yield "2,000 of 33,000", [of(normal(1, 33000, seed=seed), 2000) for seed in SEEDS]
    yield "none of nine less one", [of(normal(9, seed=seed), -1) for seed in SEEDS]
    yield "ten of nine", [of(normal(9, seed=seed), 10) for seed in SEEDS]


def _budgets() -> Iterator[Made]:
    random = torch.Generator().manual_seed(0)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=random))

    for number in range(600):
        layers = whole(2, 128)
        visual = whole(1, 2**24 if number % 4 == 0 else 30000 if number % 4 == 1 else 300)
        sizes = {
            "visual_tokens": visual,
            "layers": layers,
            "prune_layer": whole(1, min(layers - 1, 6 if number % 3 else 127)),
        }
        spent = sizes["prune_layer"] * visual
        keep = whole(0, visual)
        average = (spent + (layers - sizes["prune_layer"]) * keep) / layers
        average = (int(average), average, round(average, 2), spent / layers)[number % 4]
        yield f"budget {number}", [((average,), sizes)]
    good = {"visual_tokens": 100, "layers": 10, "prune_layer": 2}
    for wrong in ({"prune_layer": 0}, {"prune_layer": 10}, {"prune_layer": 11}, {"visual_tokens": 0}, {"layers": 0}):
        yield f"impossible {wrong}", [((50,), good | wrong)]
    for average in (101, -1, 19, 20, 19.9, 100, 0, 99.5):
        yield f"average {average}", [((average,), good)]
    yield "no tokens", [((0,), good | {"visual_tokens": 0})]
    yield "one layer", [((0,), good | {"layers": 2, "prune_layer": 1})]


def _prompts() -> Iterator[Made]:
    large = {"layers": 126, "hidden": 16384, "heads": 128, "kv_heads": 8, "head_dim": 128, "mlp": 53248}
    gemma = {"layers": 46, "hidden": 4608, "heads": 32, "kv_heads": 16, "head_dim": 256, "mlp": 36864}
    odd = {"layers": 77, "hidden": 3301, "heads": 69, "kv_heads": 69, "head_dim": 71, "mlp": 2777, "mlp_matrices": 2}
    ones = dict.fromkeys(DECODER, 1) | {"layers": 2, "mlp_matrices": 3}
    for label, size in (
        ("small", DECODER),
        ("ones", ones),
        ("narrow", DECODER | {"heads": 2}),
        ("405B", large),
        ("27B", gemma),
        ("odd", odd),
    ):
        for text, visual in ((11, 50), (35, 576), (3001, 999_999), (999_999, 3001), (0, 1), (1, 0)):
            prompt = DECODER | size | {"text_tokens": text, "visual_tokens": visual}
            name = f"{label}, {text} + {visual}"
            yield name, [((), prompt)]
            for before, keep in ((1, visual // 2), (size["layers"] - 1, visual // 3), (1, 0)):
                pruned = prompt | {"prune_layer": before, "keep": keep}
                yield f"{name}, {keep} from {before} on", [((), pruned)]


def _prefills() -> Iterator[Made]:
    ordinary: dict[str, Any] = {"layout": [2, -9, 1], "padding": []}
    longer = {"layout": [70, -400, 30], "keep": 350, "steps": 1}
    wide = {"hidden": 83, "mlp": 83, "heads": 12, "kv_heads": 4, "head_dim": 40, "vocabulary": 83}
    varied: tuple[tuple[str, dict[str, Any]], ...] = (
        ("as it is", {}),
        ("without padding", ordinary),
        ("none kept", {"keep": 0}),
        ("far positions", {"start": 40_000, "stride": 9}),
        ("an image first", {"layout": [-9, 2, -6, 1]}),
        ("wide", wide),
        ("wide, a larger image", wide | {"layout": [2, -60, 1], "keep": 30}),
        ("many heads", {"heads": 72, "kv_heads": 72, "head_dim": 4}),
        ("400 tokens", longer),
        ("400 tokens, a long head", longer | {"hidden": 320, "mlp": 320, "head_dim": 280, "heads": 2, "kv_heads": 2}),
        ("400 tokens, half of them", longer | {"keep": 200}),
        ("many words", {"vocabulary": 1100}),
        ("1,100 tokens", longer | {"layout": [40, -1100, 30], "keep": 1050}),
    )
    for name, numbers in varied:
        for inject in (False, True):
            yield f"{name}{', given' * inject}", [prefill_call(seed, inject=inject, **numbers) for seed in SEEDS]
    other: dict[str, Any] = {"layout": [-6, 2, -9, 2, 1], "kv_heads": 1}
    yield "another prompt of the same length", [prefill_call(0, **other), prefill_call(1)]


_STACKS = _matrices((3, 6, 9), (3, 9, 6), (12, 40, 50), (80, 5, 80), (2, 80, 90))
SEARCHED: dict[str, Callable[[], Iterator[Made]]] = {
    "matrix_entropy": _STACKS,
    "token_entropy": _STACKS,
    "layer_entropy": _STACKS,
    "collapse_layer": _curves,
    "select_tokens": _scores,
    "tokens_to_keep": _budgets,
    "prefill_flops": _prompts,
    "pruned_prefill": _prefills,
}

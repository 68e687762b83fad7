"""The whole method at work on the little world: where the entropy collapses, and what pruning there costs and spares."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from ._validation import require_integer
from .collapse import Collapse, collapse_layer, layer_entropy
from .flops import Flops, ProjectorSize, VisionSize, prefill_flops, pruned_prefill_flops
from .llava import EntropyPrune, Llava, Vocabulary, pixels
from .pruning import average_tokens
from .shapes.evaluation import GROUND_TRUTH, HELD_OUT, SHARES, Batch, Cell, Plan, scorers
from .shapes.questions import Question, ask
from .shapes.report import mean_interval
from .shapes.world import Scene, draw_scene

METHOD = {
    "PAPER": "token-entropy-paper",
    "ROW_NORMALIZED": "token-entropy-row_normalized",
    "RELEASED": "token-entropy-released",
}
"""The three conventions, under the names by which the evaluation knows them."""

COMPARED = (
    "random",
    "uniform-stride",
    "last-token-attention",
    "query-norm-low",
    "hidden-norm-low",
    "max-min-diversity",
    "lowest-entropy",
)
"""The rivals that the demonstration compares with; the evaluation has all of them."""

PICTURED = ("PAPER", "RELEASED", "last-token-attention")
"""Whose kept tokens the picture shows."""

FRESH = 1_000_000
"""Images of `run(seed=s)` have numbers from `FRESH * (s + 1)` on in the held-out stream, behind the evaluation's."""

Report = Callable[[str, int, int], None]
"""Called with the name of a stage, what is done of it, and all there is to do."""

Interval = tuple[float, float, float]
"""A share and its 95 % interval."""


@dataclass(frozen=True)
class Budget:
    """One budget and what it costs, summed over all prompts of the run; FLOPs are exact.

    Attributes:
        keep: Visual tokens kept from the prune layer on.
        average: Visual tokens per layer, averaged over all layers.
        decoder: FLOPs of the decoder's layers.
        prefill: FLOPs of all that the measured time covers but the scoring: tower, projector, decoder, language head.
        scoring: FLOPs of token entropy (Eq. 6.4).
    """

    keep: int
    average: float
    decoder: int
    prefill: int
    scoring: int


@dataclass(frozen=True)
class Contender:
    """One way to choose the tokens, a figure for each budget.

    Attributes:
        name: `PAPER`, `ROW_NORMALIZED`, `RELEASED`, a rival's name, or `ground-truth`.
        right: `(budgets, images)`, the share of an image's questions that are answered right.
        seconds: Median prefill time with the scoring, or None for the ground truth, which a model has no access to.
    """

    name: str
    right: np.ndarray
    seconds: list[float] | None

    def accuracy(self) -> list[Interval]:
        """Mean over images with its interval, for each budget."""
        return [mean_interval(row) for row in self.right]


@dataclass(frozen=True)
class Demo:
    """All that a run finds."""

    images: int
    kinds: tuple[str, ...]
    curves: Float64[Tensor, "images states"]
    collapse: Collapse
    layer: int
    why: str
    unpruned: Contender
    unpruned_cost: Budget
    budgets: list[Budget]
    contenders: list[Contender]

    def verdicts(self) -> list[str]:
        """One sentence a budget: the best convention against the best rival, on the same questions."""
        return [self._verdict(place) for place in range(len(self.budgets))]

    def _verdict(self, place: int) -> str:
        def best(names: Sequence[str]) -> Contender:
            return max((c for c in self.contenders if c.name in names), key=lambda c: float(c.right[place].mean()))

        own, rival = best(list(METHOD)), best(COMPARED)
        gap, low, high = mean_interval(own.right[place] - rival.right[place])
        figures = f"{100 * gap:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
        outcome = "the method wins" if low > 0 else "the rival wins" if high < 0 else "no clear difference"
        return (
            f"{self.budgets[place].keep} kept: best convention {own.name} {own.right[place].mean():.1%}, "
            f"best rival {rival.name} {rival.right[place].mean():.1%}: {outcome} ({figures})"
        )


def run(
    model: Llava,
    *,
    images: int = 64,
    seed: int = 0,
    layer: int | None = None,
    keeps: Sequence[int] = SHARES,
    rounds: int = 5,
    report: Report | None = None,
) -> Demo:
    """Runs the method and its rivals on images that the model was not trained on.

    Args:
        model: A model of the little world.
        images: How many are drawn, at least 2; each is asked one question of every type.
        seed: Which images.
        layer: The prune layer; default: the Entropy Collapse Layer of these images, or 1 where there is none.
        keeps: Visual tokens kept, one budget each.
        rounds: Repetitions of every timing; the timings take turns, so that a busy machine is busy for all.
        report: Progress callback.

    Raises:
        TypeError: A number is not an int.
        ValueError: A number is out of range.

    Properties:
        - repeats itself, timings aside (`test_demo_repeats_itself`)
        - keeping every token changes no answer (`test_demo_that_keeps_every_token_changes_no_answer`)
    """
    report = report or (lambda *_: None)
    require_integer("images", images, 2)
    require_integer("seed", seed, 0)
    require_integer("rounds", rounds, 1)
    kinds = Plan().kinds
    scenes, questions = draw(images, seed, kinds)
    depth, visual = model.config.decoder.layers, model.config.vision.patches
    curves = entropy_curves(model, np.stack([scene.image for scene in scenes]), report)
    found = collapse_layer(curves)
    layer, why = prune_layer(found, layer, depth)

    names = {**METHOD, **{name: name for name in COMPARED}, GROUND_TRUTH: GROUND_TRUTH}
    plan = _Plan(kinds=kinds, layers=(layer,), keeps=tuple(keeps), names=tuple(names.values()))
    first, chunk, parts = _first(seed), 16, []
    for start in range(0, images, chunk):
        indices = range(first + start, first + min(start + chunk, images))
        parts.append(Batch(model, plan, indices).run()[0])
        report("questions", min(start + chunk, images), images)
    right = np.concatenate(parts, axis=1).mean(axis=2)  # (cells, images)

    seconds = _timings(model, plan, scenes, questions, rounds, report)
    prompts = Counter(len(Vocabulary.of(model.config).prompt(q.text, 0)) for row in questions for q in row)
    contenders = [
        Contender(name, right[1 + at * len(keeps) : 1 + (at + 1) * len(keeps)], seconds.get(key))
        for at, (name, key) in enumerate(names.items())
    ]
    unpruned = Contender("unpruned", right[:1], seconds["unpruned"])
    budgets = [_cost(model, prompts, layer, keep) for keep in keeps]
    whole = _cost(model, prompts, None, visual)
    return Demo(images, kinds, curves, found, layer, why, unpruned, whole, budgets, contenders)


def draw(images: int, seed: int, kinds: tuple[str, ...]) -> tuple[list[Scene], list[tuple[Question, ...]]]:
    """Returns held-out images that neither training nor the evaluation uses, with a question of each of `kinds`."""
    indices = range(_first(seed), _first(seed) + images)
    scenes = [draw_scene(HELD_OUT, index) for index in indices]
    return scenes, [ask(scene, HELD_OUT, index, kinds) for scene, index in zip(scenes, indices, strict=True)]


@torch.no_grad()
def entropy_curves(model: Llava, images: np.ndarray, report: Report | None = None) -> Float64[Tensor, "images states"]:
    """Entropy of the visual tokens' states (Eq. 4.1) for uint8 images `(images, height, width, 3)`, in nats.

    Visual tokens stand before the question, so under causal attention no question changes their states.
    """
    question = Vocabulary.of(model.config).words[-1]
    curves = []
    for start in range(0, len(images), 16):
        part = torch.from_numpy(images[start : start + 16])
        output = model(pixels(part), [question] * len(part), keep_trace=True)
        visual = output.prompt.image_index[0] >= 0
        curves.append(layer_entropy(torch.stack([state[:, visual] for state in output.states], dim=1)))
        if report is not None:
            report("entropy curves", start + len(part), len(images))
    return torch.cat(curves)


def prune_layer(found: Collapse, asked: int | None, layers: int) -> tuple[int, str]:
    """Returns where to prune, and a sentence that says why there."""
    if asked is not None:
        require_integer("layer", asked, 1, layers - 1)
        return asked, f"pruning at layer {asked}, as asked"
    if found.layer is not None and found.prunable:
        return found.layer, f"pruning at the Entropy Collapse Layer, {found.layer}"
    reason = "none was found" if not found.found else "no layer is left to prune behind it"
    return 1, f"pruning at layer 1, not at the Entropy Collapse Layer: {reason}"


@torch.no_grad()
def kept_by(
    model: Llava, image: np.ndarray, question: str, layer: int, keep: int, names: Sequence[str] = PICTURED
) -> dict[str, Int[Tensor, " kept"]]:
    """Returns which visual tokens of one image each scorer keeps."""
    batch = pixels(torch.from_numpy(image)[None])
    known = scorers()
    return {
        name: model(batch, [question], pruner=EntropyPrune(layer, keep, scorer=known[METHOD.get(name, name)])).kept_visual()[0]
        for name in names
    }


@dataclass(frozen=True)
class _Plan(Plan):
    """The cells of a demonstration: the scorers named, at one layer."""

    names: tuple[str, ...] = ()

    def cells(self, model: Llava) -> list[Cell]:
        whole = Cell("unpruned", model.config.decoder.layers, model.config.vision.patches)
        return [whole, *(Cell(name, self.layers[0], keep) for name in self.names for keep in self.keeps)]


def _first(seed: int) -> int:
    return FRESH * (seed + 1)


def _timings(
    model: Llava, plan: _Plan, scenes: list[Scene], questions: list[tuple[Question, ...]], rounds: int, report: Report
) -> dict[str, list[float]]:
    """Median seconds of a prefill of up to 8 prompts, scoring included, by scorer and budget."""
    texts = [row[at % len(row)].text for at, row in enumerate(questions[:8])]
    batch = pixels(torch.stack([torch.from_numpy(scene.image) for scene in scenes[:8]]))
    known, pruners = scorers(), {("unpruned", 0): None}
    for name in plan.names:
        for place, keep in enumerate(plan.keeps):
            if name != GROUND_TRUTH:
                pruners[name, place] = EntropyPrune(plan.layers[0], keep, scorer=known[name])
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in pruners}
    for turn in range(rounds + 1):
        for key, pruner in pruners.items():
            started = time.perf_counter()
            with torch.no_grad():
                model(batch, texts, pruner=pruner)
            if turn:  # the first turn warms up
                taken[key].append(time.perf_counter() - started)
        report("timings", turn + 1, rounds + 1)
    medians: dict[str, list[float]] = {}
    for (name, _), values in taken.items():
        medians.setdefault(name, []).append(float(np.median(values)))
    return medians


def _cost(model: Llava, prompts: Counter[int], layer: int | None, keep: int) -> Budget:
    """FLOPs over prompts of the given numbers of text tokens, pruned at `layer` or not at all."""
    vision, size, visual = model.config.vision, model.config.decoder.size(), model.config.vision.patches
    around = {
        "lm_head": "all",
        "vision": VisionSize(
            vision.layers - 1, vision.hidden, vision.heads, vision.mlp, vision.image_size, vision.patch_size
        ),
        "projector": ProjectorSize(vision.hidden, size.hidden),
    }

    def count(text: int, **options: object) -> Flops:
        sizes = {"text_tokens": text, "visual_tokens": visual, **options}
        if layer is None:
            return prefill_flops(size, **sizes)  # type: ignore[arg-type]
        return pruned_prefill_flops(size, prune_layer=layer, keep=keep, scoring=True, **sizes)  # type: ignore[arg-type]

    decoder = sum((times * count(text) for text, times in prompts.items()), Flops())
    whole = sum((times * count(text, **around) for text, times in prompts.items()), Flops())
    share = visual if layer is None else average_tokens(keep, visual_tokens=visual, layers=size.layers, prune_layer=layer)
    scoring = whole.scoring
    return Budget(keep, float(share), decoder.total - scoring, whole.total - scoring, scoring)

"""The whole method at work on the little world: where the entropy collapses, what pruning there costs and spares."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ._validation import require_integer
from .collapse import Collapse, collapse_layer, layer_entropy
from .costs import Budget, Report, prefill_seconds, prompt_cost
from .llava import EntropyPrune, Llava, Vocabulary, pixels
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

Interval = tuple[float, float, float]
"""A share and its 95 % interval."""


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

    known = scorers()
    pruners: dict[tuple[str, int], EntropyPrune | None] = {("unpruned", 0): None}
    for key in plan.names:
        if key != GROUND_TRUTH:
            pruners |= {(key, place): EntropyPrune(layer, keep, scorer=known[key]) for place, keep in enumerate(keeps)}
    seconds = prefill_seconds(
        model, [scene.image for scene in scenes[:4]], [row[0].text for row in questions[:4]], pruners, rounds, report
    )
    prompts = Counter(len(Vocabulary.of(model.config).prompt(q.text, 0)) for row in questions for q in row)
    contenders = [
        Contender(name, right[1 + at * len(keeps) : 1 + (at + 1) * len(keeps)], _of(seconds, key))
        for at, (name, key) in enumerate(names.items())
    ]
    unpruned = Contender("unpruned", right[:1], _of(seconds, "unpruned"))
    budgets = [prompt_cost(model, prompts, layer, keep) for keep in keeps]
    whole = prompt_cost(model, prompts, None, visual)
    return Demo(images, kinds, curves, found, layer, why, unpruned, whole, budgets, contenders)


def draw(images: int, seed: int, kinds: tuple[str, ...]) -> tuple[list[Scene], list[tuple[Question, ...]]]:
    """Returns held-out images that neither training nor the evaluation uses, with a question of each of `kinds`."""
    indices = range(_first(seed), _first(seed) + images)
    scenes = [draw_scene(HELD_OUT, index) for index in indices]
    return scenes, [ask(scene, HELD_OUT, index, kinds) for scene, index in zip(scenes, indices, strict=True)]


@torch.no_grad()
def entropy_curves(
    model: Llava, images: np.ndarray, report: Report | None = None, stage: str = "entropy curves"
) -> Float64[Tensor, "images states"]:
    """Entropy of the visual tokens' states (Eq. 4.1) for uint8 images `(images, height, width, 3)`, in nats.

    Visual tokens stand before the question, so under causal attention no question changes their states.

    Args:
        model: A model of the little world.
        images: As many as wanted; they are read a few at a time.
        report: Progress callback.
        stage: What to call this in `report`.
    """
    question = Vocabulary.of(model.config).words[-1]
    curves = []
    for start in range(0, len(images), 16):
        part = torch.from_numpy(images[start : start + 16])
        output = model(pixels(part), [question] * len(part), keep_trace=True)
        visual = output.prompt.image_index[0] >= 0
        curves.append(layer_entropy(torch.stack([state[:, visual] for state in output.states], dim=1)))
        if report is not None:
            report(stage, start + len(part), len(images))
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
) -> dict[str, list[int]]:
    """Returns which visual tokens of one image each scorer keeps."""
    batch, known = pixels(torch.from_numpy(image)[None]), scorers()
    pruners = {name: EntropyPrune(layer, keep, scorer=known[METHOD.get(name, name)]) for name in names}
    outputs = {name: model(batch, [question], pruner=pruner) for name, pruner in pruners.items()}
    return {name: output.kept_visual()[0].tolist() for name, output in outputs.items()}


@dataclass(frozen=True)
class _Plan(Plan):
    """The cells of a demonstration: the scorers named, at one layer."""

    names: tuple[str, ...] = ()

    def cells(self, model: Llava) -> list[Cell]:
        whole = Cell("unpruned", model.config.decoder.layers, model.config.vision.patches)
        return [whole, *(Cell(name, self.layers[0], keep) for name in self.names for keep in self.keeps)]


def _first(seed: int) -> int:
    return FRESH * (seed + 1)


def _of(seconds: dict[tuple[str, int], float], name: str) -> list[float] | None:
    """The figures of one scorer in the order of the budgets."""
    return [value for (key, _), value in seconds.items() if key == name] or None

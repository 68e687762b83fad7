"""The whole method at work on the little world: where the entropy collapses, what pruning there costs and saves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_integer
from entropyprune_ref.collapse import Collapse, collapse_layer
from entropyprune_ref.evaluation.cells import Batch
from entropyprune_ref.evaluation.plan import GROUND_TRUTH, HELD_OUT, NONE_KEPT, SHARES, UNPRUNED, Cell, Plan, scorers
from entropyprune_ref.llava import Llava, Vocabulary, pixels
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.world.questions import Question, ask
from entropyprune_ref.world.scenes import Scene, draw_scene

from .contenders import COMPARED, METHOD, AtLayer, Contender
from .costs import Budget, Report, prefill_seconds, prompt_cost
from .where import entropy_curves, prune_layer

PICTURED = ("PAPER", "RELEASED", "last-token-attention")
"""Whose kept tokens the picture shows."""

FRESH = 1_000_000
"""Images of `run(seed=s)` have numbers from `FRESH * (s + 1)` on in the held-out stream, after the evaluation's."""


BRIEF = (48, 32, 16)
"""Budgets of the brief run: 33.3, 22.2 and 11.1 % of the visual tokens, the shares of the paper's tables."""


@dataclass(frozen=True)
class Demo:
    """Everything that a run finds.

    Attributes:
        images: Images drawn.
        kinds: Question types, one question of each on every image.
        curves: `(images, layers + 1)`, entropy of the visual tokens' states, in nats.
        collapse: The Entropy Collapse Layer of these images, or none.
        why: Why tokens were pruned where they were.
        unpruned: How the unpruned model does.
        unpruned_cost: What its prompts cost.
        budgets: What pruned prompts cost, one entry a budget.
        at: How the contenders do at the prune layer.
        earlier: The same at layer 1, in a full run where that is another and the user asked for none; without timings.
    """

    images: int
    kinds: tuple[str, ...]
    curves: Float64[Tensor, "images states"]
    collapse: Collapse
    why: str
    unpruned: Contender
    unpruned_cost: Budget
    budgets: list[Budget]
    at: AtLayer
    earlier: AtLayer | None


def run(
    model: Llava,
    *,
    images: int = 64,
    seed: int = 0,
    layer: int | None = None,
    full: bool = False,
    keeps: Sequence[int] | None = None,
    rounds: int = 5,
    report: Report | None = None,
) -> Demo:
    """Runs the method and its rivals on images that the model was not trained on.

    Args:
        model: A model of the little world.
        images: Number of images drawn, at least 2; each is asked one question of every type.
        seed: Number that decides which images.
        layer: The prune layer; default: the Entropy Collapse Layer of these images, or 1 where there is none.
        full: Whether layer 1 is compared too, and every contender is timed, not `PAPER` alone.
        keeps: Visual tokens kept, one budget each; default: `BRIEF`, or `SHARES` in a full run.
        rounds: Repetitions of every timing; the timings take turns, so that a busy machine is busy for all.
        report: Progress callback.

    Raises:
        TypeError: A number is not an int.
        ValueError: A number is out of range.
    """
    report = report or (lambda *_: None)
    require_integer("images", images, 2)
    require_integer("seed", seed, 0)
    require_integer("rounds", rounds, 1)
    keeps = keeps or (SHARES if full else BRIEF)
    scenes, questions = draw(images, seed, Plan().kinds)
    curves = entropy_curves(model, np.stack([scene.image for scene in scenes]), report)
    found = collapse_layer(curves)
    at, why = prune_layer(found, layer, model.config.decoder.layers)
    layers = (at, 1) if full and layer is None and at != 1 else (at,)

    names = {**METHOD, **{name: name for name in COMPARED}, GROUND_TRUTH: GROUND_TRUTH}
    plan = _Plan(images=images, layers=layers, keeps=tuple(keeps), averages=(), contenders=tuple(names.values()))
    right = _answers(model, plan, _first(seed), report)
    timed = [key for key in plan.contenders if key != GROUND_TRUTH] if full else [METHOD["PAPER"]]
    seconds = _timings(model, scenes, questions, at, keeps, timed, rounds, report)

    def contender(name: str, key: str, layer: int, numbers: Sequence[int]) -> Contender:
        shares = np.stack([right[Cell(key, layer, keep)] for keep in numbers])
        return Contender(name, shares, seconds.get(key) if layer in (at, plan.depth(model)) else None)

    tables = [
        AtLayer(
            layer,
            contender(NONE_KEPT, NONE_KEPT, layer, [0]),
            [contender(name, key, layer, keeps) for name, key in names.items()],
        )
        for layer in layers
    ]
    visual = model.config.vision.patches
    prompts = Counter(len(Vocabulary.of(model.config).prompt(q.text, 0)) for row in questions for q in row)
    return Demo(
        images=images,
        kinds=plan.kinds,
        curves=curves,
        collapse=found,
        why=why,
        unpruned=contender(UNPRUNED, UNPRUNED, plan.depth(model), [visual]),
        unpruned_cost=prompt_cost(model, prompts, None, visual),
        budgets=[prompt_cost(model, prompts, at, keep) for keep in keeps],
        at=tables[0],
        earlier=tables[1] if len(tables) > 1 else None,
    )


def _answers(model: Llava, plan: "_Plan", first: int, report: Report) -> dict[Cell, np.ndarray]:
    """The share of each image's questions that every cell answers right."""
    chunk, parts = 16, []
    report("questions", 0, plan.images)
    for start in range(0, plan.images, chunk):
        end = min(start + chunk, plan.images)
        parts.append(Batch(model, plan, range(first + start, first + end)).run()[0])
        report("questions", end, plan.images)
    return dict(zip(plan.cells(model), np.concatenate(parts, axis=1).mean(axis=2), strict=True))


def _timings(
    model: Llava,
    scenes: Sequence[Scene],
    questions: Sequence[Sequence[Question]],
    layer: int,
    keeps: Sequence[int],
    names: Sequence[str],
    rounds: int,
    report: Report,
) -> dict[str, list[float]]:
    """Median seconds of a prefill of four prompts, by contender and budget."""
    known = scorers()
    pruners: dict[tuple[str, int], EntropyPrune | None] = {(UNPRUNED, 0): None}
    for name in names:
        pruners |= {(name, place): EntropyPrune(layer, keep, scorer=known[name]) for place, keep in enumerate(keeps)}
    pictures, texts = [scene.image for scene in scenes[:4]], [row[0].text for row in questions[:4]]
    seconds = prefill_seconds(model, pictures, texts, pruners, rounds, report)
    return {name: [value for (key, _), value in seconds.items() if key == name] for name in (UNPRUNED, *names)}


def draw(images: int, seed: int, kinds: tuple[str, ...]) -> tuple[list[Scene], list[tuple[Question, ...]]]:
    """Returns held-out images that neither training nor the evaluation uses, with a question of each of `kinds`."""
    indices = range(_first(seed), _first(seed) + images)
    scenes = [draw_scene(HELD_OUT, index) for index in indices]
    return scenes, [ask(scene, HELD_OUT, index, kinds) for scene, index in zip(scenes, indices, strict=True)]


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
    """The plan of a demonstration: the contenders named, at the prune layer and perhaps at layer 1."""

    contenders: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        return self.contenders

    def depth(self, model: Llava) -> int:
        """The layer at which the unpruned model stands in the table of cells."""
        return model.config.decoder.layers


def _first(seed: int) -> int:
    return FRESH * (seed + 1)

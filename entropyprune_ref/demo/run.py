"""The whole method at work on the little world: where the entropy collapses, what pruning there costs and saves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_integer
from entropyprune_ref.collapse import Collapse, collapse_layer, layer_entropy
from entropyprune_ref.evaluation.cells import Batch
from entropyprune_ref.evaluation.plan import GROUND_TRUTH, HELD_OUT, SHARES, Cell, Plan, scorers
from entropyprune_ref.llava import Llava, Vocabulary, pixels
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.world.questions import Question, ask
from entropyprune_ref.world.scenes import Scene, draw_scene

from .contenders import COMPARED, METHOD, AtLayer, Contender
from .costs import Budget, Report, prefill_seconds, prompt_cost

PICTURED = ("PAPER", "RELEASED", "last-token-attention")
"""Whose kept tokens the picture shows."""

FRESH = 1_000_000
"""Images of `run(seed=s)` have numbers from `FRESH * (s + 1)` on in the held-out stream, after the evaluation's."""


@dataclass(frozen=True)
class Demo:
    """Everything that a run finds.

    Attributes:
        at: Results at the prune layer.
        earlier: Results at layer 1, if the prune layer is another and the user asked for none; without timings.
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
    keeps: Sequence[int] = SHARES,
    rounds: int = 5,
    report: Report | None = None,
) -> Demo:
    """Runs the method and its rivals on images that the model was not trained on.

    Args:
        model: A model of the little world.
        images: Number of images drawn, at least 2; each is asked one question of every type.
        seed: Number that decides which images.
        layer: The prune layer; default: the Entropy Collapse Layer of these images, or 1 where there is none.
        keeps: Visual tokens kept, one budget each.
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
    kinds = Plan().kinds
    scenes, questions = draw(images, seed, kinds)
    depth, visual = model.config.decoder.layers, model.config.vision.patches
    curves = entropy_curves(model, np.stack([scene.image for scene in scenes]), report)
    found = collapse_layer(curves)
    layers = (1,) if layer is None else ()
    layer, why = prune_layer(found, layer, depth)
    layers = tuple(dict.fromkeys((layer, *layers)))

    names = {**METHOD, **{name: name for name in COMPARED}, GROUND_TRUTH: GROUND_TRUTH}
    plan = _Plan(kinds=kinds, layers=layers, keeps=tuple(keeps), names=tuple(names.values()))
    first, chunk, parts = _first(seed), 16, []
    report("questions", 0, images)
    for start in range(0, images, chunk):
        indices = range(first + start, first + min(start + chunk, images))
        parts.append(Batch(model, plan, indices).run()[0])
        report("questions", min(start + chunk, images), images)
    right = dict(zip(plan.cells(model), np.concatenate(parts, axis=1).mean(axis=2), strict=True))

    known = scorers()
    pruners: dict[tuple[str, int], EntropyPrune | None] = {("unpruned", 0): None}
    for key in plan.names:
        if key != GROUND_TRUTH:
            pruners |= {(key, place): EntropyPrune(layer, keep, scorer=known[key]) for place, keep in enumerate(keeps)}
    pictures, texts = [scene.image for scene in scenes[:4]], [row[0].text for row in questions[:4]]
    seconds = prefill_seconds(model, pictures, texts, pruners, rounds, report)

    def contender(name: str, key: str, at: int, numbers: Sequence[int]) -> Contender:
        timed = [value for (timed_key, _), value in seconds.items() if timed_key == key] if at in (layer, depth) else []
        return Contender(name, np.stack([right[Cell(key, at, keep)] for keep in numbers]), timed or None)

    tables = [
        AtLayer(
            at,
            contender("none kept", "none kept", at, [0]),
            [contender(name, key, at, keeps) for name, key in names.items()],
        )
        for at in layers
    ]
    unpruned = contender("unpruned", "unpruned", depth, [visual])
    prompts = Counter(len(Vocabulary.of(model.config).prompt(q.text, 0)) for row in questions for q in row)
    budgets = [prompt_cost(model, prompts, layer, keep) for keep in keeps]
    whole = prompt_cost(model, prompts, None, visual)
    return Demo(images, kinds, curves, found, why, unpruned, whole, budgets, tables[0], (*tables, None)[1])


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
    if report is not None:
        report(stage, 0, len(images))
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
    """The cells of a demonstration: the scorers named, at the prune layer and perhaps at layer 1."""

    names: tuple[str, ...] = ()

    def cells(self, model: Llava) -> list[Cell]:
        whole = Cell("unpruned", model.config.decoder.layers, model.config.vision.patches)
        cells = [whole]
        for layer in self.layers:
            cells += [Cell("none kept", layer, 0)]
            cells += [Cell(name, layer, keep) for name in self.names for keep in self.keeps]
        return cells


def _first(seed: int) -> int:
    return FRESH * (seed + 1)

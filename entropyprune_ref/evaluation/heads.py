"""What the score sees: measures and controls of the entropy over heads, token by token, layer by layer."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from entropyprune_ref.llava.decoder import DecoderLayer
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.scoring import CONVENTIONS, token_entropy
from entropyprune_ref.world.questions import ask
from entropyprune_ref.world.scenes import GRID, Scene, draw_scene

from .head_controls import CONTROLS
from .plan import HELD_OUT
from .ranking import auc, residual, spearman
from .reading import Asked
from .statistics import Interval, mean_interval
from .summary import Summary

DRAWS = 3
"""Times that a control with chance in it is drawn for each image."""


def explanations(asked: Asked, image: int, layer: int) -> dict[str, np.ndarray]:
    """Returns what else the score of a visual token could be, `(tokens,)` each.

    Args:
        asked: Some images.
        image: Which of them.
        layer: The prune layer: queries are those of the layer before, states those that enter that layer.
    """
    view = asked.view(layer)
    visual = view.visual[image]
    queries = view.queries[image][:, visual].transpose(0, 1).double()  # tokens, heads, head_dim
    state = asked.states[layer - 1][image].cpu()[visual].double()
    keys = view.keys[image][:, visual].double()
    centred = queries - queries.mean(1, keepdim=True)
    directions = normalize(state, dim=-1).reshape(GRID, GRID, -1)
    near = torch.stack(
        [(directions * directions.roll(step, (0, 1))).sum(-1) for step in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    )
    place = torch.arange(GRID * GRID)
    middle = (GRID - 1) / 2
    found = {
        "query energy": centred.square().sum((1, 2)),
        "query norm": queries.square().sum((1, 2)),
        "disagreement of heads": _disagreement(queries.transpose(0, 1), keys),
        "hidden norm": state.norm(dim=-1),
        "distance from the mean state": (state - state.mean(0)).norm(dim=-1),
        "likeness to neighbours": near.mean(0).flatten(),
        "place in reading order": place,
        "distance from the centre": ((place // GRID - middle) ** 2 + (place % GRID - middle) ** 2).sqrt(),
    }
    return {name: values.double().numpy() for name, values in found.items()}


def _disagreement(queries: Tensor, keys: Tensor) -> Tensor:
    """How differently the heads of a token attend: the Jensen–Shannon divergence of their weights, in nats.

    Over the visual tokens up to itself, which is all that a visual token of one image attends to but two words.
    """
    tokens = queries.shape[1]
    logits = queries @ keys.mT / queries.shape[-1] ** 0.5  # heads, tokens, tokens
    earlier = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    weights = logits.masked_fill(~earlier, float("-inf")).softmax(-1)

    def entropy(shares: Tensor) -> Tensor:
        return -torch.xlogy(shares, shares).sum(-1)

    return entropy(weights.mean(0)) - entropy(weights).mean(0)


def measure(
    model: Llava, blank: Llava, scenes: list[Scene], asked: Asked, unknown: Asked, layer: int
) -> dict[str, dict[str, list[float]]]:
    """Returns every measure at one prune layer, one number an image.

    Args:
        model: A trained model.
        blank: The same architecture with random weights.
        scenes: The images.
        asked: The images as `model` reads them.
        unknown: The images as `blank` reads them.
        layer: The prune layer.

    Returns:
        By name of the score, by name of the measure: AUC for patches that show a thing, of the score, after each
        control and of what is left after the explanations; and rank correlations with each explanation.
    """
    view, other = asked.view(layer), unknown.view(layer)
    rows: dict[str, dict[str, list[float]]] = {}

    def note(score: str, name: str, value: float) -> None:
        rows.setdefault(score, {}).setdefault(name, []).append(value)

    before, random_before = model.decoder.layers[layer - 1], blank.decoder.layers[layer - 1]
    assert isinstance(before, DecoderLayer) and isinstance(random_before, DecoderLayer)
    random_projection = random_before.self_attn.q_proj.weight.detach().cpu().double()
    for image, scene in enumerate(scenes):
        on, visual = scene.patches_of(scene.things), view.visual[image]
        queries = view.queries[image][:, visual].transpose(0, 1).double()
        others = explanations(asked, image, layer)
        changed: dict[str, list[Tensor]] = {
            "random weights": [other.queries[image][:, visual].transpose(0, 1).double()]
        }
        state = before.input_layernorm(asked.states[layer - 1][image]).detach().cpu()[visual]
        changed["random query weights, trained states"] = [
            (state.double() @ random_projection.T).unflatten(-1, (queries.shape[1], -1))
        ]
        generator = torch.Generator().manual_seed(1000 * layer + image)
        for name, control in CONTROLS.items():
            changed[name] = [control(queries, generator) for _ in range(DRAWS)]
        for name, values in others.items():
            note(name, "AUC", auc(values, on))
        for convention, formula in CONVENTIONS.items():
            scores = token_entropy(queries, formula).numpy()
            note(convention, "AUC", auc(scores, on))
            for name, values in others.items():
                note(convention, f"rank correlation with {name}", spearman(scores, values))
            note(
                convention,
                "AUC left after all explanations",
                auc(residual(scores, np.stack(list(others.values()))), on),
            )
            note(convention, "AUC left after query energy", auc(residual(scores, others["query energy"][None]), on))
            for name, draws in changed.items():
                found = [auc(token_entropy(draw, formula).numpy().round(9), on) for draw in draws]
                note(convention, f"AUC, {name}", float(np.mean(found)))
    return rows


def summarise(rows: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Interval]]:
    """Returns every measure as a mean over images with its 95 % interval."""
    return {
        score: {name: mean_interval(np.array(values)) for name, values in measures.items()}
        for score, measures in rows.items()
    }


def run(model: Llava, seed: int, images: int, report: Callable[[int, int], None] | None = None) -> Summary:
    """Returns the summary of every prune layer of a model, on held-out images.

    Args:
        model: A trained model.
        seed: Draws the random weights that it is compared with.
        images: How many.
        report: Called with layers done and layers in all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blank = Llava(model.config).eval().to(model.device)
    scenes = [draw_scene(HELD_OUT, index) for index in range(images)]
    questions = [ask(scene, HELD_OUT, index, ("count",)) for index, scene in enumerate(scenes)]
    asked, unknown = (Asked(each, [scene.image for scene in scenes], questions) for each in (model, blank))
    layers, found = model.config.decoder.layers, {}
    for layer in range(1, layers):
        found[str(layer)] = summarise(measure(model, blank, scenes, asked, unknown, layer))
        if report is not None:
            report(layer, layers - 1)
    return {"images": images, "layers": found}

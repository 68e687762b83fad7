"""The bundled model asked about a user's own image, unpruned and pruned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref.collapse import Collapse, collapse_layer
from entropyprune_ref.evaluation.plan import SHARES, scorers
from entropyprune_ref.llava import Llava, pixels
from entropyprune_ref.pruner import EntropyPrune

from .contenders import COMPARED, METHOD
from .costs import Report
from .where import entropy_curves, prune_layer


@dataclass(frozen=True)
class OwnImage:
    """What the model says of a user's own image.

    Attributes:
        unpruned: The answer with all visual tokens.
        answers: By scorer, the answer at each budget.
        kept: By scorer, the tokens kept at each budget.
    """

    curves: Float64[Tensor, "1 states"]
    collapse: Collapse
    layer: int
    why: str
    unpruned: str
    answers: dict[str, list[str]]
    kept: dict[str, list[list[int]]]


def run_on(
    model: Llava,
    image: np.ndarray,
    question: str,
    *,
    layer: int | None = None,
    keeps: Sequence[int] = SHARES,
    report: Report | None = None,
) -> OwnImage:
    """Answers one question about one image, unpruned and pruned.

    Args:
        model: A model of the little world.
        image: `(size, size, 3)` uint8, RGB, as `read_image` returns it.
        question: Question in words that the model knows.
        layer: The prune layer; default: the Entropy Collapse Layer of this image, or 1 where there is none.
        keeps: Visual tokens kept, one budget each.
        report: Progress callback.

    Raises:
        ValueError: An unknown word in the question (the message lists those that are known), or a number out of range.
    """
    report = report or (lambda *_: None)
    batch = pixels(torch.from_numpy(image)[None])
    unpruned = model.generate(batch, [question]).texts[0]
    curves = entropy_curves(model, image[None])
    found = collapse_layer(curves)
    layer, why = prune_layer(found, layer, model.config.decoder.layers)
    names, known = (*METHOD, *COMPARED), scorers()
    answers, kept = {}, {}
    for done, name in enumerate(names, start=1):
        pruners = [EntropyPrune(layer, keep, scorer=known[METHOD.get(name, name)]) for keep in keeps]
        generations = [model.generate(batch, [question], pruner=pruner) for pruner in pruners]
        answers[name] = [generation.texts[0] for generation in generations]
        kept[name] = [generation.prefill.kept_visual()[0].tolist() for generation in generations]
        report("scorers", done, len(names))
    return OwnImage(curves, found, layer, why, unpruned, answers, kept)

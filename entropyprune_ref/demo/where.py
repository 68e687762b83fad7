"""Where the entropy of images collapses, and so where the demonstration prunes."""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_integer
from entropyprune_ref.collapse import Collapse, layer_entropy
from entropyprune_ref.llava import Llava, Vocabulary, pixels

from .costs import Report


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

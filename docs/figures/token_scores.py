"""Figures of the page on token scores."""

import matplotlib.pyplot as plt
import numpy as np
from _model import queries, scenes
from matplotlib.figure import Figure

from entropyprune_ref.scoring import CONVENTIONS, token_entropy
from entropyprune_ref.shapes.world import draw_scene  # noqa: F401  the images below are of this world

LAYER = 0


def maps() -> Figure:
    """One image of the little world, and the score of each of its patches in the three conventions."""
    scene, scored = scenes(8)[1], queries(LAYER, 8)[1]
    side = round(len(scored) ** 0.5)
    figure, axes = plt.subplots(1, 4, figsize=(7, 2.2))
    axes[0].imshow(scene.image)
    axes[0].set_title("image", fontsize=9)
    for place, (name, convention) in zip(axes[1:], CONVENTIONS.items(), strict=True):
        place.imshow(token_entropy(scored, convention).reshape(side, side), cmap="viridis")
        place.set_title(name.upper(), fontsize=9)
    for place in axes:
        place.set(xticks=[], yticks=[])
        for edge in place.spines.values():
            edge.set_visible(False)
    return figure


def agreement() -> str:
    """How far two conventions keep the same tokens, on the bundled model's queries."""
    images, keep = 64, 48
    stack = queries(LAYER, images)
    kept = {
        name: np.argsort(-token_entropy(stack, c).numpy(), axis=1, kind="stable")[:, :keep]
        for name, c in CONVENTIONS.items()
    }
    names = list(kept)
    lines = ["| kept by both, of 48 | " + " | ".join(name.upper() for name in names) + " |", "| --- |" + " --- |" * 3]
    for one in names:
        cells = [
            np.mean([len(set(a) & set(b)) for a, b in zip(kept[one], kept[other], strict=True)]) for other in names
        ]
        lines.append(f"| {one.upper()} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    tokens = stack.shape[1]
    lines += [
        "",
        f"Mean over {images} images of the bundled model, queries of layer {LAYER}; two independent choices of "
        f"{keep} of {tokens} tokens share {keep * keep / tokens:.0f}.",
    ]
    return "\n".join(lines)

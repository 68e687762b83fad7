"""Figures of the page on token scores."""

import matplotlib.pyplot as plt
import numpy as np
from _model import queries, scenes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from entropyprune_ref.pruning import select_tokens
from entropyprune_ref.scoring import CONVENTIONS, token_entropy

LAYER, IMAGES, KEEP = 0, 16, 48
SHOWN = (1, 3)


def maps() -> Figure:
    """Images of the little world, and the scores of their patches in the three conventions."""
    figure, axes = plt.subplots(len(SHOWN), 4, figsize=(7, 3.8))
    for row, image in zip(axes, SHOWN, strict=True):
        scored = queries(LAYER, IMAGES)[image]
        side = round(len(scored) ** 0.5)
        row[0].imshow(scenes(IMAGES)[image].image)
        for place, convention in zip(row[1:], CONVENTIONS.values(), strict=True):
            place.imshow(token_entropy(scored, convention).reshape(side, side).numpy(), cmap="viridis")
    for place, name in zip(axes[0], ("image", *(name.upper() for name in CONVENTIONS)), strict=True):
        place.set_title(name, fontsize=9)
    scale = ScalarMappable(Normalize(0, 1), cmap="viridis")
    bar = figure.colorbar(scale, ax=axes, shrink=0.7, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["lowest\nof its map", "highest"], fontsize=8)
    bar.outline.set_visible(False)
    for place in axes.flat:
        place.set(xticks=[], yticks=[])
        for edge in place.spines.values():
            edge.set_visible(False)
    return figure


def agreement() -> str:
    """How far two conventions keep the same tokens, on the bundled model's queries."""
    stack = queries(LAYER, IMAGES)
    kept = {
        name.upper(): [set(select_tokens(scores, KEEP).tolist()) for scores in token_entropy(stack, convention)]
        for name, convention in CONVENTIONS.items()
    }
    lines = ["| convention | " + " | ".join(f"`{name}`" for name in kept) + " |", "| --- |" + " --: |" * len(kept)]
    for one, sets in kept.items():
        shares = [
            np.mean([len(left & right) for left, right in zip(sets, others, strict=True)]) for others in kept.values()
        ]
        lines.append(f"| `{one}` | " + " | ".join(f"{share:.1f}" for share in shares) + " |")
    tokens = stack.shape[1]
    lines += [
        "",
        f"Of {KEEP} tokens kept, how many two conventions share: means over {IMAGES} images, queries of layer {LAYER}. "
        f"Two independent choices of {KEEP} out of {tokens} share {KEEP * KEEP / tokens:.0f}.",
    ]
    return "\n".join(lines)

"""Figures of the page on token scores."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from _model import queries, scenes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from entropyprune_ref.gram import centred
from entropyprune_ref.pruning import select_tokens
from entropyprune_ref.scoring import CONVENTIONS, PAPER, token_entropy

LAYER, IMAGES, KEEP = 0, 16, 48
SHOWN = (1, 3)


HEADS = ((1.0, 0.2), (-0.6, 0.9), (0.3, -1.1), (-1.0, -0.4))
"""Queries of one token: those with which what can be moved begins."""


def heads() -> Figure:
    """One token's heads, the Gram matrix of what they do not share, and its scores as all queries grow."""
    token = torch.tensor(HEADS, dtype=torch.float64)
    rows = centred(token)
    figure, (plane, heat, curves) = plt.subplots(1, 3, figsize=(8, 2.9), width_ratios=(1, 1, 1.4))
    mean = token.mean(0)
    plane.plot(*mean, ".", color=plt.rcParams["text.color"])
    for number, (tip, row) in enumerate(zip(token, rows, strict=True), 1):
        plane.annotate("", xy=tip, xytext=mean, arrowprops={"arrowstyle": "->", "color": "C0", "shrinkA": 0})
        plane.text(*(tip + 0.22 * row / row.norm()), f"{number}", ha="center", va="center")
    plane.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[], aspect="equal", title="queries of 4 heads")

    gram = rows @ rows.mT
    limit = gram.abs().max()
    heat.imshow(gram.numpy(), cmap="RdBu", vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(gram.numpy()):
        ink = "white" if abs(value) > 0.6 * limit else "black"
        heat.text(j, i, f"{round(value, 1) + 0:.1f}".replace("-", "−"), ha="center", va="center", color=ink, fontsize=8)
    heat.set(xticks=range(4), yticks=range(4), title="their Gram matrix")
    heat.set_xticklabels(["1", "2", "3", "4"])
    heat.set_yticklabels(["1", "2", "3", "4"])

    factors = torch.logspace(-2, 1, 121, base=2, dtype=torch.float64)
    for number, (name, convention) in enumerate(CONVENTIONS.items()):
        scores = token_entropy(factors[:, None, None] * token, convention)
        curves.plot(factors, scores, ("-", "--", "-.")[number], label=name.upper())
    turn = math.sqrt(math.exp(float(token_entropy(token[None], PAPER)) - 1) / (float(gram.trace()) / len(token)))
    curves.axvline(turn, linestyle=":", linewidth=1, color=plt.rcParams["text.color"])
    curves.set_xscale("log", base=2)
    curves.set(xlabel="all queries times", xticks=[0.25, 0.5, 1, 2], title="their scores", ylim=(None, 1.5))
    curves.set_xticklabels(["¼", "½", "1", "2"])
    curves.legend(fontsize=8, loc="lower left")
    for place in (plane, heat, curves):
        place.title.set_fontsize(10)
    return figure


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

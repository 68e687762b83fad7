"""Figures of the page on pruning."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from start import method

LAYERS, TEXT, VISUAL, KEPT, PRUNE = 6, (3, 4), 9, 3, 2


def on_an_image() -> Figure:
    """The picture of the start page in a file of its own, so that a hidden one is never loaded from what is known."""
    return method()


def caches() -> Figure:
    """Who is in the cache of which layer: a toy prompt of 16 tokens, pruned at layer 2, and two decoded tokens."""
    figure, axes = plt.subplots(figsize=(7, 2.6))
    before, after = TEXT
    kept = {before + place for place in (1, 4, 7)}
    length = before + VISUAL + after
    for layer in range(LAYERS):
        for place in range(length + 2):
            visual = before <= place < before + VISUAL
            dropped = visual and layer >= PRUNE and place not in kept
            colour = "C0" if visual else ("C2" if place < length else "C1")
            axes.add_patch(
                plt.Rectangle(
                    (place, layer),
                    0.86,
                    0.8,
                    facecolor="none" if dropped else colour,
                    edgecolor=colour,
                    linewidth=0.7,
                    alpha=0.35 if dropped else 1,
                )
            )
    axes.set(xlim=(-0.3, length + 2.2), ylim=(-0.3, LAYERS), yticks=np.arange(LAYERS) + 0.4, yticklabels=range(LAYERS))
    axes.set(
        xticks=np.arange(length + 2) + 0.43, xticklabels=range(length + 2), xlabel="rotary position", ylabel="layer"
    )
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in ("C2", "C0", "C1")]
    axes.legend(handles, ["text", "visual", "decoded"], ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure

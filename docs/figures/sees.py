"""Tables and the figure of the pages on what the score sees and on counting, from committed measurements."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from entropyprune_ref.evaluation.heads_tables import (
    auc_table,
    control_table,
    correlation_table,
    counting_table,
    values,
)
from entropyprune_ref.scoring import CONVENTIONS

RESULTS = Path(__file__).parents[2] / "results"


@cache
def results() -> list[dict[str, Any]]:
    """What was measured of every seed."""
    return list(json.loads((RESULTS / "heads.json").read_text()))


def by_layer() -> str:
    """AUC of every score and explanation."""
    return auc_table(results())


def correlations() -> str:
    """With what the score goes together, at layer 1."""
    return correlation_table(results(), 1)


def controls() -> str:
    """What destroys the score, at layer 1."""
    return control_table(results(), 1)


def controls_at_2() -> str:
    """The same at the collapse layer."""
    return control_table(results(), 2)


def counting() -> str:
    """What is counted when some of the image is left."""
    return counting_table(json.loads((RESULTS / "counting.json").read_text()), 1)


def auc_by_layer() -> Figure:
    """AUC by prune layer: the conventions, and two quantities that read no entropy; every seed a dot."""
    shown = {**{name: name.upper() for name in CONVENTIONS}, "query energy": "query energy, low"}
    shown["distance from the mean state"] = "distance from the mean state"
    layers = [int(layer) for layer in results()[0]["layers"]]
    figure, axes = plt.subplots(figsize=(7, 3.4))
    marks = ["o", "s", "^", "v", "D"]
    for number, (name, label) in enumerate(shown.items()):
        found = np.array([values(results(), layer, name, "AUC") for layer in layers])
        found = 1 - found if name == "query energy" else found
        shift = 0.09 * (number - 2)
        axes.plot([layer + shift for layer in layers], found.mean(1), color=f"C{number}", linewidth=1.2)
        for place, layer in enumerate(layers):
            label_once = label if place == 0 else None
            axes.plot(
                [layer + shift] * len(found[place]),
                found[place],
                marks[number],
                color=f"C{number}",
                markersize=3,
                label=label_once,
            )
    axes.axhline(0.5, color="C7", linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set(xlabel="prune layer K (queries of layer K - 1)", ylabel="AUC", xticks=layers, ylim=(0, 1.03))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure

"""Figures of the page on the Entropy Collapse Layer."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from _model import curves
from matplotlib.figure import Figure

from entropyprune_ref.collapse import collapse_layer, other_definitions
from entropyprune_ref.evaluation.tables import collapse_table

RESULTS = Path(__file__).parents[2] / "results"
IMAGES = 128


@cache
def results() -> tuple[dict[str, Any], ...]:
    """The committed evaluations, one for each training seed."""
    return tuple(json.loads(path.read_text()) for path in sorted(RESULTS.glob("seed-*.json")))


def both() -> Figure:
    """Curves of single images and their mean, trained and with random weights."""
    figure, axes = plt.subplots(1, 2)
    span = max(float(curves(trained, IMAGES).max() - curves(trained, IMAGES).min()) for trained in (True, False))
    for place, trained in zip(axes, (True, False), strict=True):
        values = curves(trained, IMAGES).numpy()
        found = collapse_layer(curves(trained, IMAGES))
        states = np.arange(values.shape[1])
        place.plot(states, values.T, color="C0", alpha=0.12, linewidth=0.6)
        place.plot(states, values.mean(0), color="C0", marker="o", markersize=4, linewidth=2)
        if found.layer is not None:
            place.axvline(found.layer, color="C1", linestyle="--")
            place.text(found.layer + 0.08, values.max(), f"layer {found.layer}", color="C1", va="top")
        place.set(xlabel="state", xticks=states, ylim=(values.max() - span - 0.05, values.max() + 0.05))
        place.set_title("trained" if trained else "random weights", fontsize=10)
    axes[0].set_ylabel("entropy of the visual tokens, nats")
    return figure


def said() -> str:
    """What the detector says of both, in its own words."""
    lines = []
    for trained in (True, False):
        name = "Trained" if trained else "Random weights"
        lines.append(f"- {name}, {IMAGES} images: {collapse_layer(curves(trained, IMAGES))}.")
    return "\n".join(lines)


def definitions() -> str:
    """What other definitions say of the same curves."""
    made = {
        "bundled model": curves(True, IMAGES),
        "random weights": curves(False, IMAGES),
        "one step down": torch.tensor([3.0, 3.0, 2.0, 2.0, 2.0]),
        "two drops, the later larger": torch.tensor([4.0, 3.0, 3.0, 1.5, 1.5]),
        "steady decline": torch.tensor([4.0, 3.5, 3.0, 2.5, 2.0]),
        "rising": torch.tensor([1.0, 2.0, 3.0, 3.5, 4.0]),
    }
    names = list(other_definitions(made["rising"]))
    lines = [
        "| curve | mean drop (ours) | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "| --- | --- |" + " --- |" * len(names),
    ]
    for label, values in made.items():
        others = other_definitions(values)
        cells = [collapse_layer(values).layer, *(others[name] for name in names)]
        lines.append(f"| {label} | {' | '.join(str(cell or 'none') for cell in cells)} |")
    return "\n".join(lines)


def seeds() -> str:
    """The detector on every training seed, from the committed evaluations."""
    return collapse_table(list(results()))

"""The worked curve of the page on the Entropy Collapse Layer."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from entropyprune_ref.collapse import collapse_layer

CURVE = (4.0, 4.0, 1.0, 1.5, 1.0)


def curve() -> Figure:
    """A curve by hand, its drops, and the sharpness of the largest in standard deviations of the others."""
    values = torch.tensor(CURVE, dtype=torch.float64)
    found = collapse_layer(values)
    layer = found.layer
    if layer is None:
        raise ValueError(f"the worked curve must have a collapse, got {found}")
    drops = -values.diff()
    others = torch.cat((drops[: layer - 1], drops[layer:]))
    mean, spread = others.mean().item(), others.std(correction=0).item()
    ink = plt.rcParams["text.color"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.0))
    left.plot(values, marker="o")
    arrow = {"arrowstyle": "->", "color": "C1", "linewidth": 1.5}
    left.annotate("", (layer - 0.5, CURVE[layer]), (layer - 0.5, CURVE[layer - 1]), arrowprops=arrow)
    left.text(
        layer - 0.4, 2.6, f"drop {found.drop:g} into state {layer}:\nprune at layer {layer}", color="C1", fontsize=9
    )
    left.set(xlabel="state", ylabel="entropy, nats", xticks=range(len(CURVE)), ylim=(0, 4.4))
    states = range(1, len(CURVE))
    colours = ["C1" if state == layer else "C0" for state in states]
    right.bar(list(states), drops.tolist(), width=0.55, color=colours)
    right.axhspan(mean - spread, mean + spread, color=ink, alpha=0.15, linewidth=0)
    right.axhline(mean, color=ink, linewidth=0.8)
    right.annotate(
        "", (layer + 0.5, drops[layer - 1].item()), (layer + 0.5, mean), arrowprops=arrow | {"arrowstyle": "<->"}
    )
    right.text(
        layer + 0.6,
        1.7,
        f"sharpness\n{found.drop - mean:g} / {spread:.2f} = {found.sharpness:.2f}",
        color="C1",
        fontsize=9,
    )
    right.text(4.4, mean + spread + 0.1, "mean ± standard\ndeviation of the\nother drops", fontsize=8, va="bottom")
    right.set(xlabel="drop into state", ylabel="nats", xticks=list(states), xlim=(0.5, len(CURVE) + 0.9))
    return figure

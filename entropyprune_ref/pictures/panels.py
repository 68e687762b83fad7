"""The pictures: an entropy curve with its collapse, and images with the kept tokens shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from entropyprune_ref.collapse import Collapse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, FAINT = "#1f2430", "#c2410c", "#2563eb"


@dataclass(frozen=True)
class Panel:
    """One image with a caption and, by name, the visual tokens that are kept of it."""

    image: np.ndarray
    caption: str
    kept: Mapping[str, Sequence[int]]


def draw_curve(axes: "Axes", curves: Float[Tensor, "images states"], found: Collapse, layer: int | None = None) -> None:
    """Draws mean, spread and single curves over states, marks the collapse and the prune layer if it is another."""
    values = curves.double().numpy()
    states = np.arange(values.shape[1])
    mean, spread = values.mean(axis=0), values.std(axis=0)
    axes.plot(states, values.T, color=FAINT, alpha=min(0.25, 8 / len(values)), linewidth=0.6)
    axes.fill_between(states, mean - spread, mean + spread, color=FAINT, alpha=0.18, linewidth=0)
    label = "the image" if len(values) == 1 else f"mean ± sd of {len(values)} images"
    axes.plot(states, mean, color=FAINT, marker="o", markersize=4, label=label)
    if found.layer is not None:
        axes.axvspan(found.layer - 1, found.layer, color=ACCENT, alpha=0.12, linewidth=0)
        axes.axvline(found.layer, color=ACCENT, label=f"Entropy Collapse Layer {found.layer}")
    if layer is not None and layer != found.layer:
        axes.axvline(layer, color=INK, linestyle=":", label=f"pruned at layer {layer}")
    axes.set_title("Entropy of the visual tokens" + ("" if found.found else ": no collapse found"), fontsize=10)
    axes.set_xlabel("state (i enters decoder layer i)")
    axes.set_ylabel("matrix entropy (nats)")
    axes.set_xticks(states)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def draw_kept(axes: "Axes", image: np.ndarray, kept: Sequence[int], patch: int) -> None:
    """Draws an image with all but the kept patches faded to white and the kept ones outlined."""
    from matplotlib.patches import Rectangle

    grid = image.shape[0] // patch
    mask = np.zeros(grid * grid, dtype=bool)
    mask[np.asarray(kept, dtype=int)] = True
    whole = np.kron(mask.reshape(grid, grid), np.ones((patch, patch)))[..., None] > 0
    axes.imshow(np.where(whole, image, 255 - (255 - image) // 5), interpolation="nearest")
    for place in np.flatnonzero(mask):
        corner = (place % grid * patch - 0.5, place // grid * patch - 0.5)
        axes.add_patch(Rectangle(corner, patch, patch, fill=False, edgecolor=ACCENT, linewidth=0.7))
    axes.set_axis_off()


def save_picture(
    path: Path,
    curves: Float[Tensor, "images states"],
    found: Collapse,
    panels: Sequence[Panel],
    *,
    layer: int,
    patch: int,
) -> Path:
    """Writes one picture: the entropy curve, and beside it a row for each image and a column for each scorer.

    Args:
        path: A PNG file; its folder is made if needed.
        curves: `(images, layers + 1)`, in nats.
        found: The collapse of these curves.
        panels: At least one; all with the same scorers, and the same number kept.
        layer: Where the tokens were pruned.
        patch: Pixels on a side of a patch.

    Returns:
        `path`.
    """
    names = list(panels[0].kept)
    figure = new_figure(4.6 + 1.9 * (1 + len(names)), max(3.2, 2.15 * len(panels)))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[4.6, 1.9 * (1 + len(names))])[0]
    draw_curve(left.subplots(), curves, found, layer)
    cells = right.subplots(len(panels), 1 + len(names), squeeze=False)
    for row, panel in zip(cells, panels, strict=True):
        row[0].imshow(panel.image, interpolation="nearest")
        row[0].set_axis_off()
        row[0].set_title(panel.caption, fontsize=7)
        for axes, name in zip(row[1:], names, strict=True):
            draw_kept(axes, panel.image, panel.kept[name], patch)
            axes.set_title(f"{name}: {len(panel.kept[name])} kept", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def new_figure(width: float, height: float) -> "Figure":
    """Returns a figure without a graphical interface or global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.12)
    FigureCanvasAgg(figure)
    return figure

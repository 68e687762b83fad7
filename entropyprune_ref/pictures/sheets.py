"""The kept visual tokens drawn over the user's own pictures: whole images, tiles and frames."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .panels import ACCENT, FAINT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from entropyprune_ref.hf.sheets import Sheet


def save_sheets(path: Path, sheets: Sequence["Sheet"], kept: Collection[int], caption: str) -> Path:
    """Writes one picture with a cell for each sheet: what was dropped is faded, what was kept is outlined.

    Args:
        path: A PNG file; its folder is made if needed.
        sheets: Where the visual tokens lie.
        kept: Numbers of the visual tokens that were kept.
        caption: Above all.

    Returns:
        `path`.
    """
    columns = min(4, len(sheets), max(1, math.ceil(math.sqrt(len(sheets)))) + (len(sheets) == 3))
    rows = math.ceil(len(sheets) / columns)
    height, width = sheets[0].picture.shape[:2]
    wide = 3.4 if len(sheets) > 2 else 5.0
    figure = new_figure(wide * columns, rows * (wide * min(max(height / width, 0.4), 1.8) + 0.35) + 0.5)
    for axes, sheet in zip(figure.subplots(rows, columns, squeeze=False).flat, sheets, strict=False):
        draw_sheet(axes, sheet, kept)
    for axes in figure.axes[len(sheets) :]:
        axes.set_axis_off()
    figure.suptitle(caption, fontsize=9, wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def draw_sheet(axes: "Axes", sheet: "Sheet", kept: Collection[int]) -> None:
    """Draws one sheet; a bar at the right end of a row is a newline that was kept."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    chosen = np.isin(sheet.grid, list(kept))
    lines = np.isin(sheet.newlines, list(kept))
    left, top, right, bottom = sheet.area
    rows, columns = sheet.grid.shape
    step = (right - left) / columns, (bottom - top) / rows

    height, width = sheet.picture.shape[:2]
    column = np.floor((np.arange(width) + 0.5 - left) / step[0]).astype(int)
    row = np.floor((np.arange(height) + 0.5 - top) / step[1]).astype(int)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))[None]
    lit = chosen[row.clip(0, rows - 1)[:, None], column.clip(0, columns - 1)[None]] & inside
    faded = 255 - (255 - sheet.picture.astype(np.int64)) // 4
    axes.imshow(np.where(lit[..., None], sheet.picture, faded).astype(np.uint8), extent=(0, width, height, 0))

    edges = []
    for r, c in np.argwhere(chosen):
        x, y = left + c * step[0], top + r * step[1]
        edges.append([(x, y), (x + step[0], y), (x + step[0], y + step[1]), (x, y + step[1]), (x, y)])
    axes.add_collection(LineCollection(edges, colors=ACCENT, linewidths=0.6))
    bars = [[(right, top + (r + 0.1) * step[1]), (right, top + (r + 0.9) * step[1])] for r in np.flatnonzero(lines)]
    axes.add_collection(LineCollection(bars, colors=FAINT, linewidths=3.0))
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=FAINT, linewidth=0.5))
    axes.set_xlim(min(0, left), max(width, right) + 0.02 * width)
    axes.set_ylim(max(height, bottom), min(0, top))
    what = f"{sheet.title}: {chosen.sum()} of {sheet.grid.size} kept"
    axes.set_title(what + (f", {lines.sum()} of {lines.size} newlines" if lines.size else ""), fontsize=8)
    axes.set_axis_off()

"""Figures and tables of the page on high resolution, video and rotary positions in three axes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from entropyprune_ref.flops import block_grid, tiled_image
from entropyprune_ref.pruning import prune_plan

SIZES = ((336, 336), (480, 640), (672, 672), (1080, 1920), (1600, 400))


def llava_next() -> Figure:
    """An image of 480 x 640 pixels: the view of the whole, and the tiles with padding dropped and newlines added."""
    figure, (whole, tiles) = plt.subplots(1, 2, figsize=(7, 3.1), width_ratios=(1, 2.1))
    layout = tiled_image(480, 640)
    _cells(whole, layout.side, layout.side, 0, 0, "C0")
    whole.set_title(f"whole, squeezed: {layout.side} × {layout.side}", fontsize=9)
    row, column = layout.corner
    rows, columns = layout.canvas
    for top, left, height, width in ((0, 0, row, columns), (row + layout.rows, 0, row, columns)):
        tiles.add_patch(plt.Rectangle((left, top), width, height, facecolor="none", hatch="////", linewidth=0.4))
    _cells(tiles, layout.rows, layout.columns, row, column, "C0")
    for line in range(layout.rows):
        tiles.add_patch(plt.Rectangle((columns + 0.4, row + line), 0.9, 0.9, color="C1"))
    tiles.axhline(layout.side, color="C2", linewidth=1.2)
    tiles.axvline(layout.side, color="C2", linewidth=1.2)
    tiles.set_title(f"in tiles: {layout.rows} rows of {layout.columns}, each with a newline", fontsize=9)
    for axes, (height, width) in ((whole, (24, 24)), (tiles, (rows, columns + 2))):
        axes.set(xlim=(-0.5, width + 0.5), ylim=(height + 0.5, -0.5), aspect="equal")
        axes.set_axis_off()
    return figure


def positions(before: int, rows: int, columns: int, after: int) -> dict[str, list[int]]:
    """Rotary positions of a prompt of Qwen2.5-VL: words, an image of `rows` x `columns` tokens, words."""
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    start, words = list(range(before)), [before + max(rows, columns) + place for place in range(after)]
    return {
        "time": start + [before for _ in cells] + words,
        "height": start + [before + row for row, _ in cells] + words,
        "width": start + [before + column for _, column in cells] + words,
    }


def three_axes() -> Figure:
    """Positions of three words, an image of 3 x 4 tokens, two words."""
    figure, axes = plt.subplots(figsize=(7, 2.4))
    for (name, values), marker in zip(positions(3, 3, 4, 2).items(), "os^", strict=True):
        axes.plot(values, marker=marker, markersize=4, linewidth=0.8, label=name)
    axes.axvspan(2.5, 14.5, alpha=0.1, linewidth=0)
    axes.set(xlabel="place in the prompt", ylabel="rotary position", xticks=range(17))
    axes.legend(ncols=3, fontsize=8)
    return figure


def counts() -> str:
    """Visual tokens of some images."""
    lines = ["| image, height × width | LLaVA-1.5 | LLaVA-NeXT | of these newlines | Qwen2.5-VL |"]
    lines.append("| --- | --: | --: | --: | --: |")
    for height, width in SIZES:
        tiled, (rows, columns) = tiled_image(height, width), block_grid(height, width)
        lines.append(f"| {height} × {width} | 576 | {tiled.tokens:,} | {tiled.rows} | {rows * columns:,} |")
    return "\n".join(lines)


def budgets() -> str:
    """What an average of 320 keeps of LLaVA-NeXT, by the image."""
    lines = ["| image, height × width | visual tokens | kept at an average of 320 | of 2,880, as in the scripts |"]
    lines.append("| --- | --: | --: | --: |")
    scripted = prune_plan(average=320, visual_tokens=2880, layers=32, prune_layer=2).keep
    for height, width in SIZES:
        tokens = tiled_image(height, width).tokens
        plan = prune_plan(average=320, visual_tokens=tokens, layers=32, prune_layer=2)
        lines.append(f"| {height} × {width} | {tokens:,} | {plan.keep} | {scripted} |")
    return "\n".join(lines)


def _cells(axes: "plt.Axes", rows: int, columns: int, top: int, left: int, colour: str) -> None:
    grid_rows, grid_columns = np.mgrid[top : top + rows, left : left + columns]
    axes.scatter(grid_columns + 0.45, grid_rows + 0.45, s=5, marker="s", color=colour, linewidths=0)

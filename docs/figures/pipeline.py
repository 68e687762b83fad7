"""The whole method in one picture, with the shape of every tensor, for LLaVA-1.5-7B and for the bundled model."""

import matplotlib.pyplot as plt
from _model import model
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from entropyprune_ref.flops import CLIP_VIT_L_14_336, LLAVA_1_5_7B
from entropyprune_ref.pruning import tokens_to_keep

LAYER, AVERAGE, TEXT = 2, 192, 64


def sizes() -> dict[str, int]:
    """Sizes of LLaVA-1.5-7B, pruned at layer 2 to an average of 192 tokens, with 64 tokens of text."""
    large = LLAVA_1_5_7B
    visual = CLIP_VIT_L_14_336.patches
    keep = tokens_to_keep(AVERAGE, visual_tokens=visual, layers=large.layers, prune_layer=LAYER)
    return {
        "layers": large.layers,
        "visual": visual,
        "hidden": large.hidden,
        "heads": large.heads,
        "head_dim": large.head_dim,
        "keep": keep,
        "before": visual + TEXT,
        "after": keep + TEXT,
    }


def _box(axes: Axes, row: float, text: str, shape: str, colour: str, *, left: float = 0.0, width: float = 5.4) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (left, row),
            width,
            0.72,
            boxstyle="round,pad=0,rounding_size=0.1",
            fill=False,
            edgecolor=colour,
            linewidth=1.3,
        )
    )
    axes.text(left + 0.18, row + 0.36, text, va="center", fontsize=9)
    axes.text(left + width - 0.18, row + 0.36, shape, va="center", ha="right", fontsize=9, color=colour)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.2})


def picture() -> Figure:
    """From the image to the answer, top to bottom; beside it, how the method decides."""
    size, ink = sizes(), plt.rcParams["text.color"]
    n, d, h, dh, k = (size[name] for name in ("visual", "hidden", "heads", "head_dim", "keep"))
    figure, axes = plt.subplots(figsize=(8.2, 6.0))
    main = [
        (8, "image", "3 × 336 × 336", ink),
        (7, "vision tower and projector", f"{n} × {d}", ink),
        (6, f"join with {TEXT} text tokens", f"{size['before']} × {d}", ink),
        (5, f"decoder layers 0 to {LAYER - 1}", f"{size['before']} × {d}", "C0"),
        (4, f"prune at layer {LAYER}: text and the {k} best", f"{size['after']} × {d}", "C1"),
        (3, f"decoder layers {LAYER} to {size['layers'] - 1}", f"{size['after']} × {d}", "C0"),
        (2, "next token, again and again", "one word", ink),
    ]
    for row, text, shape, colour in main:
        _box(axes, row, text, shape, colour)
    for row in range(8, 2, -1):
        _arrow(axes, (2.7, row), (2.7, row - 0.28), ink)
    side = [
        (6.5, f"queries of layer {LAYER - 1}", f"{n} × {h} × {dh}"),
        (5.5, "centre over heads, Gram matrix", f"{n} × {h} × {h}"),
        (4.5, "eigenvalues, entropy", f"{n}"),
        (3.5, f"the {k} highest scores", f"{k}"),
    ]
    for row, text, shape in side:
        _box(axes, row, text, shape, "C2", left=6.4, width=5.2)
    for row in (6.5, 5.5, 4.5):
        _arrow(axes, (9.0, row), (9.0, row - 0.28), "C2")
    _arrow(axes, (5.4, 5.5), (6.4, 6.7), "C2")
    _arrow(axes, (6.4, 3.95), (5.4, 4.3), "C2")
    axes.text(6.4, 7.4, "what to prune: one score a token", fontsize=9, color="C2")
    axes.text(6.4, 2.72, "when to prune, once for a model: the entropy of", fontsize=9, color="C3")
    axes.text(6.4, 2.38, f"the {n} × {d} visual states at every layer falls;", fontsize=9, color="C3")
    axes.text(6.4, 2.04, "prune where it falls most", fontsize=9, color="C3")
    axes.set(xlim=(-0.1, 11.7), ylim=(1.8, 8.9))
    axes.axis("off")
    return figure


def steps() -> str:
    """Every step with its tensor, its function and its page."""
    large, small = sizes(), model().config
    n, d, h, dh, k = (large[name] for name in ("visual", "hidden", "heads", "head_dim", "keep"))
    mine = (small.vision.patches, small.decoder.hidden, small.decoder.heads, small.decoder.head_dim)
    rows = [
        (
            "image to visual tokens",
            "$N \\times d$",
            f"{n} × {d}",
            f"{mine[0]} × {mine[1]}",
            "[`llava`](../reference/llava.md)",
        ),
        (
            "when: entropy of the visual states, layer by layer",
            "$(L + 1) \\times N \\times d \\to L + 1$",
            f"{large['layers'] + 1} × {n} × {d}",
            f"{small.decoder.layers + 1} × {mine[0]} × {mine[1]}",
            "[Entropy Collapse Layer](collapse-layer.md)",
        ),
        (
            "queries of the layer before",
            "$N \\times h \\times d_h$",
            f"{n} × {h} × {dh}",
            f"{mine[0]} × {mine[2]} × {mine[3]}",
            "[token scores](token-scores.md)",
        ),
        (
            "what: Gram matrix of each token's heads",
            "$N \\times h \\times h$",
            f"{n} × {h} × {h}",
            f"{mine[0]} × {mine[2]} × {mine[2]}",
            "[dual Gram](dual-gram.md)",
        ),
        ("its entropy, the score", "$N$", f"{n}", f"{mine[0]}", "[token scores](token-scores.md)"),
        ("how many: the budget", "$k$", f"{k}, for an average of {AVERAGE}", "as asked", "[budgets](budgets.md)"),
        (
            "keep them and all text",
            "$(k + T) \\times d$",
            f"({k} + T) × {d}",
            f"(k + T) × {mine[1]}",
            "[pruning](pruning.md)",
        ),
    ]
    lines = ["| step | tensor | LLaVA-1.5-7B | bundled model | page |", "| --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return '<div class="words" markdown>\n\n' + "\n".join(lines) + "\n\n</div>"

"""The whole method in one picture, with the shape of every tensor, for LLaVA-1.5-7B and for the bundled model."""

import matplotlib.pyplot as plt
from _model import model
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from entropyprune_ref.flops import CLIP_VIT_L_14_336, LLAVA_1_5_7B
from entropyprune_ref.pruning import tokens_to_keep

LAYER, AVERAGE, TEXT = 2, 192, 64
WIDTH, INSET = 7.0, 0.7


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


def _box(axes: Axes, row: float, text: str, shape: str, colour: str, inset: float = 0.0) -> None:
    """One step across the picture, set in from both sides where it belongs to the decision."""
    axes.add_patch(
        FancyBboxPatch(
            (inset, row),
            WIDTH - 2 * inset,
            0.7,
            boxstyle="round,pad=0,rounding_size=0.1",
            fill=False,
            edgecolor=colour,
            linewidth=1.3,
        )
    )
    axes.text(inset + 0.2, row + 0.35, text, va="center", fontsize=10)
    axes.text(WIDTH - inset - 0.2, row + 0.35, shape, va="center", ha="right", fontsize=10, color=colour)


def picture() -> Figure:
    """From the image to the answer, top to bottom; set in, how the method decides; one column, for phones."""
    size, ink = sizes(), plt.rcParams["text.color"]
    n, d, h, dh, k = (size[name] for name in ("visual", "hidden", "heads", "head_dim", "keep"))
    last = size["layers"] - 1
    steps = [
        ("image", "3 × 336 × 336", ink, 0.0),
        ("vision tower, projector", f"{n} × {d}", ink, 0.0),
        (f"join with {TEXT} text tokens", f"{size['before']} × {d}", ink, 0.0),
        (f"decoder layers 0 to {LAYER - 1}", f"{size['before']} × {d}", "C0", 0.0),
        (f"queries of layer {LAYER - 1}", f"{n} × {h} × {dh}", "C2", INSET),
        ("centre, Gram matrix", f"{n} × {h} × {h}", "C2", INSET),
        ("eigenvalues, entropy", f"{n} scores", "C2", INSET),
        (f"the {k} highest", f"{k} positions", "C2", INSET),
        (f"prune: text and the {k} best", f"{size['after']} × {d}", "C1", 0.0),
        (f"decoder layers {LAYER} to {last}", f"{size['after']} × {d}", "C0", 0.0),
        ("next word", "1", ink, 0.0),
    ]
    figure, axes = plt.subplots(figsize=(4.9, 7.2))
    arrow = {"arrowstyle": "->", "linewidth": 1.2}
    rows = range(len(steps) - 1, -1, -1)
    for row, (text, shape, colour, inset) in zip(rows, steps, strict=True):
        _box(axes, row, text, shape, colour, inset)
        if row:
            colour = "C2" if inset or steps[len(steps) - row][3] else ink
            axes.annotate("", (WIDTH / 2, row - 0.3), (WIDTH / 2, row), arrowprops=arrow | {"color": colour})
    axes.annotate("", (0.35, 2.7), (0.35, 7.0), arrowprops=arrow | {"color": ink})  # all tokens pass the decision by
    axes.text(0.18, 4.85, "all hidden states", rotation=90, va="center", ha="center", fontsize=8)
    axes.text(WIDTH - 0.3, 4.85, "what to prune", rotation=270, va="center", ha="center", fontsize=9, color="C2")
    axes.text(
        WIDTH / 2,
        -0.55,
        f"When to prune is decided once for a model: where the\nentropy of its {n} × {d} visual states falls most.",
        ha="center",
        va="top",
        fontsize=9,
        color="C3",
    )
    axes.set(xlim=(-0.1, WIDTH + 0.1), ylim=(-1.5, len(steps) - 0.2))
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

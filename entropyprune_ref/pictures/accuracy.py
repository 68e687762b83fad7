"""The figure of an evaluation: accuracy against tokens kept, a panel for every prune layer."""

from pathlib import Path
from statistics import fmean

from entropyprune_ref.evaluation.plan import GROUND_TRUTH, NONE_KEPT
from entropyprune_ref.evaluation.summary import Summary
from entropyprune_ref.evaluation.tables import chance_of, share_of

from .panels import new_figure

STYLES = {
    GROUND_TRUTH: ("#1f2430", "-"),
    "token-entropy-paper": ("#c2410c", "-"),
    "token-entropy-row_normalized": ("#ea9a3e", "-"),
    "token-entropy-released": ("#7c3aed", "-"),
    "last-token-attention": ("#2563eb", "-"),
    "hidden-norm-low": ("#0f766e", "-"),
    "max-min-diversity": ("#64748b", "-"),
    "random": ("#64748b", "--"),
    "lowest-entropy": ("#c2410c", ":"),
}
"""Scorers that the figure shows, with colour and line; the table shows all."""


def save_accuracy(path: Path, summaries: list[Summary]) -> Path:
    """Writes accuracy (mean over question types and seeds) by visual tokens kept, one panel for every prune layer.

    Args:
        path: A PNG file; its folder is made if needed.
        summaries: One for every seed, of the same plan.

    Returns:
        `path`.
    """
    keeps = summaries[0]["plan"]["keeps"]
    layers = sorted({cell["layer"] for cell in summaries[0]["cells"] if cell["scorer"] == GROUND_TRUTH})
    cells = [{(c["scorer"], c["layer"], c["keep"]): c["accuracy"] for c in s["cells"]} for s in summaries]
    figure = new_figure(3.1 * len(layers) + 1.6, 3.4)
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    full = sum(next(c for c in s["cells"] if c["scorer"] == "unpruned")["accuracy"][0] for s in summaries)
    for axes, layer in zip(panels, layers, strict=True):
        axes.axhline(100 * full / len(summaries), color="#1f2430", linewidth=0.6, linestyle=":")
        nothing = [share_of(summary, NONE_KEPT, layer, 0) for summary in summaries]
        for floor, name in ((100 * fmean(nothing), NONE_KEPT), (100 * chance_of(summaries[0]), "chance")):
            axes.axhline(floor, color="#64748b", linewidth=0.8, linestyle="-." if name == NONE_KEPT else (0, (1, 3)))
            axes.annotate(name, (1, floor), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        for name, (color, line) in STYLES.items():
            shares = [[100 * by_key[name, layer, keep][0] for keep in keeps] for by_key in cells]
            mean = [sum(column) / len(column) for column in zip(*shares, strict=True)]
            axes.plot(range(len(keeps)), mean, line, color=color, marker="o", markersize=3, linewidth=1.4, label=name)
        axes.set_title(f"pruned at layer {layer}", fontsize=10)
        axes.set_xticks(range(len(keeps)), [str(keep) for keep in keeps])
        axes.set_xlabel(f"visual tokens kept of {summaries[0]['visual_tokens']}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path

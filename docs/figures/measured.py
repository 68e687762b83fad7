"""Tables of the page on what is reported and what is measured."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from collapse import results
from matplotlib.figure import Figure

from entropyprune_ref.shapes.card import accuracy_by_scorer, drop_everything, table

SHOWN = (
    "ground-truth",
    "token-entropy-paper",
    "token-entropy-released",
    "last-token-attention",
    "random",
    "lowest-entropy",
)


def unpruned() -> str:
    """Accuracy of every seed without pruning."""
    found = list(results())
    kinds = found[0]["plan"]["kinds"]
    rows = []
    for result in found:
        shares = result["cells"][0]["kinds"]
        rows.append([str(result["seed"]), *(f"{100 * shares[kind][0]:.1f}" for kind in kinds)])
    return table(["seed", *kinds], rows)


def at_layer_1() -> str:
    """Accuracy pruned at layer 1, by scorer and budget."""
    return accuracy_by_scorer(list(results()), 1)


def at_layer_2() -> str:
    """Accuracy pruned at layer 2, by scorer and budget."""
    return accuracy_by_scorer(list(results()), 2)


def counting() -> str:
    """Accuracy of counting alone at layer 2."""
    return accuracy_by_scorer(list(results()), 2, "count")


def nothing_kept() -> str:
    """Accuracy when every visual token goes."""
    return drop_everything(list(results()))


def _share(result: dict[str, Any], scorer: str, layer: int, keep: int) -> float:
    """Accuracy of one cell, in percent."""
    (cell,) = [c for c in result["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    return 100 * float(cell["accuracy"][0])


def against_budget() -> Figure:
    """Accuracy against tokens kept for some scorers, at layers 1 and 2; bands are the range over seeds."""
    found = results()
    keeps = found[0]["plan"]["keeps"]
    dashes = ["-", "--", "-.", ":", (0, (1, 3)), (0, (5, 1))]
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7, 3.6))
    for place, layer in zip(axes, (1, 2), strict=True):
        for number, scorer in enumerate(SHOWN):
            shares = np.array([[_share(result, scorer, layer, keep) for keep in keeps] for result in found])
            style = {"color": f"C{number}", "linestyle": dashes[number]}
            place.plot(keeps, shares.mean(0), marker="o", markersize=3, label=scorer, **style)
            place.fill_between(keeps, shares.min(0), shares.max(0), color=f"C{number}", alpha=0.1, linewidth=0)
        place.set_title(f"pruned at layer {layer}", fontsize=10)
        place.set(xlabel="visual tokens kept, of 144", xscale="log", xticks=keeps)
        place.set_xticklabels(keeps)
        place.minorticks_off()
    axes[0].set_ylabel("accuracy, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure

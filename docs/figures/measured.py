"""Tables and the figure of the page on what is reported and what is measured."""

from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from _model import asked, model
from collapse import results
from matplotlib.figure import Figure

from entropyprune_ref.demo.costs import prompt_cost
from entropyprune_ref.evaluation.tables import accuracy_by_scorer, drop_everything, table
from entropyprune_ref.llava import Vocabulary

SHOWN = (
    "ground-truth",
    "token-entropy-paper",
    "token-entropy-released",
    "last-token-attention",
    "random",
    "lowest-entropy",
)
NAMES = {
    "ground-truth": "ground truth",
    "token-entropy-paper": "PAPER",
    "token-entropy-released": "RELEASED",
    "last-token-attention": "last-token attention",
    "lowest-entropy": "lowest entropy",
}
"""What the figure calls a scorer."""


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


def cost() -> str:
    """Exact FLOPs of the bundled model's prompts, pruned at layers 1 and 2."""
    questions = [question for _, row in asked(64) for question in row]
    prompts = Counter(len(Vocabulary.of(model().config).prompt(question.text, 0)) for question in questions)
    whole = prompt_cost(model(), prompts, None, 144)
    rows, scoring = [], 0
    for layer in (1, 2):
        for keep in results()[0]["plan"]["keeps"]:
            pruned = prompt_cost(model(), prompts, layer, keep)
            scoring = pruned.scoring
            decoder, prefill = pruned.decoder / whole.decoder, (pruned.prefill + scoring) / whole.prefill
            spared = [f"{100 * (1 - left):.1f} %" for left in (decoder, prefill)]
            rows.append([str(layer), str(keep), f"{pruned.average:.1f}", *spared])
    header = ["K", "kept", "average", "decoder FLOPs spared", "prefill FLOPs spared, scoring paid"]
    return (
        f"Exact FLOPs of the bundled model, over {len(questions)} prompts of {min(prompts)} to {max(prompts)} text "
        f"tokens. Unpruned, a prompt takes {whole.prefill / len(questions) / 1e6:.0f} MFLOP, "
        f"{100 * whole.decoder / whole.prefill:.0f} % of them in the decoder's layers; scoring takes "
        f"{100 * scoring / whole.prefill:.2f} % of that.\n\n" + table(header, rows)
    )


def _share(result: dict[str, Any], scorer: str, layer: int, keep: int) -> float:
    """Accuracy of one cell, in percent."""
    (cell,) = [c for c in result["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    return 100 * float(cell["accuracy"][0])


def against_budget() -> Figure:
    """Accuracy against tokens kept for some scorers, at layers 1 and 2; upright bars are the range over seeds."""
    found = results()
    keeps = found[0]["plan"]["keeps"]
    dashes = ["-", "--", "-.", ":", (0, (1, 3)), (0, (5, 1))]
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7, 3.6))
    for place, layer in zip(axes, (1, 2), strict=True):
        for number, scorer in enumerate(SHOWN):
            shares = np.array([[_share(result, scorer, layer, keep) for keep in keeps] for result in found])
            beside = np.array(keeps) * 1.035 ** (number - (len(SHOWN) - 1) / 2)  # else bars would hide each other
            style = {"color": f"C{number}", "linestyle": dashes[number]}
            place.plot(beside, shares.mean(0), marker="o", markersize=3, label=NAMES.get(scorer, scorer), **style)
            place.vlines(beside, shares.min(0), shares.max(0), color=f"C{number}", alpha=0.45, linewidth=2)
        floor = np.mean([_share(result, "none kept", layer, 0) for result in found])
        place.axhline(floor, color=plt.rcParams["text.color"], linewidth=0.8, linestyle=(0, (2, 2)))
        place.text(9.3, floor - 1, "floor", fontsize=8, va="top")
        place.set_title(f"pruned at layer {layer}", fontsize=10)
        place.set(xlabel="visual tokens kept, of 144", xscale="log", xticks=keeps)
        place.set_xticklabels(keeps)
        place.minorticks_off()
    axes[0].set_ylabel("accuracy, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure

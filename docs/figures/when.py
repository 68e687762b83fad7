"""Tables and the figure of the page on when to prune, from the committed comparisons at equal cost."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from entropyprune_ref.collapse import random_sharpness, smooth_sharpness
from entropyprune_ref.evaluation.equal_cost import averages, budget
from entropyprune_ref.evaluation.equal_cost_tables import floors_table, layers_table, rules_table, verdict_table
from entropyprune_ref.evaluation.plan import METHOD, NONE_KEPT
from entropyprune_ref.evaluation.tables import table

RESULTS = Path(__file__).parents[2] / "results"
SHOWN = (METHOD["paper"], "random")


@cache
def results() -> dict[str, dict[str, Any]]:
    """Every committed comparison, by the name of its model."""
    found = sorted(RESULTS.glob("equal-cost-*.json"))
    return {path.stem.removeprefix("equal-cost-"): json.loads(path.read_text()) for path in found}


def seeds() -> list[dict[str, Any]]:
    """The five seeds of the shipped recipe."""
    return [result for name, result in results().items() if name.startswith("seed-")]


def paper() -> str:
    """The method at equal average."""
    return layers_table(seeds(), METHOD["paper"])


def at_random() -> str:
    """A random choice at equal average."""
    return layers_table(seeds(), "random")


def flops() -> str:
    """The method at equal FLOPs of the whole prefill."""
    return layers_table(seeds(), METHOD["paper"], "flops")


def rules() -> str:
    """What each rule comes to."""
    return rules_table(seeds())


def floors() -> str:
    """Nothing kept, by layer."""
    return floors_table(seeds())


def verdicts() -> str:
    """For every model: is the collapse the place to prune? What other definitions say is told in the text."""
    header, _, *rows = [row.strip("| ").split(" | ") for row in verdict_table(results()).splitlines()]
    left_out = header.index("other definitions")
    shown = [[named(cells[0]), *cells[1:left_out], *cells[left_out + 1 :]] for cells in rows]
    shown = [["never" if cell == "None / None" else cell for cell in cells] for cells in shown]
    return table([*header[:left_out], *header[left_out + 1 :]], shown)


def named(model: str) -> str:
    """Returns the name of a model as the page has it.

    Examples:
        >>> named("seed-0").split(), named("layers-8").split(), named("deeper")
        (['seed', '0'], ['8', 'layers'], 'deeper')
    """
    kind, _, number = model.partition("-")
    return {"seed": f"seed\N{NO-BREAK SPACE}{number}", "layers": f"{number}\N{NO-BREAK SPACE}layers"}.get(kind, model)


def eight_layers() -> str:
    """The method in the model of eight layers."""
    return layers_table([results()["layers-8"]], METHOD["paper"])


def four_layers() -> str:
    """The method in the model of four layers."""
    return layers_table([results()["layers-4"]], METHOD["paper"])


def deeper() -> str:
    """The method in the model that is asked about neighbours."""
    return layers_table([results()["deeper"]], METHOD["paper"])


def deeper_floors() -> str:
    """When that model has read what each type of question needs."""
    result = results()["deeper"]
    dropped = [cell for cell in result["cells"] if cell["scorer"] == NONE_KEPT]
    rows = [
        [str(cell["layer"]), *(f"{100 * cell['kinds'][kind][0]:.0f}" for kind in result["kinds"])] for cell in dropped
    ]
    rows.append(["*chance*", *(f"{100 * result['chance'][kind]:.0f}" for kind in result["kinds"])])
    return table(["nothing kept from layer", *result["kinds"]], rows)


def reference() -> str:
    """What sharpness is without any collapse, and how often chance reaches that of each model."""
    rows = []
    for name, result in results().items():
        layers, sharpness = result["layers"], result["collapse"]["sharpness"]
        chance = random_sharpness(layers)
        share = float((chance >= sharpness).double().mean())
        median, high = (float(chance.quantile(quantile)) for quantile in (0.5, 0.95))
        smooth = [smooth_sharpness(layers, ratio) for ratio in (0.9, 0.5)]
        rows.append(
            [
                named(name),
                str(layers),
                f"{sharpness:.2f}",
                f"{median:.2f} / {high:.2f}",
                f"{smooth[0]:.1f} to {smooth[1]:.1f}",
                f"{100 * share:.1f} %",
            ]
        )
    header = ["model", "layers", "sharpness", "by chance, median / 95 %", "smooth decay, ratio 0.9 to 0.5"]
    return table([*header, "chance is as sharp"], rows)


def against_cost() -> Figure:
    """Accuracy against the average of visual tokens per layer, one line for each prune layer."""
    found = seeds()
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(7, 3.6))
    dashes = {1: ":", 2: "-", 3: "--", 4: "-."}
    collapse, visual, layers = found[0]["collapse"]["layer"], found[0]["visual_tokens"], found[0]["layers"]
    for axes, scorer in zip(panels, SHOWN, strict=True):
        for layer in (1, 2, 3, 4):
            points = []
            for average in averages(found[0]):
                cells = [budget(result, average) for result in found]
                if layer in cells[0]:
                    points.append((average, [100 * each[layer]["accuracy"][scorer] for each in cells]))
            nothing = [
                100 * c["accuracy"][0]
                for r in found
                for c in r["cells"]
                if (c["scorer"], c["layer"]) == (NONE_KEPT, layer)
            ]
            points.append((layer * visual / layers, nothing))
            points = sorted(dict(points).items())
            places, shares = [place for place, _ in points], np.array([values for _, values in points])
            name = f"K = {layer}" + (", the collapse" if layer == collapse else "")
            width = 2.4 if layer == collapse else 1.2
            axes.plot(places, shares.mean(1), dashes[layer], color=f"C{layer - 1}", linewidth=width, label=name)
            axes.fill_between(places, shares.min(1), shares.max(1), color=f"C{layer - 1}", alpha=0.1, linewidth=0)
            axes.plot(places[0], shares[0].mean(), "x", color=f"C{layer - 1}", markersize=6)
        axes.axhline(100 * np.mean(list(found[0]["chance"].values())), color="C7", linewidth=0.8, linestyle=(0, (1, 3)))
        axes.set_title({"random": "a random choice"}.get(scorer, "token entropy, PAPER"), fontsize=10)
        axes.set_xlabel("visual tokens per layer, on average, of 144")
    panels[0].set_ylabel("accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure

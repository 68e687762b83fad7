"""`entropyprune-ref evaluate`: every scorer at every prune layer and budget, on held-out questions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ..demo.where import entropy_curves
from ..evaluation import counting as counts
from ..evaluation import heads as head_measures
from ..evaluation.equal_cost import compare
from ..evaluation.equal_cost_tables import floors_table, layers_table, rules_table
from ..evaluation.heads_tables import auc_table, control_table, counting_table
from ..evaluation.plan import HELD_OUT, METHOD, EqualCost, Plan
from ..evaluation.run import evaluate as run_plan
from ..evaluation.statistics import rounded
from ..evaluation.summary import Summary, summarise
from ..evaluation.tables import accuracy_by_kind, accuracy_by_scorer, collapse_table, drop_everything
from ..llava import Llava
from ..pictures.accuracy import save_accuracy
from ..world.questions import SHIPPED
from ..world.scenes import draw_scene
from ._shared import (
    SEED,
    Report,
    device_option,
    dump,
    json_option,
    load,
    plain,
    progress,
    say,
    weights_option,
    writable_folder,
)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    required=True,
    help="Folder of results; resumed if it exists.",
)
@click.option(
    "--images", default=Plan.images, show_default=True, help="Held-out images, one question of each type on each."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="The training seed, noted in the results.")
@click.option("--equal-cost", is_flag=True, help="Compare prune layers at the same cost instead of the same tokens.")
@click.option("--heads", is_flag=True, help="Measure what the score sees, by layer, with controls.")
@click.option("--counting", is_flag=True, help="Ask how many things there are, the background given back in pieces.")
@device_option
@weights_option
@json_option
def evaluate(
    out: Path,
    images: int,
    seed: int,
    equal_cost: bool,
    heads: bool,
    counting: bool,
    device: str,
    weights: Path | None,
    as_json: bool,
) -> None:
    """Measure accuracy over budgets, prune layers and scorers; write results.json, tables and a figure."""
    if images < 2:
        raise click.UsageError(f"--images must be at least 2, got {images}")
    if equal_cost + heads + counting > 1:
        raise click.UsageError("only one of --equal-cost, --heads and --counting can be measured at a time")
    standard = not (equal_cost or heads or counting)
    model = load(weights).to(device)
    asked = SHIPPED if "after" not in model.config.vocabulary else (*SHIPPED, "next")
    with progress() as report:
        if equal_cost:
            text, summary = _equal_cost(model, replace(EqualCost(), images=images, kinds=asked), out, report)
        elif heads:
            summary = head_measures.run(model, seed, images, lambda done, total: report("layers", done, total))
            text = _heads
        elif counting:
            summary = counts.run(model, images, lambda done, total: report("conditions", done, total))
            text = _counting
        else:
            text, summary = _standard(model, replace(Plan(), images=images, kinds=asked), out, seed, report)
    summary = {"seed": seed, **plain(rounded(summary))}
    results = out / "results.json"
    partial = results.with_suffix(".partial")
    partial.write_text(json.dumps(summary) + "\n")
    partial.replace(results)
    picture = "" if not standard else f"\nPicture: {save_accuracy(out / 'accuracy.png', [summary])}"
    if as_json:
        dump(summary)
    else:
        say(f"{text(summary)}\nResults: {results}{picture}")


def _standard(model: Llava, plan: Plan, out: Path, seed: int, report: Report) -> tuple[Any, Summary]:
    """Every scorer at every layer and number of tokens kept."""
    outcome = run_plan(model, plan, out, lambda done, total: report("questions", done, total))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = Llava(model.config).eval()
    drawn = np.stack([draw_scene(HELD_OUT, index).image for index in range(plan.images)])
    curves = entropy_curves(untrained, drawn, lambda _, done, total: report("untrained", done, total))

    def text(summary: Summary) -> str:
        by_layer = [
            f"Accuracy in %, pruned at layer {layer}, by visual tokens kept\n\n{accuracy_by_scorer([summary], layer)}\n"
            for layer in plan.budgets(model)
        ]
        parts = [
            f"Unpruned\n\n{accuracy_by_kind(summary)}\n",
            *by_layer,
            f"Accuracy in % when every visual token is dropped at layer K\n\n{drop_everything([summary])}\n",
            f"Entropy Collapse Layer\n\n{collapse_table([summary])}\n",
        ]
        return "\n".join(parts)

    return text, summarise(model, plan, outcome, curves.numpy())


def _equal_cost(model: Llava, plan: EqualCost, out: Path, report: Report) -> tuple[Any, Summary]:
    """Every layer at the same average of visual tokens, and at the same FLOPs."""
    outcome = run_plan(model, plan, out, lambda done, total: report("questions", done, total))

    def text(result: Summary) -> str:
        parts = [
            f"Accuracy in % at the same average of visual tokens per layer, {name}: tokens kept, accuracy\n\n"
            f"{layers_table([result], name)}\n"
            for name in (METHOD["paper"], "random")
        ]
        parts.append(f"Mean over the budgets, by the rule that names the layer\n\n{rules_table([result])}\n")
        parts.append(f"No visual token at all from layer K on\n\n{floors_table([result])}\n")
        return "\n".join(parts)

    return text, compare(model, plan, outcome)


def _heads(result: Summary) -> str:
    parts = [f"AUC for patches that show a thing, by prune layer\n\n{auc_table([result])}\n"]
    parts += [f"Controls\n\n{control_table([result], int(layer))}\n" for layer in list(result["layers"])[:2]]
    return "\n".join(parts)


def _counting(result: Summary) -> str:
    return "\n".join(f"{counting_table([result], int(layer))}\n" for layer in result["layers"])

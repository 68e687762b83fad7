"""`entropyprune-ref evaluate`: every scorer at every prune layer and budget, on held-out questions."""

import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

from ..demo.run import entropy_curves
from ..evaluation.card import accuracy_by_kind, accuracy_by_scorer, collapse_table, drop_everything
from ..evaluation.cells import HELD_OUT, Plan
from ..evaluation.cells import evaluate as run_plan
from ..evaluation.statistics import summarise
from ..llava import Llava
from ..pictures.accuracy import save_accuracy
from ..world.scenes import draw_scene
from ._shared import SEED, dump, json_option, load, plain, progress, say, weights_option, writable_folder


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
@weights_option
@json_option
def evaluate(out: Path, images: int, seed: int, weights: Path | None, as_json: bool) -> None:
    """Measure accuracy over budgets, prune layers and scorers; write results.json, tables and a figure."""
    if images < 2:
        raise click.UsageError(f"--images must be at least 2, got {images}")
    model = load(weights)
    plan = replace(Plan(), images=images)
    with progress() as report:
        outcome = run_plan(model, plan, out, lambda done, total: report("questions", done, total))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            untrained = Llava(model.config).eval()
        drawn = np.stack([draw_scene(HELD_OUT, index).image for index in range(images)])
        curves = entropy_curves(untrained, drawn, lambda _, done, total: report("untrained", done, total))
    summary = {"seed": seed, **plain(rounded(summarise(model, plan, outcome, curves.numpy())))}
    results = out / "results.json"
    partial = results.with_suffix(".partial")
    partial.write_text(json.dumps(summary) + "\n")
    partial.replace(results)
    picture = save_accuracy(out / "accuracy.png", [summary])
    if as_json:
        dump(summary)
        return
    say(f"Unpruned\n\n{accuracy_by_kind(summary)}\n")
    for layer in plan.layers:
        say(f"Accuracy in %, pruned at layer {layer}, by visual tokens kept\n")
        say(f"{accuracy_by_scorer([summary], layer)}\n")
    say(f"Accuracy in % when every visual token is dropped at layer K\n\n{drop_everything([summary])}\n")
    say(f"Entropy Collapse Layer\n\n{collapse_table([summary])}\n")
    say(f"Results: {results}\nPicture: {picture}")


def rounded(value: object) -> object:
    """Returns floats rounded to six decimals, so that results are readable and small."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value

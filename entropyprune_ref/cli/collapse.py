"""`entropyprune-ref collapse`: where the entropy collapses, trained and untrained."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ..collapse import collapse_layer, other_definitions
from ..demo.run import draw, entropy_curves
from ..llava import Llava
from ._shared import dump, json_option, load, progress, say, show, weights_option


@click.command()
@click.option("--images", default=128, show_default=True, help="Held-out images to draw.")
@click.option("--seed", default=0, show_default=True, help="Which images, and which random weights for comparison.")
@weights_option
@json_option
def collapse(images: int, seed: int, weights: Path | None, as_json: bool) -> None:
    """Show the layer-wise entropy curve and the Entropy Collapse Layer, trained and with random weights."""
    if images < 1 or seed < 0:
        raise click.UsageError(f"--images must be at least 1 and --seed at least 0, got {images} and {seed}")
    trained = load(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = Llava(trained.config).eval()
    drawn = np.stack([scene.image for scene in draw(images, seed, ())[0]])
    curves = {}
    with progress() as report:
        for name, model in (("trained", trained), ("untrained", untrained)):
            curves[name] = entropy_curves(model, drawn, report, name)
    found = {name: collapse_layer(values) for name, values in curves.items()}
    others = {name: other_definitions(values) for name, values in curves.items()}
    if as_json:
        dump(
            {
                "images": images,
                "seed": seed,
                "models": {name: _record(curves[name], found[name], others[name]) for name in curves},
            }
        )
        return
    rows = []
    for state in range(curves["trained"].shape[1]):
        columns = [curves[name][:, state].numpy() for name in curves]
        rows.append([str(state), *(f"{figure:.3f}" for column in columns for figure in (column.mean(), column.std()))])
    header = ["state", "trained", "sd", "untrained", "sd"]
    show(f"Entropy of the visual tokens' states, {images} images (nats)", header, rows)
    for name in curves:
        say(f"{name}: {found[name]}.")
        answers = ", ".join(f"{rule.replace('_', ' ')} {layer or 'none'}" for rule, layer in others[name].items())
        say(f"{name}, by other definitions: {answers}.")


def _record(curves: torch.Tensor, found: object, others: dict[str, int | None]) -> dict[str, Any]:
    spread = curves.std(dim=0, correction=0)
    return {"mean": curves.mean(dim=0), "sd": spread, "collapse": found, "other_definitions": others}

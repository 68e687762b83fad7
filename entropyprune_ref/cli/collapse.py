"""`entropyprune-ref collapse`: where the entropy collapses, trained and untrained."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ..collapse import collapse_layer, other_definitions
from ..demo.run import draw
from ..demo.where import entropy_curves
from ..llava import Llava
from ._real_collapse import collapse_of
from ._shared import SEED, dump, json_option, load, progress, say, show, weights_option


@click.command()
@click.option("--images", help="How many held-out images to draw, or with --model a folder of yours.  [default: 128]")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Which images, and which random weights for comparison."
)
@weights_option
@click.option("--model", "name", help="A real model: folder of a checkpoint, or a name that can be resolved.")
@click.option("--untrained", is_flag=True, help="With --model: its architecture with random weights too.")
@click.option("--device", default="cpu", show_default=True, help="With --model: cpu, cuda, ..., or auto for several.")
@click.option(
    "--dtype", default="auto", show_default=True, help="With --model: auto, float32, bfloat16, float16, float64."
)
@click.option("--attention", help="With --model: attention implementation.  [default: the library's]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/collapse.json"),
    show_default=True,
    help="With --model: the file of curves, from which a stopped run continues; the picture goes beside it.",
)
@json_option
def collapse(
    images: str | None,
    seed: int,
    weights: Path | None,
    name: str | None,
    untrained: bool,
    device: str,
    dtype: str,
    attention: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Show the layer-wise entropy curve and the Entropy Collapse Layer, trained and with random weights.

    Of the bundled model, or of a real one: entropyprune-ref collapse --model FOLDER --images PICTURES --untrained
    """
    if name is None:
        _bundled(_number(images), seed, weights, as_json)
        return
    if images is None or weights is not None or seed < 0:
        raise click.UsageError("--model needs --images with a folder, a --seed of at least 0, and no --weights")
    collapse_of(
        name,
        Path(images),
        untrained=untrained,
        seed=seed,
        device=device,
        dtype=dtype,
        attention=attention,
        out=out,
        as_json=as_json,
    )


def _number(images: str | None) -> int:
    try:
        return 128 if images is None else int(images)
    except ValueError:
        raise click.UsageError(f"--images must be a number without --model, got {images!r}") from None


def _bundled(images: int, seed: int, weights: Path | None, as_json: bool) -> None:
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

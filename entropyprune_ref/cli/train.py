"""`entropyprune-ref train`: the bundled model from nothing."""

from dataclasses import replace
from pathlib import Path

import click

from ..training.recipe import DEEPER, Recipe
from ..training.run import train as run
from ._shared import SEED, device_option, progress, say, writable_folder

RECIPE = Recipe()


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    callback=writable_folder,
    help="Folder of checkpoints and weights.",
)
@click.option(
    "--seed", type=SEED, default=RECIPE.seed, show_default=True, help="Seed of the weights and of the images."
)
@click.option("--vision-steps", default=RECIPE.vision_steps, show_default=True, help="Steps of the vision tower alone.")
@click.option("--decoder-steps", type=int, help=f"Steps of projector and decoder.  [default: {RECIPE.decoder_steps}]")
@click.option("--layers", type=int, help=f"Layers of the decoder.  [default: {RECIPE.layers}]")
@click.option("--deeper", is_flag=True, help="Ask about neighbours too, with 8 layers and 3000 decoder steps.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that draw images ahead; 0: none.",
)
@device_option
def train(
    out: Path,
    seed: int,
    vision_steps: int,
    decoder_steps: int | None,
    layers: int | None,
    deeper: bool,
    workers: int,
    device: str,
) -> None:
    """Train a model on the little world; the same command continues a run that was stopped."""
    recipe = replace(DEEPER if deeper else RECIPE, seed=seed, vision_steps=vision_steps)
    recipe = replace(recipe, decoder_steps=recipe.decoder_steps if decoder_steps is None else decoder_steps)
    recipe = replace(recipe, layers=recipe.layers if layers is None else layers)
    if min(vision_steps, recipe.decoder_steps) < 0:
        raise click.UsageError(f"steps must be at least 0, got {vision_steps} and {recipe.decoder_steps}")
    if recipe.layers < 2:
        raise click.UsageError(f"--layers must be at least 2, got {recipe.layers}")
    with progress("loss {task.fields[loss]}") as report:
        run(
            recipe,
            out,
            lambda stage, done, total, loss: report(stage, done, total, loss=f"{loss:.4f}"),
            device=device,
            workers=workers,
        )
    say(f"Weights: {out / 'model.safetensors'}")

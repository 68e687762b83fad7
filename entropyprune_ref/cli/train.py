"""`entropyprune-ref train`: the bundled model from nothing."""

from pathlib import Path

import click

from ..training.stages import Recipe
from ..training.stages import train as run
from ._shared import SEED, progress, say, writable_folder

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
@click.option(
    "--decoder-steps", default=RECIPE.decoder_steps, show_default=True, help="Steps of projector and decoder."
)
def train(out: Path, seed: int, vision_steps: int, decoder_steps: int) -> None:
    """Train a model on the little world; the same command continues a run that was stopped."""
    if vision_steps < 0 or decoder_steps < 0:
        raise click.UsageError(f"steps must be at least 0, got {vision_steps} and {decoder_steps}")
    recipe = Recipe(seed=seed, vision_steps=vision_steps, decoder_steps=decoder_steps)
    with progress("loss {task.fields[loss]}") as report:
        run(recipe, out, lambda stage, done, total, loss: report(stage, done, total, loss=f"{loss:.4f}"))
    say(f"Weights: {out / 'model.safetensors'}")

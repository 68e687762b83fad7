"""Runs the stages of training one after the other; resumable, seeded, on any device."""

import json
import math
import os
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import nn

from entropyprune_ref.llava.model import Llava

from .batches import drawn
from .recipe import Recipe
from .stages import DecoderStage, Stage, VisionStage

Report = Callable[[str, int, int, float], None]
"""Called with stage, steps done, steps in all, and the last loss that was read."""

LOOK = 25
"""Steps between two looks at the loss on a device that would have to be waited for."""


def train(
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    save_every: int = 200,
    *,
    device: str = "cpu",
    workers: int = 0,
) -> Llava:
    """Trains a model and leaves `model.safetensors` and `training.json` in `folder`.

    A stopped run continues from its last checkpoint, to the same weights as an undisturbed one on the same machine.

    Args:
        recipe: What to run. A checkpoint of another recipe in `folder` is an error.
        folder: Made if it does not exist.
        report: Progress callback.
        save_every: Steps between checkpoints.
        device: Where to train. Initial weights and images are the same on every device, the arithmetic is not.
        workers: Processes that draw the images ahead; 0: drawn in this one. No number of them changes a weight.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If `folder` holds a checkpoint of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_own(folder, recipe)
    torch.manual_seed(recipe.seed)
    model = Llava(recipe.config()).to(device)
    seconds = 0.0
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Please use the new API settings to control TF32", UserWarning
        )  # in torch 2.9
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # float32 is float32 on every device
            for stage in (VisionStage(model, recipe), DecoderStage(model, recipe)):
                seconds += _run(stage, folder, report or (lambda *_: None), save_every, workers)
    model = model.to("cpu").eval()
    model.save(folder / "model.safetensors")
    record = {
        "recipe": asdict(recipe),
        "hours": seconds / 3600,
        "threads": torch.get_num_threads(),
        "device": _name(torch.device(device)),
        "torch": torch.__version__,
    }
    _write(folder / "training.json", lambda path: path.write_text(json.dumps(record, indent=2) + "\n"))
    for stage_name in ("vision", "decoder"):
        (folder / f"{stage_name}.checkpoint").unlink(missing_ok=True)
    return model


def _require_own(folder: Path, recipe: Recipe) -> None:
    """Refuses a folder in which a run of another recipe has ended."""
    path = folder / "training.json"
    if path.exists():
        try:
            same = json.loads(path.read_text())["recipe"] == json.loads(json.dumps(asdict(recipe)))
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise ValueError(f"folder must be empty or hold a run of the same recipe, got another recipe's in {folder}")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _run(stage: Stage, folder: Path, report: Report, save_every: int, workers: int) -> float:
    """Runs a stage from its last checkpoint to its end; returns its seconds over all sessions."""
    path = folder / f"{stage.name}.checkpoint"
    done, before = 0, 0.0
    if path.exists():
        done, before = _restored(stage, path)
    started, seen = time.perf_counter(), math.nan
    steps = range(done, stage.steps)
    for step, batch in zip(steps, drawn(stage.draw, steps, workers), strict=True):
        for optimizer in stage.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * _schedule(step, stage.steps, stage.recipe.warmup)
            optimizer.zero_grad()
        loss = stage.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(stage.modules.parameters(), 1.0)
        for optimizer in stage.optimizers:
            optimizer.step()
        if loss.device.type == "cpu" or (step + 1) % LOOK == 0 or step + 1 == stage.steps:
            seen = loss.item()
        report(stage.name, step + 1, stage.steps, seen)
        if (step + 1) % save_every == 0 or step + 1 == stage.steps:
            checkpoint = {
                "recipe": json.dumps(asdict(stage.recipe)),
                "model": stage.model.state_dict(),
                "modules": stage.modules.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in stage.optimizers],
                "done": step + 1,
                "seconds": before + time.perf_counter() - started,
            }
            _write(path, partial(torch.save, checkpoint))
    return before + time.perf_counter() - started


def _restored(stage: Stage, path: Path) -> tuple[int, float]:
    """Puts a stage where its checkpoint was; returns steps done and seconds taken."""
    damaged = f"{path} must be a whole checkpoint of a training run, got one that does not read; delete it"
    try:
        state = torch.load(path, weights_only=True, map_location=stage.model.device)
        same = state["recipe"] == json.dumps(asdict(stage.recipe))
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{damaged} ({type(error).__name__})") from None
    if not same:
        raise ValueError(
            f"folder must be empty or hold a run of the same recipe, got another recipe's in {path.parent}"
        )
    try:
        stage.model.load_state_dict(state["model"])
        stage.modules.load_state_dict(state["modules"])
        for optimizer, saved in zip(stage.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["done"]), float(state["seconds"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{damaged} ({type(error).__name__})") from None


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """Writes to a temporary file, then renames: never a half-written file under the final name."""
    temporary = path.with_name(path.name + ".partial")
    try:
        save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

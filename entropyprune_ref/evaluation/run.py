"""Runs a plan over its images, a few at a time; resumable."""

import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entropyprune_ref.llava.model import Llava

from .cells import Batch
from .plan import Cell, Plan

_AXES = {"correct": 1, "recall": 1, "curves": 0}


@dataclass
class Outcome:
    """What every cell did with every question.

    Attributes:
        cells: Names of the first axis.
        kinds: Names of the last axis.
        correct: `(cells, images, kinds)`, bool.
        recall: `(cells, images, kinds)`, the share of the patches that matter which was kept; NaN where none matters.
        curves: `(images, layers + 1)`, entropy of the visual tokens' states, in nats.
    """

    cells: list[Cell]
    kinds: tuple[str, ...]
    correct: np.ndarray
    recall: np.ndarray
    curves: np.ndarray

    def right(self, scorer: str, layer: int, keep: int) -> np.ndarray:
        """Returns the verdicts of one cell, `(images, kinds)`."""
        return self.correct[self.cells.index(Cell(scorer, layer, keep))]


def evaluate(model: Llava, plan: Plan, folder: Path, report: Callable[[int, int], None] | None = None) -> Outcome:
    """Runs `plan` and writes one file per step into `folder`, so that a stopped run can continue.

    Args:
        model: A model of the little world.
        plan: What to run.
        folder: Made if needed; `plan.json` in it guards against mixing two plans or two models.
        report: Called with images done and images in all.

    Raises:
        ValueError: `folder` holds another plan's or another model's results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard = {"plan": repr(plan), "weights": sum(float(p.detach().double().abs().sum()) for p in model.parameters())}
    path = folder / "plan.json"
    if path.exists() and json.loads(path.read_text()) != guard:
        raise ValueError(f"folder must be empty or hold results of the same plan and model, got another's in {folder}")
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(guard))
    os.replace(partial, path)
    parts = []
    for first in range(0, plan.images, plan.batch):
        part = folder / f"images-{first:05d}.npz"
        if not part.exists():
            indices = range(first, min(first + plan.batch, plan.images))
            correct, recall, curves = Batch(model, plan, indices).run()
            temporary = part.with_suffix(".partial.npz")
            np.savez_compressed(temporary, correct=correct, recall=recall, curves=curves)
            os.replace(temporary, part)
        parts.append(_loaded(part))
        if report is not None:
            report(min(first + plan.batch, plan.images), plan.images)
    joined = {name: np.concatenate([part[name] for part in parts], axis=axis) for name, axis in _AXES.items()}
    return Outcome(plan.cells(model), plan.kinds, **joined)


def _loaded(part: Path) -> dict[str, np.ndarray]:
    try:
        with part.open("rb") as file, np.load(file) as loaded:
            return {name: loaded[name] for name in _AXES}
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{part} must hold whole results of this plan, got a file that does not read ({error}); delete it to have "
            "them made again"
        ) from None

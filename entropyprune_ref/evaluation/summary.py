"""What an outcome comes to: accuracy by cell, paired differences, recall, floors, collapse; ready for JSON."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from entropyprune_ref.collapse import collapse_layer
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.pruning import average_tokens
from entropyprune_ref.world.questions import ask
from entropyprune_ref.world.scenes import draw_scene

from .budgets import keep_of
from .plan import GROUND_TRUTH, HELD_OUT, METHOD, NONE_KEPT, UNPRUNED, Cell, Plan
from .run import Outcome
from .statistics import mean_interval, wilson

Summary = dict[str, Any]

TWINS = ("random", METHOD["paper"], "last-token-attention")
"""With whom every cell is paired."""

CHECKED = (
    *(Cell(scorer, layer, 16) for scorer in (*TWINS, GROUND_TRUTH, "max-min-diversity") for layer in (1, 2)),
    *(Cell(NONE_KEPT, layer, 0) for layer in (1, 2)),
)
"""Cells of which every single verdict is kept, one bit a question, image by image: anybody can recompute some."""


def summarise(model: Llava, plan: Plan, outcome: Outcome, untrained: np.ndarray) -> Summary:
    """Returns everything that the tables and figures show.

    Args:
        model: The model evaluated; for its depth.
        plan: What was evaluated.
        outcome: What came out.
        untrained: `(images, layers + 1)`, entropy curves of the same architecture with random weights.
    """
    depth, visual = model.config.decoder.layers, model.config.vision.patches
    curves = {"trained": outcome.curves, "untrained": untrained}
    return {
        "plan": asdict(plan),
        "questions": int(outcome.correct[0].size),
        "visual_tokens": visual,
        "layers": depth,
        "chance": chance(plan),
        "feasible": {
            f"average {average}": {f"K={layer}": keep_of(average, layer, model.config) for layer in plan.layers}
            for average in plan.averages
        },
        "cells": cell_rows(outcome, visual, depth, TWINS),
        "verdicts": {
            f"{cell.scorer} {cell.layer} {cell.keep}": np.packbits(right).tobytes().hex()
            for cell, right in zip(outcome.cells, outcome.correct, strict=True)
            if cell in CHECKED
        },
        "curves": {
            name: {"mean": part.mean(axis=0).tolist(), "sd": part.std(axis=0, ddof=1).tolist()}
            for name, part in curves.items()
        },
        "collapse": {name: asdict(collapse_layer(torch.from_numpy(part))) for name, part in curves.items()},
    }


def cell_rows(outcome: Outcome, visual: int, depth: int, twins: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Returns, for every cell, accuracy with its interval, by kind, recall, and differences from its `twins`."""
    correct = outcome.correct.astype(float)
    places = {cell: row for row, cell in enumerate(outcome.cells)}
    rows = []
    for cell, right, recall in zip(outcome.cells, correct, outcome.recall, strict=True):
        row: dict[str, Any] = asdict(cell)
        if cell.scorer != UNPRUNED:
            row["average"] = float(
                average_tokens(cell.keep, visual_tokens=visual, layers=depth, prune_layer=cell.layer)
            )
        row["accuracy"] = mean_interval(right.mean(axis=1))
        row["kinds"] = {
            kind: wilson(int(right[:, column].sum()), len(right)) for column, kind in enumerate(outcome.kinds)
        }
        row["recall"] = float(np.nanmean(recall))
        for rival in twins:
            twin = places.get(Cell(rival, cell.layer, cell.keep))
            if twin is not None and rival != cell.scorer:
                row[f"minus {rival}"] = mean_interval((right - correct[twin]).mean(axis=1))
        rows.append(row)
    return rows


def chance(plan: Plan) -> dict[str, float]:
    """Returns how often the best answer that does not look is right: the most frequent one to each kind of question."""
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in plan.kinds}
    for index in range(plan.images):
        for question in ask(draw_scene(HELD_OUT, index), HELD_OUT, index, plan.kinds):
            answers[question.kind][question.answer] += 1
    return {kind: max(counts.values()) / plan.images for kind, counts in answers.items()}

"""From outcomes to numbers with intervals: accuracy by cell, paired differences, recall, collapse."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from entropyprune_ref.collapse import collapse_layer
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.pruning import average_tokens

from .cells import Outcome, Plan, keep_of

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(right: int, asked: int) -> tuple[float, float, float]:
    """Returns a share with its 95 % Wilson score interval (Wilson 1927), sound at 0 and 1.

    Examples:
        >>> [round(x, 3) for x in wilson(10, 10)]
        [1.0, 0.722, 1.0]
    """
    share = right / asked
    middle = (share + Z**2 / (2 * asked)) / (1 + Z**2 / asked)
    half = Z / (1 + Z**2 / asked) * (share * (1 - share) / asked + Z**2 / (4 * asked**2)) ** 0.5
    return share, max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Returns a mean over images with its 95 % interval (normal; an image is the independent unit).

    Args:
        values: `(images,)`, one number an image, such as its share of right answers.
    """
    mean = float(values.mean())
    half = Z * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("inf")
    return mean, mean - half, mean + half


def summarise(model: Llava, plan: Plan, outcome: Outcome, untrained: np.ndarray) -> dict[str, Any]:
    """Returns everything that the tables and figures show, ready for JSON.

    Args:
        model: The model evaluated; for its depth.
        plan: What was evaluated.
        outcome: What came out.
        untrained: `(images, layers + 1)`, entropy curves of the same architecture with random weights.
    """
    depth, visual = model.config.decoder.layers, model.config.vision.patches
    correct = outcome.correct.astype(float)
    places = {cell: row for row, cell in enumerate(outcome.cells)}
    rows = []
    for cell, right, recall in zip(outcome.cells, correct, outcome.recall, strict=True):
        row: dict[str, Any] = asdict(cell)
        if cell.scorer != "unpruned":
            row["average"] = float(
                average_tokens(cell.keep, visual_tokens=visual, layers=depth, prune_layer=cell.layer)
            )
        row["accuracy"] = mean_interval(right.mean(axis=1))
        row["kinds"] = {
            kind: wilson(int(right[:, column].sum()), len(right)) for column, kind in enumerate(outcome.kinds)
        }
        row["recall"] = float(np.nanmean(recall))
        for rival in ("random", "token-entropy-paper", "last-token-attention"):
            twin = next((c for c in places if (c.scorer, c.layer, c.keep) == (rival, cell.layer, cell.keep)), None)
            if twin is not None and rival != cell.scorer:
                row[f"minus {rival}"] = mean_interval((right - correct[places[twin]]).mean(axis=1))
        rows.append(row)
    return {
        "plan": asdict(plan),
        "questions": int(correct[0].size),
        "visual_tokens": visual,
        "layers": depth,
        "feasible": {
            f"average {average}": {f"K={layer}": keep_of(average, layer, model) for layer in plan.layers}
            for average in plan.averages
        },
        "cells": rows,
        "curves": {
            name: {"mean": curves.mean(axis=0).tolist(), "sd": curves.std(axis=0, ddof=1).tolist()}
            for name, curves in (("trained", outcome.curves), ("untrained", untrained))
        },
        "collapse": {
            name: asdict(collapse_layer(torch.from_numpy(curves)))
            for name, curves in (("trained", outcome.curves), ("untrained", untrained))
        },
    }

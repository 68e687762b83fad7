"""When to prune: every layer at the same cost, instead of at the same number of tokens kept."""

from dataclasses import asdict
from typing import Any

import torch

from entropyprune_ref.collapse import collapse_layer, other_definitions
from entropyprune_ref.llava.model import Llava

from .budgets import prefill_cost
from .plan import NONE_KEPT, EqualCost, text_tokens
from .run import Outcome
from .statistics import mean_interval
from .summary import Summary, cell_rows, chance

SMALL = 0.01
"""A loss of accuracy that counts as none."""


def compare(model: Llava, plan: EqualCost, outcome: Outcome) -> Summary:
    """Returns what every scorer answers at every layer and equal cost, with the collapse of the same images.

    In each budget the cells are the layers that can afford it, the latest last; `latest minus this` pairs the same
    questions.
    """
    config, curves = model.config, torch.from_numpy(outcome.curves)
    texts = text_tokens(plan.kinds)
    budgets: list[dict[str, Any]] = []
    for average, row in zip(plan.averages, plan.kept(model), strict=True):
        for equal in ("average", "flops"):
            places = [(layer, keep) for what, layer, keep in row if what == equal]
            cells = _cells(plan, outcome, places)
            for cell in cells:
                cell["flops"] = prefill_cost(config, texts, cell["layer"], cell["keep"]) / prefill_cost(config, texts)
            budgets.append({"average": average, "equal": equal, "cells": cells})
    return {
        "kinds": list(plan.kinds),
        "images": plan.images,
        "scorers": list(plan.compared()),
        "visual_tokens": config.vision.patches,
        "layers": config.decoder.layers,
        "chance": chance(plan),
        "collapse": asdict(collapse_layer(curves)),
        "other definitions": other_definitions(curves),
        "curve": curves.mean(0).tolist(),
        "budgets": budgets,
        "cells": cell_rows(outcome, config.vision.patches, config.decoder.layers),
    }


def _cells(plan: EqualCost, outcome: Outcome, places: list[tuple[int, int]]) -> list[dict[str, Any]]:
    def right(scorer: str, layer: int, keep: int) -> Any:
        return outcome.right(scorer if keep else NONE_KEPT, layer, keep).mean(axis=1)

    cells = []
    for layer, keep in places:
        own = {scorer: right(scorer, layer, keep) for scorer in plan.compared()}
        last = {scorer: right(scorer, *places[-1]) for scorer in plan.compared()}
        cells.append(
            {
                "layer": layer,
                "keep": keep,
                "accuracy": {scorer: float(values.mean()) for scorer, values in own.items()},
                "latest minus this": {scorer: mean_interval(last[scorer] - own[scorer]) for scorer in own},
            }
        )
    return cells


def budget(result: Summary, average: int, equal: str = "average") -> dict[int, dict[str, Any]]:
    """Returns the cells of one budget by layer."""
    (found,) = [b for b in result["budgets"] if (b["average"], b["equal"]) == (average, equal)]
    return {cell["layer"]: cell for cell in found["cells"]}


def averages(result: Summary) -> list[int]:
    """Returns the budgets, largest first."""
    return sorted({b["average"] for b in result["budgets"]}, reverse=True)


def by_rule(result: Summary, rule: str, scorer: str, average: int, equal: str = "average") -> float:
    """Returns the accuracy of a rule that names a layer, at one budget.

    Args:
        result: From `compare`.
        rule: `"first"`: layer 1. `"collapse"`: the collapse layer, or the latest layer before it that can afford the
            budget. `"latest"`: the latest that can. `"best"`: the best one in hindsight, which no rule knows.
        scorer: Who chooses the tokens.
        average: The budget.
        equal: Equal in what.
    """
    cells = budget(result, average, equal)
    shares = {layer: cell["accuracy"][scorer] for layer, cell in cells.items()}
    collapse = result["collapse"]["layer"] or 1
    chosen = {"first": 1, "collapse": max(layer for layer in shares if layer <= collapse), "latest": max(shares)}
    return float(max(shares.values()) if rule == "best" else shares[chosen[rule]])


def nothing_lost(result: Summary, loss: float = SMALL) -> int | None:
    """Returns the earliest layer at which dropping every visual token loses at most `loss`: no scorer is asked."""
    whole = result["cells"][0]["accuracy"][0]
    dropped = {c["layer"]: c["accuracy"][0] for c in result["cells"] if c["scorer"] == NONE_KEPT}
    return next((layer for layer in sorted(dropped) if whole - dropped[layer] <= loss), None)


def wins(result: Summary, scorer: str, equal: str = "average") -> dict[str, list[int]]:
    """Returns the averages at which the collapse layer is the best layer, by how that came about.

    Returns:
        `"clearly"`: a later layer could afford the budget, and did worse by more than the 95 % interval of the
        difference on the same questions; `"within noise"`: it did worse by less; `"as the latest"`: no later layer
        could, and all earlier ones did worse.
    """
    collapse = result["collapse"]["layer"]
    found: dict[str, list[int]] = {"clearly": [], "within noise": [], "as the latest": []}
    for average in averages(result):
        cells = budget(result, average, equal)
        shares = {layer: cell["accuracy"][scorer] for layer, cell in cells.items()}
        if collapse not in shares or len(shares) == 1 or shares[collapse] < max(shares.values()):
            continue
        if collapse == max(shares):
            found["as the latest"].append(average)
        else:
            high = cells[collapse]["latest minus this"][scorer][2]
            found["clearly" if high < 0 else "within noise"].append(average)
    return found

"""Every table whole, written by hand for results made by hand; two seeds, whose plan only the first states."""

import copy
import textwrap
from typing import Any

from entropyprune_ref.evaluation.equal_cost import wins
from entropyprune_ref.evaluation.equal_cost_tables import (
    floors_table,
    layers_table,
    rules_table,
    verdict,
    verdict_table,
)
from entropyprune_ref.evaluation.head_controls import CONTROLS
from entropyprune_ref.evaluation.heads_tables import RANDOM, auc_table, control_table, correlation_table, counting_table
from entropyprune_ref.evaluation.plan import METHOD
from entropyprune_ref.evaluation.tables import (
    accuracy_by_kind,
    accuracy_by_scorer,
    collapse_table,
    drop_everything,
    short_table,
)
from entropyprune_ref.scoring import CONVENTIONS

PAPER, RELEASED = METHOD["paper"], METHOD["released"]


def shown(table: str) -> str:
    return textwrap.dedent(table).strip()


def cell(scorer: str, layer: int, keep: int, color: float, count: float) -> dict[str, Any]:
    kinds = {kind: (share, share - 0.01, share + 0.02) for kind, share in (("color", color), ("count", count))}
    mean = (color + count) / 2
    return {
        "scorer": scorer,
        "layer": layer,
        "keep": keep,
        "kinds": kinds,
        "accuracy": (mean, mean - 0.03, mean + 0.04),
    }


def cells(better: float) -> list[dict[str, Any]]:
    """The scorers of the short table at two layers and three budgets; every share is another."""
    found = [cell("unpruned", 3, 80, 0.96 + better / 10, 0.94)]
    names = ("random", PAPER, RELEASED, "last-token-attention", "ground-truth")
    for row, name in enumerate(names):
        for layer in (1, 2):
            for column, keep in enumerate((40, 20, 10)):
                share = 0.2 + 0.1 * row + 0.04 * column + 0.3 * (layer == 2) - 0.1 * better
                found.append(cell(name, layer, keep, share, share + 0.02))
    return [*found, cell("none kept", 1, 0, 0.1 + better, 0.2), cell("none kept", 2, 0, 0.3 + better, 0.4)]


def collapse(layer: int | None) -> dict[str, Any]:
    interval = [layer, layer + 1] if layer == 2 else None
    return {"layer": layer, "drop": 0.4567, "sharpness": 3.456, "consistency": 0.25, "interval": interval}


SEEDS = [
    {
        "seed": 4,
        "plan": {"keeps": (40, 20, 10), "kinds": ("color", "count")},
        "visual_tokens": 80,
        "layers": 3,
        "chance": {"color": 0.25, "count": 0.4},
        "cells": cells(0.0),
        "collapse": {"trained": collapse(2), "untrained": collapse(None)},
        "curves": {"trained": {"mean": [2.0, 1.234, 0.5]}, "untrained": {"mean": [1.0, 1.5]}},
    },
    {
        "seed": 5,
        "visual_tokens": 80,
        "layers": 3,
        "cells": cells(0.06),
        "collapse": {"trained": collapse(1)},
        "curves": {"trained": {"mean": [1.0, 0.25]}},
    },
]


SEEDS[1]["cells"] += [cell("none kept", 3, 0, 0.5, 0.5), cell("another", 2, 40, 0.5, 0.5)]  # which the first has not


def test_accuracy_by_kind() -> None:
    assert accuracy_by_kind(SEEDS[0]) == shown(
        """
        | question type | accuracy, % (95 % interval) | chance |
        | --- | --- | --- |
        | color | 96.0 (95.0–98.0) | 25.0 |
        | count | 94.0 (93.0–96.0) | 40.0 |
        | mean | 95.0 (92.0–99.0) | 32.5 |
        """
    )


def test_accuracy_by_scorer() -> None:
    assert accuracy_by_scorer(SEEDS, 2) == shown(
        """
        | scorer | 40 (50.0 %) | 20 (25.0 %) | 10 (12.5 %) |
        | --- | --- | --- | --- |
        | random | 50.7 [50.4–51.0] | 54.7 [54.4–55.0] | 58.7 [58.4–59.0] |
        | token-entropy-paper | 60.7 [60.4–61.0] | 64.7 [64.4–65.0] | 68.7 [68.4–69.0] |
        | token-entropy-released | 70.7 [70.4–71.0] | 74.7 [74.4–75.0] | 78.7 [78.4–79.0] |
        | last-token-attention | 80.7 [80.4–81.0] | 84.7 [84.4–85.0] | 88.7 [88.4–89.0] |
        | ground-truth | 90.7 [90.4–91.0] | 94.7 [94.4–95.0] | 98.7 [98.4–99.0] |
        | *none kept* | 36.5 [35.0–38.0] | 36.5 [35.0–38.0] | 36.5 [35.0–38.0] |
        | *chance* | 32.5 | 32.5 | 32.5 |
        """
    )
    first, *_, last = accuracy_by_scorer(SEEDS[:1], 1, "count").splitlines()[2:]
    assert (first, last) == ("| random | 22.0 | 26.0 | 30.0 |", "| *chance* | 40.0 | 40.0 | 40.0 |")


def test_short_table() -> None:
    assert short_table(SEEDS[:1], 2, (20,)) == shown(
        """
        | accuracy, %, pruned at layer 2 | 20 of 144 kept |
        | --- | --- |
        | *none kept* | 35.0 |
        | random | 55.0 |
        | token-entropy-paper | 65.0 |
        | token-entropy-released | 75.0 |
        | last-token-attention | 85.0 |
        | ground-truth | 95.0 |
        | *unpruned* | 95.0 |
        """
    )


def test_drop_everything() -> None:
    assert drop_everything(SEEDS) == shown(
        """
        | K | color | count | mean |
        | --- | --- | --- | --- |
        | 1 | 13.0 | 20.0 | 16.5 [15.0–18.0] |
        | 2 | 33.0 | 40.0 | 36.5 [35.0–38.0] |
        | *chance* | 25.0 | 40.0 | 32.5 |
        """
    )


def test_collapse_table() -> None:
    assert collapse_table(SEEDS) == shown(
        """
        | seed | weights | layer | drop, nats | sharpness | consistency | 95 % interval | mean curve, nats |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | 4 | trained | 2 | 0.457 | 3.46 | 25.0 % | 2–3 | 2.00 1.23 0.50 |
        | 4 | untrained | none found | – | – | – | – | 1.00 1.50 |
        | 5 | trained | 1 | 0.457 | 3.46 | 25.0 % | – | 1.00 0.25 |
        """
    )


NAMES = [
    "AUC",
    *(f"AUC, {name}" for name in (*CONTROLS, *RANDOM)),
    "AUC left after query energy",
    "AUC left after all explanations",
    "rank correlation with query energy",
    "rank correlation with place",
]


def heads(start: float) -> dict[str, Any]:
    """Two layers; each number is another: by convention tenths, by measure hundredths, by layer a half."""
    layers: dict[str, Any] = {}
    for layer in (1, 2):
        shift = start + (layer == 2) / 2
        rows = {
            convention: {name: [shift + place / 10 + row / 100, 9, 9] for row, name in enumerate(NAMES)}
            for place, convention in enumerate(CONVENTIONS)
        }
        layers[str(layer)] = {**rows, "query energy": {"AUC": [shift + 0.4, 9, 9]}}
    return {"layers": layers}


HEADS = [heads(0.0), heads(0.01), heads(0.05)]
for seed in HEADS[1:]:
    seed["layers"]["3"] = {}  # which the first has not
    seed["layers"]["1"]["another"] = {"AUC": [9, 9, 9]}
    seed["layers"]["1"]["paper"]["rank correlation with nothing"] = [9, 9, 9]


def test_auc_table() -> None:
    first, second, third = (name.upper() for name in CONVENTIONS)
    assert auc_table(HEADS) == shown(
        f"""
        | score | K = 1 | K = 2 |
        | --- | --- | --- |
        | **{first}** | 0.02 [0.00, 0.05] | 0.52 [0.50, 0.55] |
        | **{second}** | 0.12 [0.10, 0.15] | 0.62 [0.60, 0.65] |
        | **{third}** | 0.22 [0.20, 0.25] | 0.72 [0.70, 0.75] |
        | query energy | 0.42 [0.40, 0.45] | 0.92 [0.90, 0.95] |
        """
    )


def test_correlation_and_control_tables() -> None:
    first, *rows = correlation_table(HEADS, 2).splitlines()
    assert first == f"| K = 2 | {' | '.join(name.upper() for name in CONVENTIONS)} |"
    assert rows[1] == "| query energy | 0.60 [0.58, 0.63] | 0.70 [0.68, 0.73] | 0.80 [0.78, 0.83] |"
    assert rows[2].startswith("| place | 0.61 [0.59, 0.64] |") and len(rows) == 3
    first, _, *rows = control_table(HEADS, 1).splitlines()
    assert first == f"| AUC at K = 1 | {' | '.join(name.upper() for name in CONVENTIONS)} |"
    leaves = ["what query energy leaves", "what all explanations leaves"]
    named = ["as it is", *CONTROLS, *RANDOM, *leaves]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == named
    assert [row.split(" | ")[1] for row in rows] == [
        f"{0.02 + 0.01 * n:.2f} [{0.01 * n:.2f}, {0.05 + 0.01 * n:.2f}]" for n in range(len(named))
    ]


def counted(objects: int, background: int, copied: bool, *right: float, more: float | None = 0.5) -> list[Any]:
    condition = {"objects": objects, "background": background, "copied": copied}
    return [
        {**condition, "right": [share, 9, 9], "too many": None if more is None else [place - more, 9, 9]}
        for place, share in enumerate(right)
    ]


def test_counting_table() -> None:
    rows = [
        counted(1, 0, False, 0.2, 0.4),
        counted(1, 1, True, 0.5, 0.5, more=0.25),
        counted(1, 2, True, 0.5, 0.5),
        counted(1, 4, True, 0.5, 0.5),
        counted(0, 32, False, 0.0, 0.1, more=None),
        counted(0, 144, False, 0.0, 0.1),
        counted(2, 144, False, 0.9, 1.0),
        counted(3, 143, False, 0.9, 1.0),
        counted(1, 143, False, 0.9, 1.0),
        counted(1, 144, False, 0.9, 1.0),
    ]
    results = [{"layers": {"2": [row[seed] for row in rows]}} for seed in (0, 1)]
    results[1]["layers"]["2"].append({})  # which the first has not
    assert counting_table(results, 2) == shown(
        """
        | from layer 2 on | count right, % | counted too many |
        | --- | --- | --- |
        | every object, no background tokens | 30.0 [20.0–40.0] | +0.00 [-0.50, +0.50] |
        | every object, 1 background token copied to the full number | 50.0 [50.0–50.0] | +0.25 [-0.25, +0.75] |
        | every object, 2 background tokens copied to the full number | 50.0 [50.0–50.0] | +0.00 [-0.50, +0.50] |
        | every object, 4 background tokens copied to the full number | 50.0 [50.0–50.0] | +0.00 [-0.50, +0.50] |
        | no object, 32 background tokens | 5.0 [0.0–10.0] | no number |
        | no object, the whole background | 5.0 [0.0–10.0] | +0.00 [-0.50, +0.50] |
        | every object twice, the whole background | 95.0 [90.0–100.0] | +0.00 [-0.50, +0.50] |
        | every object three times, 143 background tokens | 95.0 [90.0–100.0] | +0.00 [-0.50, +0.50] |
        | every object, 143 background tokens | 95.0 [90.0–100.0] | +0.00 [-0.50, +0.50] |
        | the whole image | 95.0 [90.0–100.0] | +0.00 [-0.50, +0.50] |
        """
    )


def costs(layer: int, shares: dict[int, dict[int, float]], less: float = 0.0, lost: float = 0.5) -> dict[str, Any]:
    """Budgets by average, then layer; RANDOM is a tenth below PAPER, and layers of equal FLOPs a twentieth."""
    budgets = []
    for equal, off in (("average", 0.0), ("flops", 0.05)):
        for average, row in shares.items():
            found = []
            for at, share in row.items():
                accuracy = {PAPER: share - off - less, "random": share - off - less - 0.1}
                later = {name: (row[max(row)] - share, -1.0, row[max(row)] - share + 0.015) for name in accuracy}
                keep = 100 * at + average
                found.append({"layer": at, "keep": keep, "accuracy": accuracy, "latest minus this": later})
            budgets.append({"average": average, "equal": equal, "cells": found})
    none = [cell("none kept", at, 0, 0.9 - lost / at**2, 0.9 - lost / at**2) for at in (1, 2, 3)]
    return {
        "layers": 4,
        "visual_tokens": 144,
        "scorers": [PAPER, "random"],
        "chance": {"color": 0.25, "count": 0.4},
        "budgets": budgets,
        "cells": [cell("unpruned", 4, 144, 0.9, 0.9), *none],
        "collapse": {"layer": layer, "sharpness": 4.321, "consistency": 0.8749},
        "other definitions": {"share_of_drop": 3, "second": None},
    }


SHARES = {90: {1: 0.5, 2: 0.8, 3: 0.7}, 60: {1: 0.6, 2: 0.5}, 30: {1: 0.3}}
ONE, TWO = costs(2, SHARES), costs(2, SHARES, less=0.2)
TWO["budgets"] += costs(2, {20: {1: 0.1, 2: 0.2}})["budgets"]  # which the first has not
TWO["budgets"][2]["cells"] += copy.deepcopy(ONE["budgets"][1]["cells"][1:])  # two at 30, not one
for row in TWO["budgets"]:
    for other in row["cells"]:
        other["keep"] += 7  # of another model; the first is shown
for only_in_the_first in ("layers", "visual_tokens", "scorers", "chance"):
    del TWO[only_in_the_first]


def test_layers_table() -> None:
    assert layers_table([ONE, TWO], PAPER) == shown(
        """
        | average | K = 1 | K = 2, the collapse | K = 3 |
        | --- | --- | --- | --- |
        | 90 | 190: 40.0 [30.0–50.0] | 290: **70.0 [60.0–80.0]** | 390: 60.0 [50.0–70.0] |
        | 60 | 160: **50.0 [40.0–60.0]** | 260: 40.0 [30.0–50.0] | – |
        | 30 | 130: **20.0 [10.0–30.0]** | – | – |
        """
    )
    few = [costs(2, {60: SHARES[60], 30: SHARES[30]}), costs(1, {60: SHARES[60], 30: SHARES[30]})]
    assert layers_table(few, "random", "flops") == shown(
        """
        | average | K = 1 | K = 2 |
        | --- | --- | --- |
        | 60 | 160: **45.0 [45.0–45.0]** | 260: 35.0 [35.0–35.0] |
        | 30 | 130: **15.0 [15.0–15.0]** | – |
        """
    )


def test_floors_table() -> None:
    """0.9 - 0.5, 0.9 - 0.5 / 4 and 0.9 - 0.5 / 9; layer K of 4 costs K x 36 tokens a layer."""
    assert floors_table([ONE, TWO]) == shown(
        """
        | nothing kept from layer | average | accuracy, % |
        | --- | --- | --- |
        | 1 | 36 | 40.0 [40.0–40.0] |
        | 2 | 72 | 77.5 [77.5–77.5] |
        | 3 | 108 | 84.4 [84.4–84.4] |
        | *chance* | 0 | 32.5 |
        """
    )


def test_rules_table() -> None:
    """Over the averages of 90 and 60, which two layers can afford."""
    assert rules_table([ONE, TWO]) == shown(
        """
        | scorer | layer 1 | the collapse layer | as late as can be | hindsight |
        | --- | --- | --- | --- | --- |
        | token-entropy-paper | 45.0 [35.0–55.0] | 55.0 [45.0–65.0] | 50.0 [40.0–60.0] | 60.0 [50.0–70.0] |
        | random | 35.0 [25.0–45.0] | 45.0 [35.0–55.0] | 40.0 [30.0–50.0] | 50.0 [40.0–60.0] |
        """
    )
    assert rules_table([ONE], "flops").splitlines()[2] == "| token-entropy-paper | 50.0 | 60.0 | 55.0 | 65.0 |"


def test_verdict_table() -> None:
    """ONE is best at the collapse where a later layer can; 0.8 against 0.79 is noise; or nothing is lost there."""
    noise = costs(2, {90: {1: 0.5, 2: 0.8, 3: 0.79}, 60: {1: 0.4, 2: 0.5}, 30: {1: 0.3}}, lost=0.03)
    lost = costs(3, {90: {1: 0.5, 2: 0.6}}, lost=0.06)
    assert [verdict(result) for result in (ONE, noise, lost)] == ["a", "b", "b"]
    later = costs(2, {90: {1: 0.9, 2: 0.5, 3: 0.4}, 60: {1: 0.4, 2: 0.5}})
    assert wins(later, PAPER) == {"clearly": [], "within noise": [], "as the latest": [60]}
    even = costs(2, SHARES)
    even["budgets"][0]["cells"][1]["latest minus this"][PAPER] = (-0.2, -0.4, 0.0)  # an interval that ends at none
    assert verdict(even) == "c"
    both = costs(2, SHARES, lost=0.03)
    assert verdict(both) == "a and b" and verdict(costs(1, {90: {1: 0.5, 2: 0.8}})) == "c"
    head, line, *rows = verdict_table({"one": ONE, "noise": noise, "lost": lost}).splitlines()
    assert head == (
        "| model | collapse | sharpness | agree | clearly best although later ones can | best within noise "
        "| best as the latest that can | nothing lost from (1 / 5 points) | other definitions | answer |"
    )
    assert line == "|" + " --- |" * 10
    other = "share of drop 3, second none"
    assert rows == [
        f"| one | 2 of 4 | 4.32 | 87 % | 90 | never | never | None / None | {other} | a |",
        f"| noise | 2 of 4 | 4.32 | 87 % | never | 90 | 60 | 2 / 1 | {other} | b |",
        f"| lost | 3 of 4 | 4.32 | 87 % | never | never | never | 3 / 2 | {other} | b |",
    ]

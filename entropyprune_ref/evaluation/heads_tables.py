"""Tables of the page on what the score sees, from `results/heads.json`."""

from typing import Any

from entropyprune_ref.scoring import CONVENTIONS

from .head_controls import CONTROLS
from .tables import table

RANDOM = ("random weights", "random query weights, trained states")
"""Controls in which nothing was learned, or only the states."""


def values(results: list[dict[str, Any]], layer: int, score: str, name: str) -> list[float]:
    """Returns one measure of every seed."""
    return [result["layers"][str(layer)][score][name][0] for result in results]


def by_seed(found: list[float]) -> str:
    """Returns the mean over seeds, and their range."""
    return f"{sum(found) / len(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


def auc_table(results: list[dict[str, Any]]) -> str:
    """Returns the AUC for patches that show a thing, of every score and explanation, by prune layer."""
    layers = [int(layer) for layer in results[0]["layers"]]
    names = [*CONVENTIONS, *(name for name in results[0]["layers"]["1"] if name not in CONVENTIONS)]
    rows = []
    for name in names:
        shown = f"**{name.upper()}**" if name in CONVENTIONS else name
        rows.append([shown, *(by_seed(values(results, layer, name, "AUC")) for layer in layers)])
    return table(["score", *(f"K = {layer}" for layer in layers)], rows)


def correlation_table(results: list[dict[str, Any]], layer: int) -> str:
    """Returns the rank correlation of every convention with every explanation."""
    begin = "rank correlation with "
    names = [name for name in results[0]["layers"]["1"]["paper"] if name.startswith(begin)]
    rows = [
        [name.removeprefix(begin), *(by_seed(values(results, layer, convention, name)) for convention in CONVENTIONS)]
        for name in names
    ]
    return table([f"K = {layer}", *(name.upper() for name in CONVENTIONS)], rows)


def control_table(results: list[dict[str, Any]], layer: int) -> str:
    """Returns the AUC of every convention as it is, after every control, and of what the explanations leave."""
    names = {"as it is": "AUC", **{name: f"AUC, {name}" for name in (*CONTROLS, *RANDOM)}}
    names |= {f"what {left} leaves": f"AUC left after {left}" for left in ("query energy", "all explanations")}
    rows = [
        [shown, *(by_seed(values(results, layer, convention, name)) for convention in CONVENTIONS)]
        for shown, name in names.items()
    ]
    return table([f"AUC at K = {layer}", *(name.upper() for name in CONVENTIONS)], rows)


def counting_table(results: list[dict[str, Any]], layer: int) -> str:
    """Returns how often counting is right and how many things too many are counted, by what is left of the image."""
    rows = []
    for place, condition in enumerate(results[0]["layers"][str(layer)]):
        found = [result["layers"][str(layer)][place] for result in results]
        right, excess = [row["right"][0] for row in found], [row["too many"][0] for row in found if row["too many"]]
        shares = f"{100 * sum(right) / len(right):.1f} [{100 * min(right):.1f}–{100 * max(right):.1f}]"
        mean = f"{sum(excess) / len(excess):+.2f} [{min(excess):+.2f}, {max(excess):+.2f}]" if excess else "no number"
        rows.append([_named(condition), shares, mean])
    return table([f"from layer {layer} on", "count right, %", "counted too many"], rows)


def _named(condition: dict[str, Any]) -> str:
    objects, background = condition["objects"], condition["background"]
    things = {0: "no object", 1: "every object", 2: "every object twice", 3: "every object three times"}[objects]
    if condition["copied"]:
        return f"{things}, {background} background token{'s' * (background > 1)} copied to the full number"
    named = "the whole background" if background >= 144 else f"{background or 'no'} background tokens"
    return f"{things}, {named}" if objects != 1 or background < 144 else "the whole image"

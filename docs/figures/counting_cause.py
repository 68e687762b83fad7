"""Why counting fails: objects kept whole, and the weight of the background given back in three ways."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from floors import spread

RESULTS = Path(__file__).parents[2] / "results" / "counting.json"
SHOWN = (
    ("every object, no background", 1, 0, False),
    ("every object, 32 background tokens", 1, 32, False),
    ("every object, 96 background tokens", 1, 96, False),
    ("every object, one background token, copied until the sequence is as long as before", 1, 1, True),
    ("every object, four background tokens, copied likewise", 1, 4, True),
    ("the whole image", 1, 144, False),
    ("the whole image, and every object once more", 2, 144, False),
    ("the whole image, and every object twice more", 3, 144, False),
)


@cache
def counted() -> tuple[dict[str, Any], ...]:
    """The committed measurement, one for each training seed."""
    return tuple(json.loads(RESULTS.read_text()))


def condition(seed: dict[str, Any], objects: int, background: int, copied: bool, layer: int = 1) -> dict[str, Any]:
    """What one condition gave: how often the count is right, and by how much it is too high."""
    (found,) = [
        row
        for row in seed["layers"][str(layer)]
        if (row["objects"], row["background"], row["copied"]) == (objects, background, copied)
    ]
    return dict(found)


def table() -> str:
    """Right counts, and the mean of the count less the truth, for what is read from layer 1 on."""
    lines = ["| read from layer 1 on | count right | count less truth |", "| --- | --- | --- |"]
    for name, objects, background, copied in SHOWN:
        found = [condition(seed, objects, background, copied) for seed in counted()]
        over = [row["too many"][0] for row in found]
        signed = f"{sum(over) / len(over):+.2f} [{min(over):+.2f} to {max(over):+.2f}]".replace("-", "−")
        lines.append(f"| {name} | {spread([100 * row['right'][0] for row in found])} | {signed} |")
    return '<div class="words" markdown>\n\n' + "\n".join(lines) + "\n\n</div>"

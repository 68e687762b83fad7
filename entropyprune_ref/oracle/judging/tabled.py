"""The generated bugs, counted by operator and contract: how many there are, are right after all, and are caught."""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

import torch

from ..bugs.generated import Generated, sample
from ..bugs.generated.operators import kind_of
from ..bugs.generated.reasons import reason
from ..bugs.generated.witnesses import witness
from ..inputs.case import Setting
from .selftest import caught_by

Progress = Callable[[str, int, int], None]

FIRST = ("value", "real sizes")
"""Laws that most bugs break."""


@cache
def recorded() -> dict[str, Any]:
    """What the last run found, as shipped: see `measure_generated`."""
    file = resources.files(__package__).joinpath("generated.json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def digest() -> str:
    """Of the names of the bugs that are run."""
    return sha256("\n".join(entry.name for entry in sample()).encode()).hexdigest()


def setting_of(entry: Generated) -> Setting:
    """Generated bugs are checked in float64, at the default size."""
    return Setting(entry.contract, entry.convention, torch.float64, time_limit=math.inf)


def measure_generated(*, progress: Progress | None = None) -> dict[str, Any]:
    """Looks for a witness of every bug, and checks those that have one; the result is what the package ships."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for number, entry in enumerate(sample()):
        if progress is not None:
            progress(entry.contract, number, len(sample()))
        seen = witness(entry)
        law = caught_by(entry.implementation(), setting_of(entry), first=FIRST) if seen else None
        found[entry.name] = (seen, law)
    return tabulated(found)


def tabulated(found: Mapping[str, tuple[str | None, str | None]]) -> dict[str, Any]:
    """The record of a run.

    Args:
        found: Findings by the name of the bug: the name of the witness, and the law that caught it. What is not there
            was not run.

    Returns:
        `digest` of the names; `table`: by kind of operator and contract how many bugs there are, how many of them are
        equivalent, how many are caught, and how many were not run; `laws`: how many each law caught first;
        `equivalent`: names with their reason; `missed`: names.
    """
    table: dict[str, dict[str, list[int]]] = {}
    laws: dict[str, int] = {}
    equivalent, missed = {}, []
    for entry in sample():
        counts = table.setdefault(kind_of(entry.bug.operator), {}).setdefault(entry.contract, [0, 0, 0, 0])
        counts[0] += 1
        if entry.name not in found:
            counts[3] += 1
            continue
        seen, law = found[entry.name]
        if law is not None:
            counts[2] += 1
            laws[law] = laws.get(law, 0) + 1
        elif seen is None:
            counts[1] += 1
            equivalent[entry.name] = reason(entry)
        else:
            missed.append(entry.name)
    return {"digest": digest(), "table": table, "laws": laws, "equivalent": equivalent, "missed": missed}

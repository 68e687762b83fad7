"""What a "passed" is worth: how many known-wrong implementations a check tells from the right one, by setting."""

import json
from functools import cache
from importlib import resources
from typing import Any

from ..inputs.case import Setting


@cache
def recorded() -> dict[str, Any]:
    """What the last self-test of all settings found, as shipped: by `key`, how many there are and which are missed."""
    file = resources.files(__package__).joinpath("power.json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"settings": {}}
    return found


def key(setting: Setting) -> str:
    """Names what matters of a setting: contract, convention, dtype of the inputs and of the computation."""
    parts = [setting.contract, setting.convention.name, str(setting.dtype), str(setting.computes_in)]
    return " ".join(part.removeprefix("torch.") for part in parts)


def power_line(setting: Setting) -> str:
    """The last line of a report; empty for a setting that was never measured, such as a convention of one's own."""
    found = recorded()["settings"].get(key(setting))
    if found is None:
        return ""
    known, missed = found["known"], found["missed"]
    told = f"In this setting, {known - len(missed)} of {known} known-wrong implementations are told from the right one"
    return f"{told}; not: {', '.join(missed)}." if missed else f"{told}."

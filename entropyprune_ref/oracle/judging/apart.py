"""A check that depends on nothing else in the program, and leaves nothing behind where somebody checks a kernel."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import configuration
from hypothesis.internal.conjecture import providers

_CACHE, _LOOKUP, _FOUND = "CONSTANTS_CACHE", "_get_local_constants", "_local_constants"
_own: dict[str, Any] = {}


@contextmanager
def apart() -> Iterator[None]:
    """Runs hypothesis apart from the rest of the program.

    What it writes goes to a temporary folder, the same for all checks. And it draws no constants of modules that happen
    to be imported, as it otherwise would: the same seed gives the same cases in every program. (Releases of hypothesis
    that have no such constants, or have them elsewhere, are left as they are.)
    """
    home = configuration.__dict__.get("__hypothesis_home_directory")
    configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"entropyprune-ref-{_user()}")
    before = {}
    if all(hasattr(providers, name) for name in (_CACHE, _LOOKUP, _FOUND)):
        before = {name: getattr(providers, name) for name in (_CACHE, _LOOKUP)}
        none = type(getattr(providers, _FOUND))()
        _own.setdefault(_CACHE, type(before[_CACHE])(before[_CACHE].max_size))
        setattr(providers, _CACHE, _own[_CACHE])
        setattr(providers, _LOOKUP, lambda: none)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(providers, name, value)
        configuration.set_hypothesis_home_dir(home)


def _user() -> int:
    return int(getattr(os, "getuid", int)())

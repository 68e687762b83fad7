"""Where hypothesis keeps its caches: not in the folder in which somebody checks a kernel."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import configuration


@contextmanager
def no_traces() -> Iterator[None]:
    """Sends what hypothesis writes to a temporary folder, the same for all checks, and then where it went before."""
    before = configuration.__dict__.get("__hypothesis_home_directory")
    folder = Path(tempfile.gettempdir()) / f"entropyprune-ref-{getattr(os, 'getuid', int)()}"
    configuration.set_hypothesis_home_dir(folder)
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)

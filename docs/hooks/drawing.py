"""Figures of the pages: functions of `docs/figures/`, drawn for each colour scheme, and for phones."""

import importlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
NARROW = 4.6
"""Inches of a figure for a phone: at 350 pixels its text is as high as that of the page."""
PATH = re.compile(rb' (?:d|x|y)="[^"]*"')
NUMBER = re.compile(rb"-?\d+\.\d{3,}")
"""A hundredth of a point is finer than any screen, and half of what a figure weighs is digits behind it."""
INK = {"light": "#26292e", "dark": "#dde1e8"}
CYCLE = {
    # Okabe and Ito's colours, told apart by all readers; lighter ones on a dark page
    "light": ["#0072b2", "#d55e00", "#007a5a", "#a2588a", "#8a6d00", "#4c8fbd", "#666666"],
    "dark": ["#56b4e9", "#ff8c42", "#2fc79b", "#dd9bc6", "#e6c84b", "#9ecae8", "#b0b0b0"],
}


@cache
def called(name: str) -> Callable[[], Any]:
    """Returns a function of `docs/figures/` by `module.function`."""
    module, _, function = name.rpartition(".")
    folder = str(ROOT / "docs" / "figures")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not (ROOT / "docs" / "figures" / f"{module}.py").is_file():
        raise PluginError(f"{name} must be in docs/figures/, got no file {module}.py there")
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise PluginError(f"docs/figures/{module}.py must define {function}, got no such function")
    known: Callable[[], Any] = found
    return known


@cache
def stacks(name: str) -> bool:
    """Whether a figure is drawn once more for a phone: all but those that are narrow by themselves."""
    size = re.search(r"plt\.subplots\([^\n]*?figsize=\((\d+(?:\.\d+)?),", inspect.getsource(called(name)))
    return size is None or float(size[1]) > 1.2 * NARROW


@contextmanager
def one_below_another() -> Iterator[None]:
    """Makes one column of panels that would stand side by side, in the width of a phone; of a grid, columns of rows."""
    import matplotlib.pyplot as plt

    usual = plt.subplots

    def stacked(rows: int = 1, columns: int = 1, **options: Any) -> Any:
        width, height = options.get("figsize", (7, 3.2))
        if rows == columns == 1:
            return usual(figsize=(NARROW, min(height, 1.4 * height * NARROW / width)))
        if rows > 1 and columns <= 2:
            return usual(rows, columns, **options | {"figsize": (NARROW, height * NARROW / width)})
        if rows > 1:
            figure, axes = usual(columns, rows, **options | {"figsize": (NARROW, NARROW * columns / rows)})
            return figure, axes.T
        heights = options.pop("width_ratios", None)
        options["figsize"] = (NARROW, 2.7 * columns)
        if heights is not None and columns > 2:
            options["height_ratios"] = [1] * columns
        return usual(columns, rows, **options)

    plt.subplots = stacked
    try:
        yield
    finally:
        plt.subplots = usual


@cache
def drawn(name: str, scheme: str, narrow: bool = False) -> bytes:
    """Returns a figure as SVG."""
    import matplotlib.pyplot as plt

    with style(scheme), one_below_another() if narrow else nullcontext():
        picture = called(name)()
        if not hasattr(picture, "savefig"):
            raise PluginError(f"{name} must return a matplotlib Figure, got {type(picture).__name__}")
        buffer = io.BytesIO()
        picture.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(picture)
    tidy = re.sub(rb"(?s)<metadata>.*?</metadata>|<!--.*?-->", b"", buffer.getvalue())
    tidy = PATH.sub(lambda path: NUMBER.sub(lambda number: b"%.2f" % float(number[0]), path[0]), tidy)
    return re.sub(rb"\s+", b" ", tidy)


@contextmanager
def style(scheme: str) -> Iterator[None]:
    """The look of figures: no background, the page's ink, colours that all readers can tell apart."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ink = INK[scheme]
    rules = {
        "figure.figsize": (7, 3.2),
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "axes.titlecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "lines.color": CYCLE[scheme][0],
        "patch.edgecolor": ink,
        "axes.prop_cycle": plt.cycler(color=CYCLE[scheme]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "image.interpolation": "none",  # pictures as they are, not drawn larger
        "savefig.dpi": 144,  # of what a figure marks as too many points for a drawing
        "svg.hashsalt": "entropyprune-ref",
        "figure.constrained_layout.use": True,
    }
    with plt.rc_context(rules):
        yield

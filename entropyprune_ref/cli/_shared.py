"""What several commands need: the model option, a progress bar, tables, and JSON that any reader accepts."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from ..llava import Llava

weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A model that `train` made.  [default: the bundled one]",
)
device_option = click.option("--device", default="cpu", show_default=True, help="Where to compute, as torch names it.")
SEED = click.IntRange(0, 2**64 - 1)
"""What every generator of random numbers takes as a seed."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")


def load(weights: Path | None) -> Llava:
    """Returns the bundled model, or the one in a file."""
    return Llava.from_pretrained(weights)


@runtime_checkable
class Report(Protocol):
    """Moves the bar of a stage, which appears at the first call."""

    def __call__(self, stage: str, done: int, total: int, **fields: Any) -> None:
        """Says how much of a stage is done, and what the columns after the bar show."""


@contextmanager
def progress(columns: str = "") -> Iterator[Report]:
    """Shows one bar a stage on stderr; gives a function to call with stage, done, total.

    Args:
        columns: More text after the bar: a format of the task's fields, such as `"{task.fields[loss]}"`.
    """
    parts = [TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    more = [TimeRemainingColumn(), TextColumn(columns)] if columns else []
    with Progress(*parts, *more, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, **fields: Any) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, **fields)
            bars.update(tasks[stage], completed=done, **fields)

        yield report


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table on stdout: the first column at the left, figures at the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    say(title)
    Console(highlight=False, width=None if sys.stdout.isatty() else 240).print(table)


def say(text: str) -> None:
    """Prints one sentence on stdout, as it is."""
    click.echo(text)


def dump(value: object) -> None:
    """Prints JSON: infinite numbers and NaN become null, arrays and tensors lists."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: object) -> Any:
    """Returns the value in types that JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Tensor | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def require_writable(path: Path) -> None:
    """Refuses an output before anything long is run, if its folder cannot be made or written."""
    parent = path.absolute().parent
    nearest = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise click.UsageError(f"{path} must be a file that can be written")


def writable_folder(context: click.Context, option: click.Parameter, path: Path) -> Path:
    """Makes the folder of an `--out`, or refuses it before anything long is run."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{path} must be a folder that can be made, got {error.strerror}") from None
    require_writable(path / "any")
    return path

"""Covariance side against Gram side of a token's heads: the promised ratio, and the measured one.

The cost of eigenvalues goes with the cube of the side, (head_dim / heads)**3, that of the matrix with the side only,
head_dim / heads. What a whole score gains lies between. Run as `python benchmarks/dual_gram.py`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from entropyprune_ref.gram import Side, centred
from entropyprune_ref.scoring import PAPER, token_entropy

SHAPES = ((8, 32), (16, 64), (32, 128), (28, 128))
SIDES: tuple[Side, Side] = ("covariance", "gram")


def medians(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns, so that a slow moment of the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            begin = time.perf_counter()
            task()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(heads: int, head_dim: int, *, tokens: int, repeats: int) -> dict[str, float]:
    """One row: milliseconds of each step on each side, and the ratios, measured and in theory."""
    queries = torch.randn(tokens, heads, head_dim, generator=torch.Generator().manual_seed(0))
    rows = centred(queries)
    matrices = {"covariance": rows.mT @ rows, "gram": rows @ rows.mT}
    tasks: dict[str, Callable[[], object]] = {
        "matrix covariance": lambda: rows.mT @ rows,
        "matrix gram": lambda: rows @ rows.mT,
    }
    for side in SIDES:
        tasks[f"eigenvalues {side}"] = lambda side=side: torch.linalg.eigvalsh(matrices[side])  # type: ignore[misc]
        tasks[f"score {side}"] = lambda side=side: token_entropy(queries, PAPER, side=side)  # type: ignore[misc]
    seconds = medians(tasks, repeats)
    row = {"heads": heads, "head_dim": head_dim} | {f"{name} ms": 1e3 * value for name, value in seconds.items()}
    for side in SIDES:
        row[f"total {side} ms"] = row[f"matrix {side} ms"] + row[f"eigenvalues {side} ms"]
    for step in ("matrix", "eigenvalues", "total", "score"):
        row[f"{step} ratio"] = row[f"{step} covariance ms"] / row[f"{step} gram ms"]
    return row | {"matrix theory": head_dim / heads, "eigenvalues theory": (head_dim / heads) ** 3}


def main(*, tokens: int = 576, repeats: int = 9) -> list[dict[str, float]]:
    """Measures every shape, prints the table, returns its rows."""
    rows = [measure(*shape, tokens=tokens, repeats=repeats) for shape in SHAPES]
    table = Table(title=f"Dual Gram: covariance / Gram, {tokens} tokens, float64, {torch.get_num_threads()} threads")
    steps = {
        "matrix": "matrix, ms",
        "eigenvalues": "eigenvalues, ms",
        "total": "both, ms",
        "score": "token_entropy, ms",
    }
    for heading in ("heads x dim", *steps.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = []
        for step in steps:
            theory = f" ({row[f'{step} theory']:.3g})" if f"{step} theory" in row else ""
            times = f"{row[f'{step} covariance ms']:.1f} / {row[f'{step} gram ms']:.1f}"
            cells.append(f"{times} = {row[f'{step} ratio']:.1f}{theory}")
        table.add_row(f"{row['heads']} x {row['head_dim']}", *cells)
    table.caption = "in brackets: the ratio in theory, dim / heads for the matrix and its cube for the eigenvalues"
    Console(width=140).print(table)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=576)
    parser.add_argument("--repeats", type=int, default=9)
    main(**vars(parser.parse_args()))

"""`token_entropy` against the plain formula: time, peak extra memory, and growth with the number of tokens.

The plain formula is what one would write first: all tokens at once, in float64. Run as
`python benchmarks/token_entropy.py`.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from entropyprune_ref.scoring import token_entropy

HEADS, HEAD_DIM = 32, 128
SIZES = (576, 2880, 23040)


def plain(queries: Tensor) -> Tensor:
    """Eq. 3.1 in five lines: centre, einsum, normalise, eigvalsh, entropy."""
    centred = queries.double() - queries.double().mean(-2, keepdim=True)
    gram = torch.einsum("thd,tgd->thg", centred, centred)
    density = gram / gram.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    eigenvalues = torch.linalg.eigvalsh(density).clamp(min=0)
    return torch.special.entr(eigenvalues).sum(-1)


FUNCTIONS = {"plain": plain, "token_entropy": token_entropy}


def draw(tokens: int) -> Tensor:
    """Queries in float32, as a model gives them."""
    return torch.randn(tokens, HEADS, HEAD_DIM, generator=torch.Generator().manual_seed(0))


def peak() -> float:
    """Peak resident memory of this process so far, in MiB."""
    if sys.platform == "linux":  # where ru_maxrss begins at the peak of the process that started this one
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peak_memory(name: str, tokens: int) -> float:
    """MiB by which one call raises the peak memory of this process, which must not have called it before."""
    queries = draw(tokens)
    FUNCTIONS[name](queries[:2])  # libraries and threads
    before = peak()
    FUNCTIONS[name](queries)
    return peak() - before


def peak_memory_apart(name: str, tokens: int) -> float:
    """`peak_memory` in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, str(tokens)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(tokens: int, *, repeats: int) -> dict[str, float]:
    """One row: medians over turns that the two functions take, peak memory of each, largest difference."""
    queries = draw(tokens)
    times: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    results = {name: function(queries) for name, function in FUNCTIONS.items()}  # warms up as well
    for _ in range(repeats):
        for name, function in FUNCTIONS.items():
            begin = time.perf_counter()
            function(queries)
            times[name].append(time.perf_counter() - begin)
    row: dict[str, float] = {"tokens": tokens}
    for name in FUNCTIONS:
        row[f"{name} ms"] = 1e3 * statistics.median(times[name])
        row[f"{name} us per token"] = 1e3 * row[f"{name} ms"] / tokens
        row[f"{name} MiB"] = peak_memory_apart(name, tokens)
    row["time ratio"] = row["token_entropy ms"] / row["plain ms"]
    row["largest difference"] = (results["plain"] - results["token_entropy"]).abs().max().item()
    return row


def main(*, sizes: tuple[int, ...] = SIZES, repeats: int = 7) -> list[dict[str, float]]:
    """Measures every size, prints the table, returns its rows."""
    rows = [measure(tokens, repeats=max(3, repeats * min(sizes) // tokens)) for tokens in sizes]
    table = Table(
        title=f"token_entropy against the plain formula, {HEADS} x {HEAD_DIM}, {torch.get_num_threads()} threads"
    )
    headings = ("tokens", "plain, ms", "ours, ms", "ours / plain", "plain, us/token", "ours, us/token")
    for heading in (*headings, "plain, extra MiB", "ours, extra MiB", "largest difference"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row['tokens']:,}",
            f"{row['plain ms']:.1f}",
            f"{row['token_entropy ms']:.1f}",
            f"{row['time ratio']:.2f}",
            f"{row['plain us per token']:.1f}",
            f"{row['token_entropy us per token']:.1f}",
            f"{row['plain MiB']:.1f}",
            f"{row['token_entropy MiB']:.1f}",
            f"{row['largest difference']:.1e}",
        )
    Console(width=140).print(table)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", nargs=2, metavar=("FUNCTION", "TOKENS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak_memory(arguments.peak[0], int(arguments.peak[1])))
    else:
        main(sizes=tuple(arguments.sizes), repeats=arguments.repeats)

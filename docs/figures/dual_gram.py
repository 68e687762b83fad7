"""Figures of the page on the dual Gram matrix: two sides of one matrix, measured on this machine at build."""

import time
from collections.abc import Callable
from functools import cache

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from entropyprune_ref.gram import covariance_spectrum, gram_spectrum

GRID = ((8, 32), (8, 64), (16, 32), (16, 64), (16, 128), (32, 64), (32, 128))
TOKENS = 96


def _seconds(work: Callable[[], Tensor]) -> float:
    """The least disturbed of four runs, after one that is not counted."""
    work()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@cache
def measured() -> tuple[tuple[int, int, float, float, float], ...]:
    """For each size: heads, head size, and the ratios covariance side over Gram side of forming, solving and both."""
    rows = []
    for heads, head_dim in GRID:
        generator = torch.Generator().manual_seed(0)
        queries = torch.randn(TOKENS, heads, head_dim, generator=generator, dtype=torch.float64)
        gram, covariance = queries @ queries.mT, queries.mT @ queries
        forming = _seconds(lambda q=queries: q.mT @ q), _seconds(lambda q=queries: q @ q.mT)
        solving = (
            _seconds(lambda c=covariance: torch.linalg.eigvalsh(c)),
            _seconds(lambda g=gram: torch.linalg.eigvalsh(g)),
        )
        both = sum(pair[0] for pair in (forming, solving)) / sum(pair[1] for pair in (forming, solving))
        rows.append((heads, head_dim, forming[0] / forming[1], solving[0] / solving[1], both))
    return tuple(rows)


def ratios() -> str:
    """The table of measured ratios beside those of the operation counts."""
    lines = [
        f"Covariance side over Gram side, {TOKENS} tokens, float64, on the machine that built this page:",
        "",
        "| heads × head size | forming: count | forming: time | eigenvalues: count | eigenvalues: time | both: time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for heads, head_dim, forming, solving, both in measured():
        ratio = head_dim / heads
        cells = [f"{ratio:g}", f"{forming:.1f}", f"{ratio**3:g}", f"{solving:.1f}", f"{both:.1f}"]
        lines.append(f"| {heads} × {head_dim} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline() -> str:
    """What became of the 64 at the size of LLaVA-1.5-7B."""
    (found,) = [row for row in measured() if row[:2] == (32, 128)]
    return (
        f"At the size of LLaVA-1.5-7B, 32 heads of 128, the eigenvalues took **{found[3]:.0f} times** as long on the "
        f"covariance side, forming the matrices {found[2]:.1f} times, both together {found[4]:.0f} times. Timings "
        "change with machine, library and load; the counts do not."
    )


def spectra() -> Figure:
    """Both spectra of one matrix, side by side."""
    features = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    figure, axes = plt.subplots(figsize=(7, 2.8))
    for offset, (name, levels) in enumerate(
        (("covariance side, 9 × 9", covariance_spectrum(features)), ("Gram side, 6 × 6", gram_spectrum(features)))
    ):
        places = torch.arange(1, len(levels) + 1) + 0.4 * offset - 0.2
        axes.bar(places, levels, width=0.36, color=f"C{offset}", label=name, hatch=("", "//")[offset])
    axes.set(xlabel="eigenvalue", ylabel="share of the trace", xticks=range(1, 10))
    axes.legend()
    return figure

"""Figures of the page on the dual Gram matrix: two sides of one matrix, counted, and measured at build."""

import importlib.util
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from entropyprune_ref.flops import LLAVA_1_5_7B
from entropyprune_ref.gram import covariance_spectrum, gram_spectrum

GRID = ((8, 32), (8, 64), (8, 128), (16, 32), (16, 64), (16, 128), (28, 128), (32, 64), (32, 128), (64, 128))
TOKENS, REPEATS = 64, 5
STEPS = {"matrix": "forming", "eigenvalues": "eigenvalues", "score": "whole `token_entropy`"}


@cache
def measured() -> tuple[dict[str, float], ...]:
    """Times and ratios of both sides for every size, by the benchmark's own code."""
    path = Path(__file__).parents[2] / "benchmarks" / "dual_gram.py"
    spec = importlib.util.spec_from_file_location("benchmark_dual_gram", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    return tuple(benchmark.measure(*size, tokens=TOKENS, repeats=REPEATS) for size in GRID)


def counted_ratio(heads: int, head_dim: int, eigen_cost: float) -> float:
    """Covariance side over Gram side, in FLOPs of forming the matrix and taking its eigenvalues."""
    covariance = 2 * heads * head_dim**2 + eigen_cost * head_dim**3
    return covariance / (2 * heads**2 * head_dim + eigen_cost * heads**3)


def counted() -> str:
    """What forming the matrix leaves of the 64, by count."""
    heads, head_dim = LLAVA_1_5_7B.heads, LLAVA_1_5_7B.head_dim
    few, many = (counted_ratio(heads, head_dim, cost) for cost in (4 / 3, 9))
    return (
        f"At {heads} heads of {head_dim} that is **{few:.1f}** for $c = 4/3$, the textbook cost of eigenvalues alone, "
        f"and **{many:.1f}** for $c = 9$, that of eigenvalues with eigenvectors by QR (Golub and Van Loan, *Matrix "
        f"Computations*, section 8.3). Only for $c \\to \\infty$ is it {(head_dim // heads) ** 3}; for $c = 0$ it is "
        f"{head_dim // heads}."
    )


def ratios() -> str:
    """The measured ratios beside those of the operation counts."""
    lines = [
        "| heads × head size | forming: count | measured | eigenvalues: count | measured | "
        "whole `token_entropy`: measured |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for row in measured():
        ratio = row["head_dim"] / row["heads"]
        cells = [f"{ratio:.3g}", f"{row['matrix ratio']:.1f}", f"{ratio**3:.3g}", f"{row['eigenvalues ratio']:.1f}"]
        lines.append(f"| {row['heads']} × {row['head_dim']} | {' | '.join(cells)} | {row['score ratio']:.1f} |")
    return "\n".join(lines)


def headline() -> str:
    """What became of the 64 at the size of LLaVA-1.5-7B, end to end."""
    size = (LLAVA_1_5_7B.heads, LLAVA_1_5_7B.head_dim)
    (row,) = [row for row in measured() if (row["heads"], row["head_dim"]) == size]
    return (
        f"At the size of LLaVA-1.5-7B, {size[0]} heads of {size[1]}, scoring {TOKENS} tokens took "
        f"{row['score gram ms']:.1f} ms on the Gram side and {row['score covariance ms']:.1f} ms on the covariance "
        f"side: **{row['score ratio']:.1f} times as long**, where the cube says 64. Forming the matrices took "
        f"{row['matrix ratio']:.1f} times as long, their eigenvalues {row['eigenvalues ratio']:.1f} times. "
        f"(Median of {REPEATS} runs on {torch.get_num_threads()} thread(s), float64, PyTorch "
        f"{torch.__version__.partition('+')[0]}, when this page was built.)"
    )


def between() -> Figure:
    """Measured ratios of every size against head_dim / heads, with the line and the cube."""
    figure, axes = plt.subplots()
    ratio = [row["head_dim"] / row["heads"] for row in measured()]
    line = torch.tensor([1.9, 17.0])
    ink = plt.rcParams["text.color"]
    axes.plot(line, line, color=ink, linewidth=1)
    axes.plot(line, line**3, color=ink, linewidth=1)
    axes.text(17.5, 16, "count of forming:\n$d_h/h$", va="center", fontsize=9)
    axes.text(17.5, 17**3 * 0.7, "count of eigenvalues:\n$(d_h/h)^3$", va="center", fontsize=9)
    for number, (step, name) in enumerate(STEPS.items()):
        values = [row[f"{step} ratio"] for row in measured()]
        axes.plot(ratio, values, "os^"[number], color=f"C{number}", label=name.replace("`", ""), alpha=0.85)
    axes.set(xscale="log", yscale="log", xlabel="$d_h / h$", ylabel="covariance side / Gram side", xlim=(1.8, 40))
    axes.set_xticks([2, 4, 8, 16], ["2", "4", "8", "16"], minor=False)
    axes.minorticks_off()
    axes.legend(title="time of", loc="upper left", fontsize=9)
    return figure


def spectra() -> Figure:
    """Both spectra of one matrix, side by side."""
    features = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    figure, axes = plt.subplots(figsize=(7, 2.8))
    for offset, (name, levels) in enumerate(
        (("covariance side, 9 × 9", covariance_spectrum(features)), ("Gram side, 6 × 6", gram_spectrum(features)))
    ):
        places = torch.arange(1, len(levels) + 1) + 0.4 * offset - 0.2
        axes.bar(places, levels, width=0.36, color=f"C{offset}", label=name, hatch=("", "//")[offset])
    axes.set(xlabel="number of the eigenvalue", ylabel="share of the trace", xticks=range(1, 10))
    axes.legend()
    return figure

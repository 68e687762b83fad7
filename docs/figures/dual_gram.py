"""Figures of the page on the dual Gram matrix: two sides of one matrix, counted, and measured at build."""

import time
from collections.abc import Callable
from functools import cache

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from entropyprune_ref.flops import LLAVA_1_5_7B
from entropyprune_ref.gram import centred, covariance_spectrum, gram_spectrum
from entropyprune_ref.scoring import token_entropy

GRID = ((8, 32), (8, 64), (8, 128), (16, 32), (16, 64), (16, 128), (28, 128), (32, 64), (32, 128), (64, 128))
SIDES = ("covariance", "gram")
TOKENS, REPEATS = 64, 7


def least_seconds(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least disturbed run of each task; they take turns, so that a busy machine is busy for all."""
    least = dict.fromkeys(tasks, float("inf"))
    for _ in range(REPEATS):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


@cache
def measured() -> dict[tuple[int, int], dict[str, float]]:
    """For every size: seconds of each step on each side, and the ratio, covariance side over Gram side."""
    found = {}
    for heads, head_dim in GRID:
        queries = torch.randn(TOKENS, heads, head_dim, generator=torch.Generator().manual_seed(0))
        rows = centred(queries)
        gram, covariance = rows @ rows.mT, rows.mT @ rows
        tasks: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "forming": (lambda z=rows: z.mT @ z, lambda z=rows: z @ z.mT),
            "eigenvalues": (
                lambda matrix=covariance: torch.linalg.eigvalsh(matrix),
                lambda matrix=gram: torch.linalg.eigvalsh(matrix),
            ),
            "score": (
                lambda q=queries: token_entropy(q, side="covariance"),
                lambda q=queries: token_entropy(q, side="gram"),
            ),
        }
        sides = {f"{step} {side}": pair[i] for step, pair in tasks.items() for i, side in enumerate(SIDES)}
        seconds = least_seconds(sides)
        ratio = {step: seconds[f"{step} covariance"] / seconds[f"{step} gram"] for step in tasks}
        found[heads, head_dim] = seconds | ratio
    return found


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
    for (heads, head_dim), row in measured().items():
        ratio = head_dim / heads
        cells = [f"{ratio:.3g}", f"{row['forming']:.1f}", f"{ratio**3:,.0f}", f"{row['eigenvalues']:.1f}"]
        lines.append(f"| {heads} × {head_dim} | {' | '.join(cells)} | {row['score']:.1f} |")
    return "\n".join(lines)


def headline() -> str:
    """What became of the 64 at the size of LLaVA-1.5-7B, end to end."""
    heads, head_dim = LLAVA_1_5_7B.heads, LLAVA_1_5_7B.head_dim
    row = measured()[heads, head_dim]
    return (
        f"At the size of LLaVA-1.5-7B, {heads} heads of {head_dim}, scoring {TOKENS} tokens took "
        f"{1e3 * row['score gram']:.1f} ms on the Gram side and {1e3 * row['score covariance']:.1f} ms on the "
        f"covariance side: **{row['score']:.0f} times as long** from queries to scores, where the cube alone says "
        f"{(head_dim // heads) ** 3}. Forming the matrices took {row['forming']:.1f} times as long, their eigenvalues "
        f"{row['eigenvalues']:.0f} times. (The best of {REPEATS} runs, {torch.get_num_threads()} "
        f"thread{'s' * (torch.get_num_threads() > 1)}, float64, PyTorch {torch.__version__.partition('+')[0]}, when "
        "this page was built.)"
    )


def between() -> Figure:
    """Measured ratios of every size against head_dim / heads, with the line and the cube."""
    figure, axes = plt.subplots()
    ratio = [head_dim / heads for heads, head_dim in measured()]
    line = torch.tensor([1.9, 17.0])
    ink = plt.rcParams["text.color"]
    axes.plot(line, line, color=ink, linewidth=1)
    axes.plot(line, line**3, color=ink, linewidth=1)
    axes.text(17.5, 16, "count of forming:\n$d_h/h$", va="center", fontsize=9)
    axes.text(17.5, 17**3 * 0.7, "count of eigenvalues:\n$(d_h/h)^3$", va="center", fontsize=9)
    names = {"forming": "forming", "eigenvalues": "eigenvalues", "score": "whole token_entropy"}
    for number, (step, name) in enumerate(names.items()):
        values = [row[step] for row in measured().values()]
        axes.plot(ratio, values, "os^"[number], color=f"C{number}", label=name, alpha=0.85)
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
        axes.bar(places.numpy(), levels.numpy(), width=0.36, color=f"C{offset}", label=name, hatch=("", "//")[offset])
    axes.set(xlabel="number of the eigenvalue", ylabel="share of the trace", xticks=range(1, 10))
    axes.legend()
    return figure

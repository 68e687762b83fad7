"""Figures of the page on the paper's formula and the released one: bundled queries and synthetic ones."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import torch
from _model import queries
from matplotlib.figure import Figure
from torch import Tensor

from entropyprune_ref.gram import centred
from entropyprune_ref.pruning import select_tokens
from entropyprune_ref.scoring import PAPER, RELEASED, token_entropy


@cache
def synthetic() -> Tensor:
    """Gaussian queries of the size of LLaVA-1.5-7B whose tokens have log-normal scales: `(576, 32, 128)`."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.randn(576, 1, 1, generator=generator, dtype=torch.float64).exp()
    return scales * torch.randn(576, 32, 128, generator=generator, dtype=torch.float64)


def energy(stack: Tensor) -> Tensor:
    """The trace that is not divided out: mean squared length of the centred queries."""
    return centred(stack).square().sum((-2, -1)) / stack.shape[-2]


def figures_of(stack: Tensor, keep: int) -> dict[str, float]:
    """Rank correlations of the released score, and how far both formulas keep the same tokens."""
    paper, released, trace = token_entropy(stack, PAPER), token_entropy(stack, RELEASED), energy(stack)
    kept = [set(select_tokens(scores, keep).tolist()) for scores in (paper, released)]
    return {
        "with energy": float(scipy.stats.spearmanr(released, trace).statistic),
        "with entropy": float(scipy.stats.spearmanr(released, paper).statistic),
        "overlap": len(kept[0] & kept[1]) / keep,
        "chance": keep / len(paper),
        "least energy": float(trace.min()),
        "most energy": float(trace.max()),
    }


@cache
def rows() -> dict[str, dict[str, float]]:
    """The figures on synthetic queries, and on the bundled model's, layer by layer (means over images)."""
    found = {"synthetic, 576 tokens, 166 kept": figures_of(synthetic(), 166)}
    for layer in (0, 1, 2):
        each = [figures_of(image, 48) for image in queries(layer, 32).double()]
        found[f"bundled model, layer {layer}, 144 tokens, 48 kept"] = {
            name: float(np.mean([figures[name] for figures in each])) for name in each[0]
        }
    return found


def table() -> str:
    """The figures as a table."""
    lines = [
        "| queries | rank correlation with $s$ | with $H(\\rho)$ | kept by both formulas | by chance | range of $s$ |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in rows().items():
        lines.append(
            f"| {name} | {figures['with energy']:.3f} | {figures['with entropy']:.2f} | {figures['overlap']:.0%} | "
            f"{figures['chance']:.0%} | {figures['least energy']:.3g} to {figures['most energy']:.3g} |"
        )
    return "\n".join(lines)


def scatter() -> Figure:
    """The released score against energy, and against the entropy."""
    figure, axes = plt.subplots(2, 2, figsize=(7, 5), sharey="row")
    for row, stack in enumerate((synthetic(), queries(0, 32)[1].double())):
        released = token_entropy(stack, RELEASED)
        for column, (values, label) in enumerate(
            ((energy(stack), "energy $s$"), (token_entropy(stack, PAPER), "entropy $H(\\rho)$, nats"))
        ):
            place = axes[row][column]
            place.plot(values, released, ".", markersize=3, color=f"C{column}")
            place.set(xlabel=label, ylabel="released score" if column == 0 else None)
            if column == 0:
                place.set_xscale("log")
            if row == 0:
                place.set_yscale("symlog")
        axes[row][0].set_title(
            ("synthetic queries", "one image of the bundled model, layer 0")[row], fontsize=9, loc="left"
        )
    return figure

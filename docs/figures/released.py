"""Figures of the page on the paper's formula and the released one: synthetic queries and the bundled model's own."""

import math
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import torch
from _model import model, queries
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from entropyprune_ref.flops import CLIP_VIT_L_14_336, LLAVA_1_5_7B
from entropyprune_ref.gram import centred
from entropyprune_ref.pruning import select_tokens, tokens_to_keep
from entropyprune_ref.scoring import PAPER, RELEASED, token_entropy

SIZE = (CLIP_VIT_L_14_336.patches, LLAVA_1_5_7B.heads, LLAVA_1_5_7B.head_dim)
KEEP = tokens_to_keep(192, visual_tokens=SIZE[0], layers=LLAVA_1_5_7B.layers, prune_layer=2)
IMAGES, KEPT_OF_IMAGE = 16, 48


@cache
def synthetic() -> Tensor:
    """Gaussian queries of the size of LLaVA-1.5-7B whose tokens have log-normal scales: `(576, 32, 128)`."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.randn(SIZE[0], 1, 1, generator=generator, dtype=torch.float64).exp()
    return scales * torch.randn(SIZE, generator=generator, dtype=torch.float64)


def energy(stack: Tensor) -> Tensor:
    """The trace that is not divided out: mean squared length of the centred queries."""
    return centred(stack).square().sum((-2, -1)) / stack.shape[-2]


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's, of values without ties."""
    ranks = [np.argsort(np.argsort(np.asarray(values))) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def compare(stack: Tensor, keep: int) -> dict[str, float]:
    """Rank correlations of the released score, and how far both formulas keep the same tokens."""
    paper, released, trace = token_entropy(stack, PAPER), token_entropy(stack, RELEASED), energy(stack)
    kept = [set(select_tokens(scores, keep).tolist()) for scores in (paper, released)]
    identity = (trace * paper - trace * trace.log()) / math.log(stack.shape[-2])
    return {
        "with energy": rank_correlation(released, trace),
        "with entropy": rank_correlation(released, paper),
        "entropy with energy": rank_correlation(paper, trace),
        "overlap": len(kept[0] & kept[1]) / keep,
        "chance": keep / len(paper),
        "least": float(trace.min()),
        "median": float(trace.median()),
        "most": float(trace.max()),
        "off": float(((released - identity).abs() / identity.abs().clamp(min=1)).max()),
    }


@cache
def of_layer(layer: int) -> dict[str, float]:
    """The figures on the bundled model's queries in one layer, means over images."""
    each = [compare(image, KEPT_OF_IMAGE) for image in queries(layer, IMAGES).double()]
    return {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}


@cache
def of_synthetic(scale: float = 1.0) -> dict[str, float]:
    """The figures on the synthetic queries, all multiplied by one number."""
    return compare(scale * synthetic(), KEEP)


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def on_synthetic() -> str:
    """A sentence on the synthetic queries."""
    figures, large = of_synthetic(), of_synthetic(10.0)
    tokens, heads, dims = SIZE
    return (
        f"{tokens} tokens of {heads} × {dims}, standard normal times one log-normal factor for each token: the "
        f"released score has a rank correlation of **{_signed(figures['with energy'], 3)}** with the energy and of "
        f"**{_signed(figures['with entropy'])}** with the entropy. The {KEEP} tokens that it keeps and the {KEEP} that "
        f"`PAPER` keeps share **{_percent(figures['overlap'], 1)}**; two independent choices would share "
        f"{_percent(figures['chance'], 1)}. With all queries ten times as large the first figure is "
        f"{_signed(large['with energy'], 5)}. Eq. 3.4 holds on all of them to {max(figures['off'], large['off']):.0e} "
        "of the score (of 1, where the score is below 1)."
    )


def on_the_bundled_model() -> str:
    """The same figures on the bundled model, by layer."""
    layers = range(model().config.decoder.layers - 1)
    lines = [
        f"| queries of layer | energy $s$, least to most | $H_\\text{{released}}$ with $s$ | "
        f"$H_\\text{{released}}$ with $H(\\rho)$ | $H(\\rho)$ with $s$ | both keep, of {KEPT_OF_IMAGE} |",
        "| --: | --: | --: | --: | --: | --: |",
    ]
    for layer in layers:
        row = of_layer(layer)
        if row["with energy"] > -0.7:
            raise ValueError(f"the page says that the released score follows low energy in every layer, got {row}")
        if row["least"] <= (model().config.decoder.heads - 1) / math.e:
            raise ValueError(f"the page says that all energies lie above the turning point, got {row}")
        cells = [f"{row['least']:.1f} to {row['most']:.1f}", _signed(row["with energy"]), _signed(row["with entropy"])]
        cells += [_signed(row["entropy with energy"]), _percent(row["overlap"])]
        lines.append(f"| {layer} (prune at {layer + 1}) | {' | '.join(cells)} |")
    tokens = model().config.vision.patches
    lines += [
        "",
        f"Rank correlations are Spearman's; all are means over {IMAGES} images of {tokens} tokens. Two independent "
        f"choices of {KEPT_OF_IMAGE} share {_percent(KEPT_OF_IMAGE / tokens)}. The largest mean deviation from Eq. "
        f"3.4 in any layer is {max(of_layer(layer)['off'] for layer in layers):.0e}.",
    ]
    return "\n".join(lines)


def turning_point() -> Figure:
    """The released score as a function of energy, for several entropies: it rises to a maximum and then falls."""
    heads = SIZE[1]
    s = torch.logspace(-1.5, 1.6, 300, dtype=torch.float64)
    figure, axes = plt.subplots()
    for number, (entropy, name) in enumerate(
        ((0.0, "0"), (1.0, "1"), (2.0, "2"), (math.log(heads - 1), f"log {heads - 1}, the largest"))
    ):
        curve = (s * entropy - s * s.log()) / math.log(heads)
        style = {"color": f"C{number}", "linestyle": (":", "-.", "--", "-")[number]}
        axes.plot(s, curve, label=name, **style)
        top = math.exp(entropy - 1)
        axes.plot(top, top / math.log(heads), "o", color=f"C{number}")
    axes.axhline(0, color=plt.rcParams["text.color"], linewidth=0.6)
    axes.set(xscale="log", xlabel="energy $s$", ylabel="released score", ylim=(-9, 4))
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.legend(title="entropy $H(ρ)$, nats", loc="lower left", fontsize=9)
    return figure


def sweep() -> Figure:
    """Rank correlations and overlap on the synthetic queries, by how large all queries are."""
    factors = np.geomspace(0.01, 30, 11)
    found = [of_synthetic(float(factor)) for factor in factors]
    median = [figures["median"] for figures in found]
    figure, axes = plt.subplots()
    axes.plot(median, [figures["with energy"] for figures in found], "o-", label="rank correlation with energy")
    axes.plot(median, [figures["with entropy"] for figures in found], "s--", label="rank correlation with entropy")
    axes.plot(median, [figures["overlap"] for figures in found], "^-.", label=f"share of {KEEP} kept by both")
    ink = plt.rcParams["text.color"]
    axes.axhline(found[0]["chance"], color="C2", linestyle=":", linewidth=1)
    axes.text(median[0], found[0]["chance"] + 0.04, "by chance", color="C2", fontsize=9)
    axes.axhline(0, color=ink, linewidth=0.6)
    axes.set(xscale="log", xlabel="median energy of a token", ylim=(-1.1, 1.1))
    axes.legend(fontsize=9)
    return figure


def scatter() -> Figure:
    """The released score against energy, and against the entropy."""
    figure, axes = plt.subplots(2, 2, figsize=(7, 5.4), sharey="row")
    titles = ("synthetic queries", "one image, layer 1")
    for row, stack in enumerate((synthetic(), queries(1, IMAGES)[1].double())):
        released = token_entropy(stack, RELEASED)
        for column, (values, label) in enumerate(
            ((energy(stack), "energy $s$"), (token_entropy(stack, PAPER), "entropy $H(ρ)$, nats"))
        ):
            place = axes[row][column]
            place.plot(values, released, ".", markersize=3, color=f"C{column}", rasterized=True)
            place.set(xlabel=label, ylabel="released score" if column == 0 else None)
            correlation = _signed(rank_correlation(values, released))
            place.set_title(f"{titles[row]}\nrank correlation {correlation}", fontsize=9, loc="left")
        if row == 0:
            axes[row][0].set(xscale="log", yscale="symlog")
            axes[row][0].set_yticks([-1e4, -1e2, 0])
            axes[row][0].minorticks_off()
    return figure

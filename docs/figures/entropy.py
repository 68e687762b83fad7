"""Figures of the page on matrix entropy."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from entropyprune_ref.entropy import spectrum_entropy, spectrum_renyi_entropy
from entropyprune_ref.gram import singular_spectrum, spectrum


def two_levels() -> Figure:
    """Entropy and effective rank of a spectrum with one larger eigenvalue among eight."""
    shares = torch.linspace(1 / 8, 1, 200, dtype=torch.float64)
    levels = torch.cat((shares[:, None], ((1 - shares) / 7)[:, None].expand(-1, 7)), dim=1)
    figure, (left, right) = plt.subplots(1, 2)
    left.plot(shares, spectrum_entropy(levels))
    left.axhline(math.log(8), linestyle=":", color=plt.rcParams["text.color"])
    left.text(0.62, math.log(8) - 0.02, "log 8", va="top")
    left.set(xlabel="share of the largest eigenvalue", ylabel="matrix entropy, nats")
    for number, alpha in enumerate((0.5, 1, 2, math.inf)):
        entropy = spectrum_renyi_entropy(levels, alpha)
        label = {1: "1 (von Neumann)", math.inf: "∞"}.get(alpha, f"{alpha:g}")
        right.plot(shares, entropy.exp(), label=label, color=f"C{number}", linestyle=["--", "-", "-.", ":"][number])
    right.set(xlabel="share of the largest eigenvalue", ylabel="exp of the entropy: a rank")
    right.legend(title="order")
    return figure


def small_eigenvalues() -> Figure:
    """A known spectrum over 24 orders of magnitude, and what two routes make of it in float64."""
    generator = torch.Generator().manual_seed(0)
    levels = 10.0 ** -torch.arange(0, 25, 2, dtype=torch.float64)
    left = torch.randn(40, len(levels), generator=generator, dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(torch.randn(20, len(levels), generator=generator, dtype=torch.float64)).Q
    features = left * levels.sqrt() @ right.T
    figure, axes = plt.subplots()
    places = np.arange(len(levels))
    axes.plot(places, levels / levels.sum(), color=plt.rcParams["text.color"], linewidth=1, label="exact")
    axes.plot(
        places,
        spectrum(features)[: len(levels)].clamp(min=1e-26),
        "o",
        color="C1",
        label="`spectrum`: eigenvalues of ρ",
    )
    axes.plot(
        places,
        singular_spectrum(features)[: len(levels)],
        "x",
        color="C0",
        label="`singular_spectrum`: squared singular values",
    )
    axes.set(yscale="log", xlabel="eigenvalue", ylabel="size, of the trace")
    axes.legend(labels=["exact", "eigenvalues of ρ (spectrum)", "squared singular values (singular_spectrum)"])
    return figure

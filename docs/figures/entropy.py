"""Figures of the page on matrix entropy."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from entropyprune_ref.entropy import effective_rank, matrix_entropy, spectrum_entropy, spectrum_renyi_entropy
from entropyprune_ref.gram import singular_spectrum, spectrum


def clouds() -> Figure:
    """Three clouds of points in the plane, with the spectrum, entropy and effective rank of each."""
    round_cloud = torch.randn(150, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    round_cloud = torch.linalg.qr(round_cloud - round_cloud.mean(0)).Q * math.sqrt(149)  # covariance exactly round
    angle = math.radians(30)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 3.0))
    for place, spread in zip(axes, (0.0, 0.3, 1.0), strict=True):
        cloud = round_cloud * torch.tensor([1.0, spread]) @ turn
        shares = spectrum(cloud)
        place.plot(*cloud.T, ".", markersize=3, color="C0", rasterized=True)
        place.set_title(
            f"shares {shares[0]:.2f} and {shares[1]:.2f}\n"
            f"entropy {matrix_entropy(cloud):.3f} nats\neffective rank {effective_rank(cloud):.2f}",
            fontsize=9,
        )
        place.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), xticks=[], yticks=[], aspect="equal")
        place.axis("off")
    return figure


def two_levels() -> Figure:
    """Entropy, and Rényi entropies as ranks, of a spectrum with one larger eigenvalue among eight."""
    shares = torch.linspace(1 / 8, 1, 200, dtype=torch.float64)
    levels = torch.cat((shares[:, None], ((1 - shares) / 7)[:, None].expand(-1, 7)), dim=1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    left.plot(shares, spectrum_entropy(levels), color="C1")
    left.axhline(math.log(8), linestyle=":", color=plt.rcParams["text.color"], linewidth=1)
    left.text(0.8, math.log(8) - 0.03, "log 8", va="top")
    left.set(xlabel="share of the largest eigenvalue", ylabel="matrix entropy, nats", ylim=(0, 2.2))
    for number, alpha in enumerate((0.5, 1, 2, math.inf)):
        label = {1: "1: H", math.inf: "∞"}.get(alpha, f"{alpha:g}")
        right.plot(
            shares,
            spectrum_renyi_entropy(levels, alpha).exp(),
            label=label,
            color=f"C{number}",
            linestyle=("--", "-", "-.", ":")[number],
        )
    right.set(xlabel="share of the largest eigenvalue", ylabel="exp of the entropy: a rank", ylim=(0.8, 8.4))
    right.legend(
        title="Rényi order",
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=4,
        columnspacing=1,
        handlelength=1.7,
        fontsize=8,
    )
    return figure


def small_eigenvalues() -> Figure:
    """A known spectrum over 24 orders of magnitude, and what two routes make of it in float64."""
    generator = torch.Generator().manual_seed(0)
    levels = 10.0 ** -torch.arange(0, 25, 2, dtype=torch.float64)
    left = torch.randn(40, len(levels), generator=generator, dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(torch.randn(20, len(levels), generator=generator, dtype=torch.float64)).Q
    features = left * levels.sqrt() @ right.T
    eigenvalues = spectrum(features)[: len(levels)]
    places = np.arange(1, len(levels) + 1)
    figure, axes = plt.subplots()
    axes.plot(places, levels / levels.sum(), color=plt.rcParams["text.color"], linewidth=1, label="exact")
    shown = torch.where(eigenvalues > 0, eigenvalues, math.nan)
    axes.plot(places, shown, "o", color="C1", label="eigenvalues of ρ: spectrum")
    singular = singular_spectrum(features)[: len(levels)]
    axes.plot(places, singular, "x", color="C0", label="squared singular values: singular_spectrum")
    axes.set(yscale="log", xlabel="number of the eigenvalue", ylabel="share of the trace")
    axes.legend(fontsize=9)
    return figure

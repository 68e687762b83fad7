"""How far the norm of a token's queries stands for their energy, on the bundled model."""

import numpy as np
from _model import queries
from released import IMAGES, energy, rank_correlation


def agreement() -> str:
    """Rank correlation of norm and energy, and how much of the norm is the mean query, by layer."""
    parts = []
    for layer in (0, 1):
        ranks, shares = [], []
        for image in queries(layer, IMAGES).double():
            norm = image.square().sum((1, 2)) / image.shape[1]
            ranks.append(float(rank_correlation(norm, energy(image))))
            shares.append(float((image.mean(1).square().sum(1) / norm).mean()))
        parts.append(
            f"in layer {layer} (prune at {layer + 1}) the mean query makes up {100 * np.mean(shares):.0f} % of "
            "it, and the "
            f"rank correlation of norm and energy is {np.mean(ranks):.2f}"
        )
    return (
        "Eq. 3.4 speaks of the *centred* energy $s$. The norm of uncentred queries is $h (s + \\lVert \\bar q "
        "\\rVert^2)$ with the "
        "mean query $\\bar q$, so it stands for the energy only as far as the mean query is small or alike in "
        "all tokens. On the "
        f"bundled model it does: of the mean squared norm per head, {'; '.join(parts)} (means over {IMAGES} images)."
    )

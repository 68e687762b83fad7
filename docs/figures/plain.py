"""Each equation in a few plain lines, as the pages show it beside the formula; tests compare it with the package.

Without the care of the real functions: no check of arguments, no batches, no extreme numbers.
"""

import math

import torch
from torch import Tensor
from torch.linalg import eigvalsh


def centred(z: Tensor) -> Tensor:
    """Eq. 1.1."""
    return z - z.mean(dim=0)


def density_matrix(z: Tensor) -> Tensor:
    """Eqs. 1.2 and 1.3."""
    rest = z - z.mean(dim=0)
    sigma = rest.T @ rest / len(z)
    return sigma / sigma.trace()


def matrix_entropy(z: Tensor) -> Tensor:
    """Eq. 1.4."""
    lam = eigvalsh(density_matrix(z))
    lam = lam[lam > 0]
    return -(lam * lam.log()).sum()


def renyi_entropy(z: Tensor, alpha: float) -> Tensor:
    """Eq. 1.5."""
    lam = eigvalsh(density_matrix(z))
    lam = lam[lam > 1e-12]
    power = (lam**alpha).sum()
    return power.log() / (1 - alpha)


def effective_rank(z: Tensor) -> Tensor:
    """Eq. 1.6."""
    return matrix_entropy(z).exp()


def covariance_spectrum(z: Tensor) -> Tensor:
    """Eq. 2.1."""
    rest = z - z.mean(dim=0)
    sigma = rest.T @ rest / len(z)
    return eigvalsh(sigma).flip(0)


def gram_spectrum(z: Tensor) -> Tensor:
    """Eq. 2.2."""
    rest = z - z.mean(dim=0)
    g = rest @ rest.T / len(z)
    return eigvalsh(g).flip(0)


def token_entropy(q: Tensor) -> Tensor:
    """Eq. 3.1, for the (heads, head_dim) queries of one token."""
    rest = q - q.mean(dim=0)
    lam = eigvalsh(rest @ rest.T)
    lam = (lam / lam.sum()).clamp(min=0)
    return torch.special.entr(lam).sum()


def token_entropy_row_normalized(q: Tensor) -> Tensor:
    """Eq. 3.2."""
    rest = q - q.mean(dim=0)
    rest = rest / rest.norm(dim=1, keepdim=True)
    lam = eigvalsh(rest @ rest.T)
    lam = (lam / len(q)).clamp(min=0)
    return torch.special.entr(lam).sum()


def token_entropy_released(q: Tensor) -> Tensor:
    """Eq. 3.3."""
    rest = q - q.mean(dim=0)
    lam = eigvalsh(rest @ rest.T)
    lam = (lam / len(q)).clamp(min=1e-10)
    return -(lam * lam.log()).sum() / math.log(len(q))


def collapse_layer(curves: Tensor) -> int:
    """Eqs. 4.2 and 4.3, for (samples, states)."""
    drops = curves[:, :-1] - curves[:, 1:]
    return int(drops.mean(dim=0).argmax()) + 1


def tokens_to_keep(average: int, visual: int, layers: int, prune: int) -> int:
    """Eq. 5.1."""
    left = layers * average - prune * visual
    return left // (layers - prune)


def select_tokens(scores: Tensor, keep: int) -> Tensor:
    """Eq. 5.2."""
    order = (-scores).argsort(stable=True)
    return order[:keep].sort().values


def layer_flops(n: int, d: int, m: int, h: int, h_kv: int, d_h: int) -> int:
    """Eq. 6.1."""
    q_and_o = 4 * n * d * h * d_h
    k_and_v = 4 * n * d * h_kv * d_h
    attention = 4 * n * n * h * d_h
    mlp = 6 * n * d * m
    return q_and_o + k_and_v + attention + mlp


def pruned_flops(layer: list[int], layers: int, prune: int) -> int:
    """Eq. 6.3, for one layer before and one behind the pruning."""
    before, after = layer
    rest = layers - prune
    return prune * before + rest * after

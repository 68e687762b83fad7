"""Changes to a token's queries that should destroy what the score sees, or should not, if a hypothesis holds."""

from collections.abc import Callable

import torch
from torch import Tensor

Control = Callable[[Tensor, torch.Generator], Tensor]
"""Changes queries `(tokens, heads, head_dim)` in a way that should, or should not, destroy what the score sees."""


def _orthogonal(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random orthogonal matrices (Haar), `(count, size, size)`."""
    q, r = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    turned: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    return turned


def mixed(queries: Tensor, generator: torch.Generator) -> Tensor:
    """Heads replaced by random orthonormal mixtures of heads, the same for all tokens: same span, other "heads"."""
    return _orthogonal(1, queries.shape[1], generator) @ queries


def strangers(queries: Tensor, generator: torch.Generator) -> Tensor:
    """Every head's queries dealt to the tokens anew: each token has eight heads, of eight different tokens."""
    deals = torch.stack([torch.randperm(len(queries), generator=generator) for _ in range(queries.shape[1])], dim=1)
    return queries.gather(0, deals[..., None].expand_as(queries))


def turned(queries: Tensor, generator: torch.Generator) -> Tensor:
    """The spectrum of every token's centred queries kept, the eigenvectors over heads drawn anew."""
    count, heads, _ = queries.shape
    centred = queries - queries.mean(1, keepdim=True)
    basis = torch.linalg.qr(torch.cat([torch.ones(heads, 1), torch.eye(heads)[:, 1:]], dim=1).double())[0][:, 1:]
    return basis @ (_orthogonal(count, heads - 1, generator) @ (basis.mT @ centred))


CONTROLS: dict[str, Control] = {
    "heads mixed by a random rotation": mixed,
    "heads of different tokens": strangers,
    "spectra kept, eigenvectors drawn anew": turned,
}

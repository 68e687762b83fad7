r"""Section 3, what to prune: the matrix entropy of a token's heads, in the three conventions that exist.

The query vectors of all heads of one token are the rows of a small matrix. Its entropy after centring is the score of
the token: high entropy is kept. What the formula does after centring differs between the paper and its released code;
a `Convention` says what, and `token_entropy` computes any of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_choice, require_floating, require_kind, require_real
from entropyprune_ref._numerics.centring import centred_rows, unit_rows
from entropyprune_ref._numerics.chunks import in_chunks
from entropyprune_ref.entropy import spectrum_entropy
from entropyprune_ref.gram import SIDES, Side

__all__ = [
    "CONVENTIONS",
    "PAPER",
    "RELEASED",
    "ROW_NORMALIZED",
    "Convention",
    "token_entropy",
]

_LARGEST = 1e140  # above it, energies that are not normalised may overflow


@dataclass(frozen=True)
class Convention:
    """What is done with the centred queries of a token before and after the eigenvalues.

    Attributes:
        name: Name in tables and on the command line.
        row_normalized: Division of each head's row by its L2 norm.
        trace_normalized: Division of the matrix by its trace; otherwise by the number of heads.
        clamp: Least value to which eigenvalues are raised; `None` drops those that are not positive.
        log_heads: Division of the sum by the logarithm of the number of heads.
    """

    name: str
    row_normalized: bool
    trace_normalized: bool
    clamp: float | None
    log_heads: bool

    def __post_init__(self) -> None:
        """Refuses a clamp that no eigenvalue of a density matrix could pass."""
        require_kind("name", self.name, str)
        for switch in ("row_normalized", "trace_normalized", "log_heads"):
            require_kind(switch, getattr(self, switch), bool)
        if self.clamp is not None and not 0 < require_real("clamp", self.clamp) < 1:
            raise ValueError(f"clamp must be None or lie strictly between 0 and 1, got {self.clamp}")


PAPER = Convention("paper", row_normalized=False, trace_normalized=True, clamp=None, log_heads=False)
"""Trace-normalised covariance and its von Neumann entropy (Eq. 3.1), as the digest of the paper has it."""

ROW_NORMALIZED = Convention("row_normalized", row_normalized=True, trace_normalized=True, clamp=None, log_heads=False)
"""As `PAPER`, of rows divided by their L2 norm (Eq. 3.2): the Diff-eRank reading of the method (inferred)."""

RELEASED = Convention("released", row_normalized=False, trace_normalized=False, clamp=1e-10, log_heads=True)
"""What the released code computes (Eq. 3.3): no trace normalisation, eigenvalues clamped, divided by log heads."""

CONVENTIONS = {convention.name: convention for convention in (PAPER, ROW_NORMALIZED, RELEASED)}
"""The three conventions by name."""


def token_entropy(
    queries: Float[Tensor, "*batch tokens heads head_dim"], convention: Convention = PAPER, *, side: Side = "auto"
) -> Float64[Tensor, "*batch tokens"]:
    r"""Computes the entropy of each token over its heads (Eq. 3.1, 3.2 or 3.3, by `convention`).

    With $\tilde Z$ the `(heads, head_dim)` queries of one token, centred over heads, and $\hat Z$ the same with each
    non-zero row divided by its norm:

    $$H_\text{paper} = -\sum_i \lambda_i \log \lambda_i, \quad
      \lambda_i \text{ eigenvalues of } \tilde Z \tilde Z^\top / \operatorname{tr} \tilde Z \tilde Z^\top \tag{3.1}$$

    $$H_\text{row} = -\sum_i \lambda_i \log \lambda_i, \quad
      \lambda_i \text{ eigenvalues of } \hat Z \hat Z^\top / \operatorname{tr} \hat Z \hat Z^\top \tag{3.2}$$

    $$H_\text{released} = -\frac{1}{\log heads} \sum_i \lambda_i \log \lambda_i, \quad
      \lambda_i \text{ eigenvalues of } \tilde Z \tilde Z^\top / heads \text{, at least } 10^{-10} \tag{3.3}$$

    They order tokens differently. With $s = \operatorname{tr} \tilde Z \tilde Z^\top / heads$, clamping aside,

    $$H_\text{released} = \frac{s \cdot H_\text{paper} - s \log s}{\log heads} \tag{3.4}$$

    Args:
        queries: `(..., tokens, heads, head_dim)`, floating, finite, before or after rotary embedding.
        convention: Which of the formulas.
        side: Which of the two dual matrices gives the eigenvalues: "gram" (heads x heads), "covariance"
            (head_dim x head_dim), or "auto": the smaller, but "gram" where the convention clamps, since a clamp turns
            every zero eigenvalue into a summand and the sides differ in how many they have.

    Returns:
        `(..., tokens)`, float64, in nats (`RELEASED`: in units of `log heads` nats). In
        `[0, log(min(heads - 1, head_dim))]` for `PAPER` and `ROW_NORMALIZED`; not bounded below for `RELEASED`.
        A token without variance over its heads scores 0; under `RELEASED`, what its formula gives for `heads`
        eigenvalues at the clamp.

    Raises:
        TypeError: `queries` is not a tensor or `convention` not a `Convention`.
        ValueError: `queries` has fewer than three dimensions, an empty axis, a dtype that is not floating, or is not
            finite; `side` is unknown; one head under `RELEASED`, which divides by `log heads`; queries above 1e140
            under `RELEASED`, whose energy would overflow.

    Examples:
        Four heads at (1, 0), (-1, 0), (0, 1), (0, -1): both eigenvalues of the covariance are one half, hence log 2.
        Divided by heads instead of by the trace, the same matrix has eigenvalues 1/2, 1/2, 0, 0 too.

        >>> queries = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
        >>> round(token_entropy(queries).item() / math.log(2), 12)
        1.0
        >>> round(token_entropy(queries, RELEASED).item(), 6)  # log 2 / log 4
        0.5

    Notes:
        Under `ROW_NORMALIZED` a head whose queries equal the mean of all heads has a zero row, and what rounding
        leaves of it must not be divided by its norm: a row counts as zero if none of its entries exceeds
        `(heads + head_dim) * 2**-52` times the largest query of the token.

        Tokens are taken in chunks of a size that depends on the shape alone: working memory does not grow with their
        number, and bits do not depend on threads. Batched eigenvalue solvers on a CPU go through a batch one by one,
        so chunks run on as many Python threads as torch has; where autograd or a dispatch mode (a FLOP counter)
        watches, which threads would escape, they run one after the other.
    """
    side = _judged(queries, convention, side)
    heads = queries.shape[-2]

    def score(part: Float[Tensor, "part heads head_dim"]) -> Float64[Tensor, " part"]:
        rows = unit_rows(part) if convention.row_normalized else centred_rows(part, convention.trace_normalized)
        product = rows @ rows.mT if side == "gram" else rows.mT @ rows  # (part, heads, heads), or by head_dim
        eigenvalues = torch.linalg.eigvalsh(product)
        if convention.trace_normalized and convention.clamp is None:
            entropy = spectrum_entropy(eigenvalues.clamp(min=0))  # divides by their sum, which is the trace
        else:
            trace = eigenvalues.sum(-1, keepdim=True)
            scale = torch.where(trace > 0, trace, 1.0) if convention.trace_normalized else heads
            levels = (eigenvalues / scale).clamp(min=convention.clamp or 0.0)
            entropy = -(levels * torch.where(levels > 0, levels, 1.0).log()).sum(-1)
        return entropy / math.log(heads) if convention.log_heads else entropy

    return in_chunks(score, queries)


def _judged(queries: object, convention: object, side: Side) -> Side:
    """Refuses what the formulas are not defined for, and returns the side to take."""
    queries = require_floating("queries", queries, ("tokens", "heads", "head_dim"))
    require_choice("side", side, SIDES)
    if not isinstance(convention, Convention):
        raise TypeError(f"convention must be a Convention, got {type(convention).__name__} {convention!r}")
    heads, head_dim = queries.shape[-2:]
    if convention.log_heads and heads == 1:
        raise ValueError(f"queries must have at least 2 heads, since {convention.name} divides by log heads, got 1")
    if not convention.trace_normalized and queries.dtype == torch.float64 and not queries.is_meta and queries.numel():
        largest = max(abs(extreme.item()) for extreme in torch.aminmax(queries.detach()))
        if largest > _LARGEST:
            raise ValueError(f"queries must not exceed {_LARGEST} under {convention.name}, got {largest}")
    if side == "auto":
        return "gram" if heads < head_dim or convention.clamp is not None else "covariance"
    return side

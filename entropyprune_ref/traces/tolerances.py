r"""How far a right engine may be off: one relative error, by the dtypes that the engine and the trace computed in.

Tolerances are counted in *roundings*, the larger unit of the two dtypes: $\varepsilon$ = 2^-7 of bfloat16, 2^-10 of
float16, and 2^-21 of float32. That is four times its own 2^-23: sums of hundreds of terms are added up in float32, with
16-bit numbers too, but only in float32 does their error show. float64 counts as float32: the library computes norms,
softmax and rotary angles in float32 whatever the dtype of the weights.

- Queries: 16 roundings of the token's own size.
- Scores: what 16 roundings of the queries can do to them, found by trying: the trace's own queries are multiplied by
  $1 + 16 \varepsilon u$, with u uniform in [-1, 1], eight times; the largest change of a token's score is its
  tolerance, but no less than the median over tokens.
- Selection: a token may be exchanged if its score is no farther from the cut than its tolerance (the near-tie rule).
- Logits: 16 roundings, of all logits of a step together, in root mean square about their mean.

On tiny random models a right engine was off by at most three quarters of these, in every dtype and on every array
(`test_judge_trace_passes_right_engines_in_every_dtype`). Real models are deeper and were not measured here.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from entropyprune_ref.scoring import PAPER, RELEASED, ROW_NORMALIZED, Convention, token_entropy

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
"""What an engine may say that it computed in."""

CONVENTIONS = {"paper": PAPER, "row_normalized": ROW_NORMALIZED, "released": RELEASED}

ROUNDINGS = 16
DRAWS = 8


SUMMED = 2**-21
"""A rounding of float32 and float64."""


def rounding(engine: str, trace: str) -> float:
    """The unit of the coarser of two dtypes.

    Examples:
        >>> rounding("float64", "float32") == 2**-21, rounding("float32", "bfloat16")
        (True, 0.0078125)
    """
    return max(SUMMED, torch.finfo(DTYPES[engine]).eps, torch.finfo(DTYPES[trace]).eps)


def score_tolerance(
    queries: Float[Tensor, "tokens heads head_dim"], convention: Convention, unit: float
) -> Float64[Tensor, " tokens"]:
    """How far the score of each token may be off when its queries are off by `ROUNDINGS` of `unit`."""
    generator = torch.Generator().manual_seed(0)
    exact = queries.double()
    scores = token_entropy(exact, convention)
    worst = torch.zeros_like(scores)
    for _ in range(DRAWS):
        noise = 2 * torch.rand(exact.shape, generator=generator, dtype=torch.float64) - 1
        moved = token_entropy(exact * (1 + ROUNDINGS * unit * noise), convention)
        worst = torch.maximum(worst, (moved - scores).abs())
    return worst.clamp(min=float(worst.median())) + unit * scores.abs()


def described() -> dict[str, dict[str, float]]:
    """The numbers, for a manifest."""
    return {
        name: {
            "rounding": rounding(name, "float32"),
            "queries": ROUNDINGS * rounding(name, "float32"),
            "logits": ROUNDINGS * rounding(name, "float32"),
        }
        for name in DTYPES
    }

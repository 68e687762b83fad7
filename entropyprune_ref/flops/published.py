r"""Section 6, the formulas that other papers and counters use, each as options of the one general count.

FLOPs of one model differ between papers in five ways: whether a multiply-add is one or two, how many MLP matrices
there are, whether attention is counted, whether key/value heads are told apart from query heads, and whether the
language-model head is counted.
"""

from dataclasses import dataclass, replace

from entropyprune_ref._numerics.arguments import require_choice, require_integer, require_integer_fields
from entropyprune_ref.flops.parts import ATTENTION, layer_flops
from entropyprune_ref.flops.prompt import LM_HEAD, prefill_flops, pruned_prefill_flops
from entropyprune_ref.flops.sizes import DecoderSize
from entropyprune_ref.flops.terms import Flops


@dataclass(frozen=True)
class Formula:
    r"""A counting rule: how a model of some size looks to it, and in which unit it counts.

    Args:
        source: Who counts like this, and the formula as it is written there.
        flops_per_multiply_add: 1 if it counts multiply-adds (often called FLOPs), 2 if FLOPs.
        attention: `"full"`, `"causal"` or `"none"`, as in `layer_flops`.
        mlp_matrices: MLP matrices that it assumes, or None for the model's own number.
        square_attention: Whether it assumes four d x d projections and heads that fill d, whatever the model has.
            Right for Llama-7B and 13B, wrong for grouped-query attention.
        lm_head: Positions of the language-model head that it counts.

    Raises:
        TypeError: A count is not an int.
        ValueError: An option is unknown, or `flops_per_multiply_add` is neither 1 nor 2.

    Examples:
        FastV's 99.3 "GFLOPs" of LLaVA-1.5-7B are multiply-adds of one layer with a two-matrix MLP, on 612 tokens:

        >>> from entropyprune_ref.flops import LLAVA_1_5_7B
        >>> round(FASTV.layer(LLAVA_1_5_7B, 612) / 1e9, 2)
        99.33
    """

    source: str
    flops_per_multiply_add: int = 2
    attention: str = "full"
    mlp_matrices: int | None = None
    square_attention: bool = False
    lm_head: str = "none"

    def __post_init__(self) -> None:
        per_multiply_add = require_integer("flops_per_multiply_add", self.flops_per_multiply_add, 1, 2)
        object.__setattr__(self, "flops_per_multiply_add", per_multiply_add)
        require_choice("attention", self.attention, ATTENTION)
        require_choice("lm_head", self.lm_head, LM_HEAD)
        if self.mlp_matrices is not None:
            require_integer_fields(self, 1, ["mlp_matrices"])

    def sees(self, size: DecoderSize) -> DecoderSize:
        """Returns the decoder that the rule assumes."""
        if self.square_attention:
            size = replace(size, heads=1, kv_heads=1, head_dim=size.hidden)
        return size if self.mlp_matrices is None else replace(size, mlp_matrices=self.mlp_matrices)

    def layer(self, size: DecoderSize, tokens: int) -> int:
        """Counts one decoder layer on `tokens` tokens, in the rule's unit."""
        return self._in_unit(layer_flops(self.sees(size), tokens, attention=self.attention))

    def prefill(self, size: DecoderSize, *, text_tokens: int, visual_tokens: int) -> int:
        """Counts an unpruned prompt, in the rule's unit."""
        return self._in_unit(
            prefill_flops(
                self.sees(size),
                text_tokens=text_tokens,
                visual_tokens=visual_tokens,
                attention=self.attention,
                lm_head=self.lm_head,
            )
        )

    def pruned_prefill(
        self, size: DecoderSize, *, text_tokens: int, visual_tokens: int, prune_layer: int, keep: int
    ) -> int:
        """Counts a pruned prompt, in the rule's unit; like its source, without the cost of scoring."""
        return self._in_unit(
            pruned_prefill_flops(
                self.sees(size),
                text_tokens=text_tokens,
                visual_tokens=visual_tokens,
                prune_layer=prune_layer,
                keep=keep,
                attention=self.attention,
                lm_head=self.lm_head,
            )
        )

    def _in_unit(self, flops: Flops) -> int:
        # Every term is 2 x an integer, so halving is exact.
        return flops.total * self.flops_per_multiply_add // 2


EXACT = Formula("this reference: the model's own heads and MLP, the whole score matrix")
"""What explicit attention computes."""

EXACT_CAUSAL = Formula("this reference, with the pairs that the causal mask allows", attention="causal")
"""The useful work: half of the score matrix and its diagonal."""

LINEAR_ONLY = Formula("a counter of linear operators that does not see a fused attention kernel", attention="none")
"""Attention projections and MLP only."""

FASTV = Formula(
    "FastV (arXiv 2403.06764) and DivPrune (arXiv 2503.02175): 4nd^2 + 2n^2d + 2ndm",
    flops_per_multiply_add=1,
    mlp_matrices=2,
    square_attention=True,
)
"""Multiply-adds with a two-matrix MLP, one matrix short of Llama's."""

SPARSEVLM = Formula(
    "SparseVLM's code: 4nd^2 + 2n^2d + 3ndm", flops_per_multiply_add=1, mlp_matrices=3, square_attention=True
)
"""Multiply-adds with a three-matrix MLP."""

PYRAMIDDROP = replace(SPARSEVLM, source="PyramidDrop: 4nd^2 + 2n^2d + 3ndm")
"""The same rule as SparseVLM's."""

ENTROPYPRUNE = Formula(
    "the counter inside EntropyPrune's released model code: 8nd^2 + 4n^2d + 6ndm", mlp_matrices=3, square_attention=True
)
"""FLOPs proper; the cost of scoring is not in it."""

CALFLOPS_LIKE = Formula(
    "a calflops run of the decoder: linear operators with the head on every position", attention="none", lm_head="all"
)
"""What the scripts of EntropyPrune, VTW and CrossGET count of the decoder; they also count tower and projector."""

FORMULAS = {
    "exact": EXACT,
    "exact-causal": EXACT_CAUSAL,
    "linear-only": LINEAR_ONLY,
    "fastv": FASTV,
    "sparsevlm": SPARSEVLM,
    "pyramiddrop": PYRAMIDDROP,
    "entropyprune": ENTROPYPRUNE,
    "calflops-like": CALFLOPS_LIKE,
}
"""Every rule by name."""

"""Section 6, what it costs: FLOPs of a prompt, pruned and not, and of the method itself, as exact integers.

Reading order: `sizes` (what a model is, to a counter), `visual` (how many tokens an image becomes), `terms` (what a
count is), `parts` (Eqs. 6.1 and 6.4), `prompt` (Eqs. 6.2 and 6.3), `published` (what other papers write).
"""

from entropyprune_ref.flops.parts import layer_flops, projector_flops, scoring_flops, vision_flops
from entropyprune_ref.flops.prompt import decode_flops, prefill_flops, pruned_prefill_flops
from entropyprune_ref.flops.published import (
    CALFLOPS_LIKE,
    ENTROPYPRUNE,
    EXACT,
    EXACT_CAUSAL,
    FASTV,
    FORMULAS,
    LINEAR_ONLY,
    PYRAMIDDROP,
    SPARSEVLM,
    Formula,
)
from entropyprune_ref.flops.sizes import (
    CLIP_VIT_L_14_336,
    DECODERS,
    LLAVA_1_5_7B,
    LLAVA_1_5_7B_PROJECTOR,
    LLAVA_1_5_13B,
    LLAVA_1_5_13B_PROJECTOR,
    LLAVA_NEXT_MISTRAL_7B,
    QWEN_2_5_VL_7B,
    QWEN_2_5_VL_72B,
    DecoderSize,
    ProjectorSize,
    VisionSize,
)
from entropyprune_ref.flops.terms import Flops, reduction
from entropyprune_ref.flops.visual import TiledImage, block_grid, tiled_image

__all__ = [
    "CALFLOPS_LIKE",
    "CLIP_VIT_L_14_336",
    "DECODERS",
    "ENTROPYPRUNE",
    "EXACT",
    "EXACT_CAUSAL",
    "FASTV",
    "FORMULAS",
    "LINEAR_ONLY",
    "LLAVA_1_5_7B",
    "LLAVA_1_5_7B_PROJECTOR",
    "LLAVA_1_5_13B",
    "LLAVA_1_5_13B_PROJECTOR",
    "LLAVA_NEXT_MISTRAL_7B",
    "PYRAMIDDROP",
    "QWEN_2_5_VL_7B",
    "QWEN_2_5_VL_72B",
    "SPARSEVLM",
    "DecoderSize",
    "Flops",
    "Formula",
    "ProjectorSize",
    "TiledImage",
    "VisionSize",
    "block_grid",
    "decode_flops",
    "layer_flops",
    "prefill_flops",
    "projector_flops",
    "pruned_prefill_flops",
    "reduction",
    "scoring_flops",
    "tiled_image",
    "vision_flops",
]

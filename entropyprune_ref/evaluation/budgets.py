"""Budgets that compare layers fairly: visual tokens kept at equal average, and at equal FLOPs of the whole prefill."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cache

from entropyprune_ref.flops import ProjectorSize, VisionSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.llava.config import LlavaConfig
from entropyprune_ref.pruning import prune_plan


def keep_of(average: int, layer: int, config: LlavaConfig) -> int | None:
    """Returns the tokens to keep for an average budget, or None where it is infeasible (Eq. 5.1)."""
    try:
        return prune_plan(
            visual_tokens=config.vision.patches, layers=config.decoder.layers, prune_layer=layer, average=average
        ).keep
    except ValueError:
        return None


def prefill_cost(config: LlavaConfig, texts: Sequence[int], layer: int | None = None, keep: int = 0) -> int:
    """Returns the exact FLOPs of one prefill for each of some prompts: tower, projector, decoder, scoring, head.

    Args:
        config: The model's.
        texts: Text tokens of each prompt.
        layer: The prune layer (Eq. 6.3, with Eq. 6.4), or None for no pruning (Eq. 6.2).
        keep: Visual tokens kept from `layer` on; 0 pays for no scoring, since there is nothing to choose.
    """
    return sum(times * _prefill(config, text, layer, keep) for text, times in Counter(texts).items())


@cache
def _prefill(config: LlavaConfig, text: int, layer: int | None, keep: int) -> int:
    size, tower, visual = config.decoder, config.vision, config.vision.patches
    vision = VisionSize(tower.layers - 1, tower.hidden, tower.heads, tower.mlp, tower.image_size, tower.patch_size)
    projector = ProjectorSize(tower.hidden, size.hidden)
    if layer is None:
        return prefill_flops(
            size, text_tokens=text, visual_tokens=visual, lm_head="last", vision=vision, projector=projector
        ).total
    return pruned_prefill_flops(
        size,
        text_tokens=text,
        visual_tokens=visual,
        prune_layer=layer,
        keep=keep,
        lm_head="last",
        vision=vision,
        projector=projector,
        scoring=keep > 0,
    ).total


def keep_at_cost(flops: int, layer: int, config: LlavaConfig, texts: Sequence[int]) -> int | None:
    """Returns the most tokens that can be kept from `layer` on within `flops`, or None if none can."""
    within = bisect_right(range(config.vision.patches + 1), flops, key=lambda k: prefill_cost(config, texts, layer, k))
    return within - 1 if within else None

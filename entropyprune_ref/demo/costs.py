"""What pruning costs and saves on a given model: exact FLOPs of its prompts, and measured prefill time."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entropyprune_ref.flops import Flops, ProjectorSize, VisionSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.llava import Llava, LlavaConfig, pixels
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import average_tokens

Report = Callable[[str, int, int], None]
"""Called with the name of a stage, what is done of it, and all there is to do."""


@dataclass(frozen=True)
class Budget:
    """One budget and what it costs, summed over all prompts of the run; FLOPs are exact.

    Attributes:
        keep: Visual tokens kept from the prune layer on.
        average: Visual tokens per layer, averaged over all layers.
        decoder: FLOPs of the decoder's layers.
        prefill: FLOPs of all that the measured time covers but the scoring: tower, projector, decoder, language head.
        scoring: FLOPs of token entropy (Eq. 6.4).
    """

    keep: int
    average: float
    decoder: int
    prefill: int
    scoring: int


def vision_size(config: LlavaConfig) -> VisionSize:
    """Returns the vision tower as the FLOPs formulas take it: its last layer has weights but is not run."""
    vision = config.vision
    return VisionSize(vision.layers - 1, vision.hidden, vision.heads, vision.mlp, vision.image_size, vision.patch_size)


def prompt_cost(model: Llava, prompts: Counter[int], layer: int | None, keep: int) -> Budget:
    """Returns the FLOPs of prompts with one image each (Eq. 6.2 to 6.4), scores of attention counted in full.

    Args:
        model: Model whose sizes count; its forward pass applies the language head to every token that is left.
        prompts: Number of prompts for each number of text tokens.
        layer: The prune layer, or None for no pruning.
        keep: Visual tokens kept from it on.
    """
    size, visual = model.config.decoder, model.config.vision.patches
    vision, projector = vision_size(model.config), ProjectorSize(model.config.vision.hidden, size.hidden)
    decoder, whole = Flops(), Flops()
    for text, times in prompts.items():
        if layer is None:
            decoder += times * prefill_flops(size, text_tokens=text, visual_tokens=visual)
            whole += times * prefill_flops(
                size, text_tokens=text, visual_tokens=visual, lm_head="all", vision=vision, projector=projector
            )
        else:
            decoder += times * pruned_prefill_flops(
                size, text_tokens=text, visual_tokens=visual, prune_layer=layer, keep=keep
            )
            whole += times * pruned_prefill_flops(
                size,
                text_tokens=text,
                visual_tokens=visual,
                prune_layer=layer,
                keep=keep,
                lm_head="all",
                vision=vision,
                projector=projector,
                scoring=True,
            )
    share = (
        visual if layer is None else average_tokens(keep, visual_tokens=visual, layers=size.layers, prune_layer=layer)
    )
    return Budget(keep, float(share), decoder.total, whole.total - whole.scoring, whole.scoring)


@torch.no_grad()
def prefill_seconds(
    model: Llava,
    images: Sequence[np.ndarray],
    questions: Sequence[str],
    pruners: Mapping[tuple[str, int], EntropyPrune | None],
    rounds: int,
    report: Report | None = None,
) -> dict[tuple[str, int], float]:
    """Returns the median seconds of a prefill with each pruner, its scoring included.

    The pruners take turns, so that a machine that is busy for a while is busy for all of them; a first turn, which is
    not counted, warms up.
    """
    batch = pixels(torch.from_numpy(np.stack(images)))
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in pruners}
    if report is not None:
        report("timings", 0, rounds + 1)
    for turn in range(rounds + 1):
        for key, pruner in pruners.items():
            started = time.perf_counter()
            model(batch, questions, pruner=pruner)
            if turn:
                taken[key].append(time.perf_counter() - started)
        if report is not None:
            report("timings", turn + 1, rounds + 1)
    return {key: float(np.median(values)) for key, values in taken.items()}

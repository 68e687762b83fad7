"""Pruned against unpruned prefill: does the time shrink as the FLOPs do, and what does scoring add?

A random decoder of 8 layers, d = 512, 8 heads of 64, behind a tiny vision tower that makes 576 visual tokens; 64 text
tokens, float32, batch 1. The variants take turns; medians over the rounds.
"""

import argparse
import time
from dataclasses import replace

import torch

from entropyprune_ref.demo.costs import vision_size
from entropyprune_ref.flops import ProjectorSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView

TEXT = 64
LAYER = 2
AVERAGES = (288, 192, 160)
CONFIG = LlavaConfig(
    vision=VisionConfig(hidden=16, layers=2, heads=1, mlp=16, image_size=24, patch_size=1),
    decoder=DecoderConfig(hidden=512, layers=8, heads=8, kv_heads=8, head_dim=64, mlp=1376, vocabulary=256),
)


class Timed:
    """The method's scorer with a stopwatch."""

    def __init__(self) -> None:
        self.scorer = EntropyScorer()
        self.seconds: list[float] = []

    def __call__(self, view: LayerView) -> torch.Tensor:
        """Scores, and notes how long that took."""
        started = time.perf_counter()
        scores = self.scorer(view)
        self.seconds.append(time.perf_counter() - started)
        return scores


def _flops(keep: int | None) -> int:
    size = CONFIG.decoder
    options = {
        "text_tokens": TEXT,
        "visual_tokens": CONFIG.vision.patches,
        "lm_head": "all",
        "vision": vision_size(CONFIG),
        "projector": ProjectorSize(CONFIG.vision.hidden, size.hidden),
    }
    if keep is None:
        return prefill_flops(size, **options).total
    return pruned_prefill_flops(size, prune_layer=LAYER, keep=keep, scoring=True, **options).total


@torch.no_grad()
def compare(attention: str, rounds: int) -> None:
    """Prints one table."""
    torch.manual_seed(0)
    model = Llava(replace(CONFIG, attention=attention)).eval()
    visual, layers = CONFIG.vision.patches, CONFIG.decoder.layers
    images = torch.randn(1, 3, CONFIG.vision.image_size, CONFIG.vision.image_size)
    ids = torch.cat([torch.full((1, visual), CONFIG.image_token), torch.randint(4, 256, (1, TEXT))], dim=1)
    scorer = Timed()
    pruners = {None: None} | {a: EntropyPrune(LAYER, average=a, scorer=scorer) for a in AVERAGES}
    seconds: dict[int | None, list[float]] = {key: [] for key in pruners}
    for turn in range(rounds + 1):
        for key, pruner in pruners.items():
            started = time.perf_counter()
            model(images, ids, pruner=pruner)
            seconds[key].append(time.perf_counter() - started)
        if turn == 0:  # warm-up
            scorer.seconds.clear()
            for taken in seconds.values():
                taken.clear()
    medians = {key: float(torch.tensor(taken).median()) for key, taken in seconds.items()}
    scoring = float(torch.tensor(scorer.seconds).median())
    print(f"{attention} attention, {torch.get_num_threads()} threads: unpruned {1e3 * medians[None]:.1f} ms; ", end="")
    print(f"scoring {1e3 * scoring:.2f} ms, {scoring / medians[None]:.2%} of it (wanted: at most 2 %)")
    print(f"{'average':>8}{'kept':>6}{'ms':>9}{'speed-up':>10}{'by FLOPs':>10}{'measured / FLOPs (wanted: 0.85)':>33}")
    for average in AVERAGES:
        keep = pruners[average].plan(visual, layers).keep
        gained, expected = medians[None] / medians[average], _flops(None) / _flops(keep)
        print(
            f"{average:>8}{keep:>6}{1e3 * medians[average]:>9.1f}{gained:>10.2f}{expected:>10.2f}"
            f"{gained / expected:>33.2f}"
        )


def main(rounds: int = 15) -> None:
    """Both implementations of attention."""
    for attention in ("explicit", "fused"):
        compare(attention, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)

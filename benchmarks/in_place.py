"""A model of the Hugging Face library, pruned in place: does the time shrink as the FLOPs do, and what do hooks cost?

A random LLaVA of 8 layers, d = 512, 8 heads of 64; 576 or 2,304 visual tokens and 64 text tokens, float32, batch 1,
logits of the last position. Image features are given, so that no vision tower is timed. The variants take turns;
medians over the rounds. Attention is counted in full where it is explicit (eager), and by the pairs that the causal
mask allows for the fused kernel (sdpa), which skips the rest.

On a busy machine `python -m benchmarks.in_place --clock cpu`, on one thread, counts the seconds of the processor only.

Wanted: a speed-up of at least 0.85 of the ratio of FLOPs, scoring at most 2 % of the unpruned prefill, hooks at most
1 % of it when everything is kept.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from entropyprune_ref.flops import DecoderSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.hf import anatomy, pruned
from entropyprune_ref.hf.images import with_features
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView

TEXT = 64
LAYER = 2
IMAGE_TOKEN = 5


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Clock = Callable[[], float]


class Timed:
    """A scorer with a stopwatch."""

    def __init__(self, clock: Clock) -> None:
        self.scorer = EntropyScorer()
        self.clock = clock
        self.seconds: list[float] = []

    def __call__(self, view: LayerView) -> torch.Tensor:
        """Scores, and notes how long that took."""
        started = self.clock()
        scores = self.scorer(view)
        self.seconds.append(self.clock() - started)
        return scores


def nothing(view: LayerView) -> torch.Tensor:
    """Costs nothing, so that what is left are the hooks."""
    return torch.zeros(view.image_index.shape, dtype=torch.float64)


def model_of(side: int, attention: str) -> Any:
    """The model; `side` squared are its visual tokens."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1, image_size=side, patch_size=1
    )
    text = LlamaConfig(
        vocab_size=256, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    return LlavaForConditionalGeneration._from_config(config, attn_implementation=attention).eval()


def run(model: Any, inputs: dict[str, Any], pruner: EntropyPrune | None, clock: Clock) -> float:
    """Returns the seconds of one prefill."""
    started = clock()
    if pruner is None:
        model(**inputs, use_cache=True, logits_to_keep=1)
    else:
        with pruned(model, pruner):
            model(**inputs, use_cache=True, logits_to_keep=1)
    return clock() - started


@torch.no_grad()
def compare(side: int, attention: str, rounds: int, clock: Clock = time.perf_counter) -> None:
    """Prints one table."""
    model, visual = model_of(side, attention), side**2
    pixels = torch.randn(1, 3, side, side)
    ids = torch.cat([torch.full((1, visual), IMAGE_TOKEN), torch.randint(6, 256, (1, TEXT))], dim=1)
    inputs = with_features(anatomy(model), {"input_ids": ids, "pixel_values": pixels})
    scorer = Timed(clock)
    averages = (visual // 2, visual // 3, visual * 5 // 18)
    pruners: dict[Any, EntropyPrune | None] = {
        "none": None,
        "all kept": EntropyPrune(LAYER, keep=visual, scorer=nothing),
    }
    pruners |= {average: EntropyPrune(LAYER, average=average, scorer=scorer) for average in averages}
    seconds: dict[Any, list[float]] = {key: [] for key in pruners}
    for turn in range(rounds + 1):
        for key, pruner in pruners.items():
            taken = run(model, inputs, pruner, clock)
            if turn:  # the first warms up
                seconds[key].append(taken)
    scorer.seconds = scorer.seconds[len(averages) :]
    medians = {key: float(torch.tensor(values).median()) for key, values in seconds.items()}
    # a busy moment lengthens one of the two: compared turn by turn
    turns = torch.tensor(seconds["all kept"]) / torch.tensor(seconds["none"])
    hooks, scoring = float(turns.median()) - 1, float(torch.tensor(scorer.seconds).median()) / medians["none"]
    threads, whole_ms = torch.get_num_threads(), 1e3 * medians["none"]
    print(f"{attention}, {visual} visual tokens, {threads} threads: unpruned {whole_ms:.1f} ms")
    print(f"hooks when all is kept {hooks:+.1%} (wanted at most 1 %), scoring {scoring:.1%} (wanted at most 2 %)")
    print(f"{'average':>8} {'kept':>6} {'time':>6} {'FLOPs':>6} {'of FLOPs':>9}   (ratios unpruned / pruned)")
    size = DecoderSize.from_transformers(model.config)
    prompt: dict[str, Any] = {"text_tokens": TEXT, "visual_tokens": visual, "lm_head": "last"}
    prompt["attention"] = "full" if attention == "eager" else "causal"
    whole = prefill_flops(size, **prompt).total
    for average in averages:
        keep = EntropyPrune(LAYER, average=average).plan(visual_tokens=visual, layers=size.layers).keep
        short = pruned_prefill_flops(size, prune_layer=LAYER, keep=keep, scoring=True, **prompt).total
        faster, fewer = medians["none"] / medians[average], whole / short
        print(f"{average:>8} {keep:>6} {faster:>6.2f} {fewer:>6.2f} {faster / fewer:>9.2f}")
    print()


def main() -> None:
    """Runs eager and fused attention on both lengths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_known_args()[0]
    for side in (24, 48):
        for attention in ("eager", "sdpa"):
            rounds = options.rounds if side == 24 else max(1, options.rounds // 3)
            compare(side, attention, rounds, CLOCKS[options.clock])


if __name__ == "__main__":
    main()

"""Vectors of section 6: FLOPs of prompts, pruned and not, for every preset and every counting rule."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ....flops import DECODERS, DecoderSize
from .building import counted, refused
from .case import VectorCase

PRESETS = {"llava_7b": "llava-1.5-7b", "llava_13b": "llava-1.5-13b", "qwen_7b": "qwen2.5-vl-7b"}


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""

    def inputs(size: DecoderSize, text: int, visual: int, **more: Any) -> dict[str, Any]:
        prompt = {"text_tokens": text, "visual_tokens": visual, "attention": "full", "lm_head": "none"}
        return asdict(size) | prompt | more

    def case(name: str, comment: str, flags: str, *prompt: Any, **more: Any) -> VectorCase:
        return counted("prefill_flops", name, comment, flags, inputs(*prompt, **more), units={"flops": "FLOPs"})

    sizes = {name: DECODERS[preset] for name, preset in PRESETS.items()}
    one = DecoderSize(layers=1, hidden=1, heads=1, kv_heads=1, head_dim=1, mlp=1, vocabulary=1)
    yield case("ones", "one token, every size 1: 18", "MlpMatrices MultiplyAdds", one, 1, 0)
    odd = DecoderSize(layers=3, hidden=10, heads=6, kv_heads=2, head_dim=5, mlp=7, mlp_matrices=2, vocabulary=11)
    width = "HeadsFillHidden GroupedQueriesIgnored"
    yield case("odd_sizes", "heads wider than the hidden size, grouped, a plain MLP", f"{width} MlpMatrices", odd, 3, 4)
    for name, size in sizes.items():
        grouped = " GroupedQueriesIgnored" if size.kv_heads < size.heads else ""
        flags = f"MlpMatrices MultiplyAdds AttentionRule{grouped}"
        yield case(f"{name}/full", "35 text and 576 visual tokens", flags, size, 35, 576)
        yield case(
            f"{name}/causal", "pairs that the causal mask allows", "AttentionRule", size, 35, 576, attention="causal"
        )
        yield case(f"{name}/linear", "linear layers only", "AttentionRule", size, 35, 576, attention="none")
        pruned = "PruneLayerOffByOne TextForgotten Unpruned"
        budget = {"prune_layer": 2, "keep": 166}
        yield case(f"{name}/pruned", "166 of 576 from layer 2 on", pruned, size, 35, 576, **budget)
    seven = sizes["llava_7b"]
    yield case("head_last", "language-model head on the last position", "HeadPositions", seven, 35, 576, lm_head="last")
    yield case("head_all", "language-model head on all positions", "HeadPositions", seven, 35, 576, lm_head="all")
    head = {"prune_layer": 2, "keep": 98, "lm_head": "all"}
    yield case("head_pruned", "the head on what is left", "HeadPositions", seven, 81, 576, **head)
    headline = {"prune_layer": 2, "keep": 98, "attention": "none"}
    yield case("headline", "one reading of the 68.2 % (inferred), pruned", "AttentionRule", seven, 81, 576, **headline)
    yield case("headline_unpruned", "the same, unpruned", "AttentionRule", seven, 81, 576, attention="none")
    scored = {"prune_layer": 2, "keep": 166, "scoring": True}
    yield case("scoring", "with the cost of the method itself", "ScoringForgotten", seven, 35, 576, **scored)
    yield case("keep_none", "text alone from layer 1 on", "TextForgotten", seven, 81, 576, prune_layer=1, keep=0)
    yield case(
        "keep_all", "keeping all costs what not pruning costs", "MultiplyAdds", seven, 81, 576, prune_layer=2, keep=576
    )
    yield case("no_tokens", "an empty prompt costs nothing", "HeadPositions", seven, 0, 0, lm_head="last")
    yield case("long", "more FLOPs than float64 has digits for", "FloatCount AttentionRule", odd, 100_000_001, 0)
    for name, comment, budget in (
        ("layer_zero", "pruned at layer 0", {"prune_layer": 0, "keep": 10}),
        ("keep_too_many", "more kept than there are", {"prune_layer": 2, "keep": 577}),
    ):
        impossible = inputs(seven, 35, 576, **budget)
        yield refused("prefill_flops", name, comment, "AcceptsImpossible", impossible)

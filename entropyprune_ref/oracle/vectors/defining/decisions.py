"""Vectors of where to prune and how many to keep: collapse layers (section 4) and budgets (section 5)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .building import counted, refused, rows
from .case import Alternative, VectorCase


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    yield from _collapses()
    yield from _budgets()


def _collapses() -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, *curves: Sequence[int | float], **more: Any) -> VectorCase:
        inputs = {"curves": rows(*curves)}
        return counted("collapse_layer", name, comment, flags, inputs, units={"layer": "layer"}, **more)

    yield case("one_drop", "one drop, into state 2", "StateBeforeDrop CountedFromLast", [4, 4, 2, 2, 2, 2])
    yield case("flat", "no change at all: no collapse", "CollapseOnFlat", [3, 3, 3, 3])
    yield case("rising", "never falls: no collapse", "RiseForDrop CollapseOnFlat", [1, 2, 2.5, 4])
    yield case("larger_rise", "the largest change is a rise", "RiseForDrop", [3, 2, 5, 4.5])
    yield case("two_drops", "the second of two drops is the larger", "FirstDrop", [5, 4, 4, 2, 2])
    yield case("late_drop", "the drop is into the last state", "LastDropIgnored", [4, 4, 3.5, 3.5, 1])
    yield case("equal_drops", "of two equal drops the earlier", "LastOfEqualDrops", [5, 5, 3, 4, 2, 2])
    yield case("relative", "the largest drop is not the largest share", "RelativeDrop", [8, 5, 5, 1, 0])
    yield case("slope", "the lowest point is not after the drop", "LowestPoint", [6, 5, 3, 2, 1, 0.5])
    yield case("small", "a drop of a thousandth is one", "AbsoluteThreshold", [2, 2, 2 - 2.0**-10, 2])
    yield case("one_layer", "a single layer", "StateBeforeDrop", [2, 1])
    outlier = [[4.0, 3, 3, 3]] * 3 + [[9.0, 9, 9, 1]]
    yield case("samples", "one of four samples outweighs the rest in the mean", "ModeOverSamples FirstSample", *outlier)
    plain = Alternative("a detector without a floor for rounding", {"layer": torch.tensor(3)})
    noise = [3.0, 3 - 2.0**-51, 3 - 2.0**-51, 3 - 3 * 2.0**-51]
    comment = "changes in the last digit only: no collapse, by the floor of Eq. 4.3 (inferred)"
    yield case("rounding", comment, "FirstDrop", noise, alternatives=(plain,))
    yield refused("collapse_layer", "nan", "one entropy is NaN", "AcceptsNotFinite", {"curves": rows([4, math.nan, 2])})
    yield refused("collapse_layer", "one_state", "one state has no drop", "AcceptsImpossible", {"curves": rows([4])})


def _budgets() -> Iterator[VectorCase]:
    def inputs(average: int | float, visual: int, layers: int, layer: int) -> dict[str, Any]:
        return {"average": average, "visual_tokens": visual, "layers": layers, "prune_layer": layer}

    def case(name: str, comment: str, flags: str, *budget: Any, **more: Any) -> VectorCase:
        return counted("tokens_to_keep", name, comment, flags, inputs(*budget), units={"keep": "tokens"}, **more)

    def infeasible(name: str, comment: str, flags: str, *budget: Any) -> VectorCase:
        return refused("tokens_to_keep", name, comment, flags, inputs(*budget))

    layer = "PruneLayerOffByOne"
    yield case("llava_192", "LLaVA-1.5-7B, published: 166.4", f"AverageKept {layer}", 192, 576, 32, 2)
    yield case("llava_128", "LLaVA-1.5-7B, published: 98.1", f"AverageKept {layer}", 128, 576, 32, 2)
    yield case("llava_64", "LLaVA-1.5-7B, published: 29.9", "AverageKept RoundedBudget", 64, 576, 32, 2)
    yield case("next_640", "LLaVA-NeXT-7B, published: 490.7", "AverageKept RoundedBudget", 640, 2880, 32, 2)
    yield case("next_320", "LLaVA-NeXT-7B, published: 149.3", f"AverageKept {layer}", 320, 2880, 32, 2)
    clipped = "InfeasibleClipped PruneLayerLowered"
    yield infeasible("next_160", "LLaVA-NeXT-7B, published: -21.3 is infeasible", clipped, 160, 2880, 32, 2)
    yield case("next_160_earlier", "the same budget one layer earlier: 72.3", layer, 160, 2880, 32, 1)
    yield case("qwen_quarter", "a quarter of the tokens on average, 28 layers", layer, 81, 324, 28, 1)
    yield case("all", "an average of all tokens keeps all", "KeepOffByOne", 576, 576, 32, 2)
    yield case("none", "the smallest feasible average keeps none", "NoneTakenForOne", 36, 576, 32, 2)
    comment = "the quotient is -0.53: keeping none would exceed the average"
    yield infeasible("just_below", comment, "TruncatedTowardsZero PruneLayerLowered", 35.5, 576, 32, 2)
    yield case("decimal", "4.35 over 100 layers is exactly 435", f"BinaryFraction {layer}", 4.35, 138, 100, 1)
    impossible = "AcceptsImpossible"
    yield infeasible("negative", "a negative average", impossible, -1, 576, 32, 2)
    yield infeasible("more_than_all", "an average above the visual tokens", impossible, 577, 576, 32, 2)
    yield infeasible("layer_zero", "pruning at layer 0: no queries before it", impossible, 192, 576, 32, 0)
    yield infeasible("layer_beyond", "pruning at a layer that does not exist", impossible, 576, 576, 32, 32)

"""Vectors at the sizes of real models: their inputs are recipes, drawn by whoever reads them."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from .building import counted, entropic
from .case import VectorCase
from .draws import Recipe


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    llava, qwen = Recipe("real/llava", (576, 32, 128)), Recipe("real/qwen", (96, 28, 128))
    loud = Recipe("real/loud", (64, 32, 128), divide=1, dtype=torch.bfloat16)
    half = Recipe("real/half", (64, 40, 128), divide=16, dtype=torch.float16)
    many = Recipe("real/many", (2880, 4, 6))
    plain = "PowerIteration HalfPrecision OtherConvention"
    for convention, name, comment, recipe in (
        ("paper", "real_llava", "576 tokens of LLaVA-1.5-7B", llava),
        ("row_normalized", "real_qwen", "96 tokens of Qwen2.5-VL-7B", qwen),
        ("paper", "many_tokens", "2,880 tokens of LLaVA-NeXT-7B, with few heads", many),
        ("paper", "bfloat16", "queries of 16 bits, whose sums of squares float16 cannot hold", loud),
        ("released", "bfloat16", "queries of 16 bits, whose scores float16 cannot hold", loud),
        ("paper", "float16", "40 heads of 16 bits, as in LLaVA-1.5-13B", half),
    ):
        yield _entropy("token_entropy", convention, name, comment, plain, recipe)
    states = Recipe("real/states", (3, 576, 48))
    yield _entropy("layer_entropy", None, "real_states", "576 visual tokens at three layers", "NoCentring", states)
    features = Recipe("real/features", (2880, 40), dtype=torch.bfloat16)
    yield _entropy(
        "matrix_entropy", None, "real_features", "2,880 tokens in bfloat16", "NoCentring PowerIteration", features
    )
    for tokens, keep in ((2880, 490), (23_040, 300)):
        scores = Recipe(f"real/scores/{tokens}", (tokens,), low=0, high=2000, divide=64)
        inputs = {"scores": scores.drawn(), "keep": keep}
        comment, flags = f"{tokens:,} tokens, many of which are tied", "TieToLater TiedOnce KeepOffByOne"
        case = counted("select_tokens", f"real_{tokens}", comment, flags, inputs, units={"kept": "positions"})
        yield replace(case, recipes={"scores": scores})


def _entropy(contract: str, convention: str | None, name: str, comment: str, flags: str, recipe: Recipe) -> VectorCase:
    """A case whose only input is drawn, and whose tolerance is one number: the largest of all."""
    case = entropic(contract, convention, name, comment, flags, recipe.drawn())
    (input,), expected = case.inputs, case.outputs["entropy"]
    tolerance = {dtype: allowed.max().expand_as(allowed) for dtype, allowed in expected.tolerance.items()}
    return replace(case, outputs={"entropy": replace(expected, tolerance=tolerance)}, recipes={input: recipe})

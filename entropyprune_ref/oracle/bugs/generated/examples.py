"""One ordinary call of every contract: enough to pass all places of its plain implementation."""

from typing import Any

import torch

from ...inputs.case import Case
from ...inputs.prompts import build

Call = tuple[tuple[Any, ...], dict[str, Any]]

PROMPT = {
    "layers": 3,
    "hidden": 12,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 4,
    "mlp": 10,
    "vocabulary": 7,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
    "layout": [2, -9, 2, -6, 1],
    "padding": [0, 3],
    "start": 0,
    "stride": 2,
    "prune_layer": 2,
    "keep": 7,
    "steps": 2,
}
DECODER = {"layers": 6, "hidden": 24, "heads": 6, "kv_heads": 2, "head_dim": 5, "mlp": 40, "mlp_matrices": 3}


def prefill_call(seed: int, *, inject: bool = False, **numbers: Any) -> Call:
    """A call of `pruned_prefill`, of the ordinary prompt with other numbers."""
    prompt = build(Case("mixed", PROMPT | {"seed": seed} | numbers), torch.float64)
    arguments = (prompt.weights, prompt.embeddings, prompt.positions, prompt.prune_layer, prompt.keep)
    return arguments, {
        "image_index": prompt.image_index,
        "attended": prompt.attended,
        "sizes": prompt.sizes,
        "kept": prompt.injected if inject else None,
        "continuation": prompt.continuation if len(prompt.continuation) else None,
    }


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Gaussian numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def example(contract: str) -> list[Call]:
    """Ordinary calls of a contract."""
    prompt = DECODER | {"text_tokens": 11, "visual_tokens": 50}
    budget = {"visual_tokens": 576, "layers": 32, "prune_layer": 2}
    ordinary: dict[str, list[Call]] = {
        "matrix_entropy": [((normal(3, 6, 9),), {})],
        "token_entropy": [((normal(3, 6, 9),), {})],
        "layer_entropy": [((normal(3, 6, 9),), {})],
        "collapse_layer": [((normal(4, 9),), {})],
        "select_tokens": [((normal(3, 9), 4), {})],
        "tokens_to_keep": [((192,), budget)],
        "prefill_flops": [((), prompt), ((), prompt | {"prune_layer": 2, "keep": 20})],
        "pruned_prefill": [prefill_call(0)],
    }
    return ordinary[contract]

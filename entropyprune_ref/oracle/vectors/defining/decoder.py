"""The tiny decoder of the vectors: its weights, and the reference of a pruned prefill."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ....pruning import kept_mask
from ....scoring import CONVENTIONS, Convention, token_entropy
from ...inputs.prompts import Prompt
from ...plain.decoder import Run, masked_run, parameter_shapes
from .draws import integers

SIZES = {
    "layers": 3,
    "hidden": 12,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 4,
    "mlp": 10,
    "vocabulary": 7,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
}
"""Of the only decoder: grouped queries, and heads that do not fill the hidden size."""


def pruned_prefill(convention: str | None) -> Callable[..., tuple[Tensor, Tensor]]:
    """Returns the reference for a convention, called as the contract `pruned_prefill` says.

    It gathers nothing and caches nothing: it is the full forward pass in which dropped tokens are masked out as keys
    from the prune layer on, which pruning must equal.
    """
    chosen = CONVENTIONS[convention or "paper"]

    def run(
        weights: Mapping[str, Tensor],
        embeddings: Tensor,
        positions: Tensor,
        prune_layer: int,
        keep: int,
        *,
        kept: Tensor | None,
        **options: Any,
    ) -> tuple[Tensor, Tensor]:
        everything = torch.arange(len(embeddings))
        prompt = as_prompt(
            weights=weights,
            embeddings=embeddings,
            positions=positions,
            prune_layer=prune_layer,
            keep=keep,
            kept=everything if kept is None else kept,
            **options,
        )
        if kept is None:
            index = prompt.image_index[None]
            scores = scores_of(masked(prompt, left_of(prompt, everything)), prompt, chosen)
            kept = torch.nonzero(kept_mask(scores[None], index, [keep])[0] & prompt.attended).flatten()
        return kept, masked(prompt, left_of(prompt, kept)).logits

    return run


def as_prompt(*, attended: Tensor, kept: Tensor, **inputs: Any) -> Prompt:
    """The inputs of a case as the contract's prompt; `kept` is what is left of it."""
    return Prompt(attended=attended.bool(), injected=kept, **inputs)


def masked(prompt: Prompt, remaining: Tensor) -> Run:
    """The masked full pass over prompt and continuation."""
    embeddings, positions, attended = prompt.whole()
    return masked_run(prompt.weights, embeddings, positions, prompt.prune_layer, remaining, attended, prompt.sizes)


def left_of(prompt: Prompt, kept: Tensor) -> Tensor:
    """Which tokens of prompt and continuation the later layers see."""
    remaining = torch.zeros(len(prompt.embeddings) + len(prompt.continuation), dtype=torch.bool)
    remaining[kept] = True
    remaining[len(prompt.embeddings) :] = True
    return remaining


def scores_of(run: Run, prompt: Prompt, convention: Convention) -> Tensor:
    """Scores of all tokens of the prompt."""
    return token_entropy(run.queries[: len(prompt.embeddings)].double(), convention)


def weights() -> dict[str, Tensor]:
    """Returns the weights of the decoder: multiples of 1/128, so large that attention is far from uniform."""
    return {name: _parameter(name.removesuffix(".weight"), shape) for name, shape in parameter_shapes(SIZES).items()}


def _parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1:
        return 1 + integers(f"weights/{name}", *shape, low=-32, high=32) / 128
    return integers(f"weights/{name}", *shape) / 128

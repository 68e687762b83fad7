"""The reference of a pruned prefill: the full forward pass in which dropped tokens are masked out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...pruning import kept_mask
from ...scoring import CONVENTIONS, Convention, token_entropy
from ..inputs.prompts import Prompt
from ..plain.decoder import Run, masked_run


def masked_prefill(convention: str | None) -> Callable[..., tuple[Tensor, Tensor]]:
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
            scores = scores_of_prompt(prompt.run(masked_run, prompt.remaining(everything)), prompt, chosen)
            kept = torch.nonzero(kept_mask(scores[None], prompt.image_index[None], [keep])[0] & prompt.attended)
            kept = kept.flatten()
        return kept, prompt.run(masked_run, prompt.remaining(kept)).logits

    return run


def as_prompt(*, attended: Tensor, kept: Tensor, **inputs: Any) -> Prompt:
    """The inputs of a case as the contract's prompt; `kept` is what is left of it."""
    return Prompt(attended=attended.bool(), injected=kept, **inputs)


def scores_of_prompt(run: Run, prompt: Prompt, convention: Convention) -> Tensor:
    """Scores of all tokens of the prompt."""
    return token_entropy(run.queries[: len(prompt.embeddings)].double(), convention)

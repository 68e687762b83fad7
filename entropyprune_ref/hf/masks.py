"""Which keys may be seen: what the caller said of the prompt, and the mask of the shortened sequence."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers.masking_utils import create_causal_mask


@dataclass(frozen=True)
class Past:
    """What the layers from the prune layer on hold of a sequence that was pruned.

    Attributes:
        layer: The prune layer.
        attended: `(batch, entries)`: which of their cache entries may be seen.
        tokens: How many tokens of the unpruned sequence these entries stand for.
    """

    layer: int
    attended: Bool[Tensor, "batch entries"]
    tokens: int


def attended_tokens(decoder: Any, mask: Any, given: Tensor, tokens: int, cache: Any) -> Bool[Tensor, "batch tokens"]:
    """Returns which tokens of the unpruned sequence, cached ones first, are no padding.

    With a static cache, `generate` hands over the causal mask instead of the padding mask. The row of its last query
    says which keys are attended.

    Args:
        decoder: The language model.
        mask: What the model was called with.
        given: `(batch, sequence)` ids or `(batch, sequence, hidden)` embeddings of this call.
        tokens: How many tokens there are with those of earlier calls.
        cache: The key/value cache, if there is one.

    Raises:
        ValueError: A mask of another shape, or one that is not the causal mask of padded prompts.
    """
    batch, sequence = given.shape[:2]
    if isinstance(mask, dict):
        mask = mask["full_attention"]
    if mask is None:
        return torch.ones(batch, tokens, dtype=torch.bool, device=given.device)
    if isinstance(mask, Tensor) and mask.ndim == 2:
        if mask.shape != (batch, tokens):
            raise ValueError(f"attention_mask must have shape {(batch, tokens)}, got {tuple(mask.shape)}")
        return mask.bool().to(given.device)
    if not (isinstance(mask, Tensor) and mask.ndim == 4 and getattr(cache, "is_compileable", False)):
        shape = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"attention_mask must have shape (batch, tokens) while the model is pruned, got {shape}")
    row = mask[:, 0, -1, :tokens]
    attended = (row if row.dtype == torch.bool else row == 0).expand(batch, tokens).to(given.device)
    like = torch.empty(batch, sequence, 0, dtype=decoder.dtype, device=given.device)
    causal = shortened_mask(decoder, like, attended, cache, layer=0, explicit=True)
    if not torch.equal(mask.expand_as(causal), causal.to(mask.device)):
        raise ValueError(
            "attention_mask must be the causal mask of padded prompts while the model is pruned, got another"
        )
    return attended


def shortened_mask(
    decoder: Any, hidden: Tensor, attended: Bool[Tensor, "batch keys"], cache: Any, layer: int, explicit: bool = False
) -> Any:
    """Returns the causal mask of the layers from `layer` on, of the kind that the model's attention takes.

    No positions are given: those of a pruned sequence have gaps, which the library takes for packed sequences.

    Args:
        decoder: The language model.
        hidden: `(batch, sequence, any)`, for its shape, dtype and device.
        attended: Which keys may be seen, those of the cache first.
        cache: The key/value cache, if there is one.
        layer: The first layer that is to get the mask.
        explicit: Whether a mask is wanted even where the attention could do without one.
    """
    return create_causal_mask(
        config=decoder.config,
        inputs_embeds=hidden,
        attention_mask=attended.to(hidden.device),
        past_key_values=cache,
        position_ids=None,
        layer_idx=layer,
        allow_is_causal_skip=not explicit,
    )


def require_entries(cache: Any, layer: int, entries: int) -> None:
    """Raises unless the cache holds so many entries in the prune layer.

    Raises:
        ValueError: It was changed since the prompt was pruned.
    """
    held = int(cache.get_seq_length(layer))
    if held != entries:
        raise ValueError(
            f"past_key_values must hold {entries} entries in layer {layer}, where the prompt was pruned, got {held}: a "
            "cache must not be cut or exchanged in between"
        )

"""What is not pruned in place: refused with words, before anything is run."""

import sys
from typing import Any
from weakref import WeakSet

from torch import nn

from entropyprune_ref.pruner import EntropyPrune

from .families import Anatomy

_PRUNED: "WeakSet[nn.Module]" = WeakSet()
"""Decoders that some `pruned` block has its hooks in."""


def claim(parts: Anatomy) -> None:
    """Marks the decoder as pruned.

    Raises:
        ValueError: It already is.
    """
    if parts.decoder in _PRUNED:
        raise ValueError("model must not be pruned twice, got one that is inside another block of pruned")
    _PRUNED.add(parts.decoder)


def release(parts: Anatomy) -> None:
    """Takes the mark away."""
    _PRUNED.discard(parts.decoder)


def require_prunable(parts: Anatomy, pruner: EntropyPrune) -> None:
    """Raises for a model or a pruner whose pruned forward pass would not be the masked one.

    Raises:
        TypeError: `pruner` is not an `EntropyPrune`.
        ValueError: Naming the setting that is not supported.
    """
    if not isinstance(pruner, EntropyPrune):
        raise TypeError(f"pruner must be an EntropyPrune, got {type(pruner).__name__}")
    layers = len(parts.layers)
    if not 1 <= pruner.layer < layers:
        raise ValueError(
            f"pruner.layer must lie in [1, {layers - 1}] for a model of {layers} layers, got {pruner.layer}"
        )
    require_behind_deepstack(parts, pruner.layer)
    require_full_attention(parts.decoder.config)
    require_known_layers(parts)
    require_inference(parts.model)
    if getattr(parts.model, "_compiled_call_impl", None) is not None:
        raise ValueError("model must not be compiled: its hooks would not run at every call")


def require_behind_deepstack(parts: Anatomy, layer: int) -> None:
    """Raises if features of the vision tower would be added to a sequence that is already shortened."""
    if layer < parts.deepstack:
        raise ValueError(
            f"pruner.layer must be at least {parts.deepstack}: {parts.family.model} adds features of the vision tower "
            f"to every visual token behind its first {parts.deepstack} layers; got {layer}"
        )


def require_full_attention(config: Any) -> None:
    """Raises unless every token sees all tokens before it and no other."""
    if not getattr(config, "is_causal", True):
        raise ValueError("model must have text_config.is_causal = True, got False")
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and set(kinds) != {"full_attention"}:
        other = next(kind for kind in kinds if kind != "full_attention")
        raise ValueError(f"model must have full attention in every decoder layer, got layer_types with {other!r}")
    for name in ("sliding_window", "attention_chunk_size"):
        # a window counts cache entries, of which dropped tokens leave none
        if getattr(config, name, None) is not None and (kinds is None or name != "sliding_window"):
            raise ValueError(f"model must have text_config.{name} = None, got {getattr(config, name)}")


def require_known_layers(parts: Anatomy) -> None:
    """Raises unless queries and keys of a decoder layer can be read on their way to the attention."""
    attention = getattr(parts.layers[0], "self_attn", None)
    missing = [name for name in ("q_proj", "k_proj", "head_dim") if not hasattr(attention, name)]
    if missing or rotation_of(attention) is None:
        what = missing[0] if missing else "apply_rotary_pos_emb beside it"
        raise ValueError(
            f"model must have decoder layers with self_attn.{what}, got {type(parts.layers[0]).__name__} without"
        )


def rotation_of(attention: Any) -> Any:
    """The function with which a layer rotates its queries and keys."""
    return getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)


def require_inference(model: Any) -> None:
    """Raises in training mode if that draws anything at random."""
    if not model.training:
        return
    configs = [model.config, getattr(model.config, "text_config", None), getattr(model.config, "vision_config", None)]
    rates = {
        name: value
        for config in configs
        for name, value in vars(config or object).items()
        if "dropout" in name and isinstance(value, (int, float)) and value > 0
    }
    rates |= {
        name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p > 0
    }
    if rates:
        name, value = next(iter(rates.items()))
        raise ValueError(
            f"model must be in evaluation mode or without dropout, got training mode with {name} = {value}"
        )


def require_one_sequence_a_row(inputs: dict[str, Any]) -> None:
    """Raises for several sequences packed into one row, of which an image prunes only its own.

    Raises:
        ValueError: Boundaries of sequences, or positions that the library takes for such.
    """
    given = sorted(name for name, value in inputs.items() if name.startswith("cu_seq_lens") and value is not None)
    positions = inputs.get("position_ids")
    if positions is not None and positions.ndim == 3:
        positions = positions[0] if len(positions) == 4 else None  # the other three rows are of a picture
    if given:
        raise ValueError(f"{given[0]} must be None while the model is pruned: rows must not hold several sequences")
    if inputs.get("attention_mask") is None and positions is not None and bool((positions.diff(dim=-1) != 1).any()):
        raise ValueError(
            "position_ids must rise by one where there is no attention_mask: the library takes anything else for "
            "several sequences in a row"
        )

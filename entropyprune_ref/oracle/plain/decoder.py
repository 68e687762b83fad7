"""A Llama decoder written out plainly, from a dictionary of weights, for one sequence, in any dtype.

It shares no code with `entropyprune_ref.llava`, so that each can be held against the other. Nothing is cached and
nothing is fused: tokens that are decoded later stand behind the prompt from the start, which causality makes the same.
`masked_run` is what pruning must equal, `pruned_run` is pruning as one would write it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

Weights = Mapping[str, Tensor]
"""By the names of Hugging Face checkpoints: `layers.0.self_attn.q_proj.weight`, ..., `lm_head.weight`."""

Sizes = Mapping[str, int | float]
"""`layers`, `hidden`, `heads`, `kv_heads`, `head_dim`, `mlp`, `vocabulary`, `rope_theta`, `norm_eps`."""


@dataclass(frozen=True)
class Run:
    """What a pruned or masked run leaves.

    Attributes:
        logits: `(remaining, vocabulary)`, of the tokens that remain, in their order.
        queries: `(sequence, heads, head_dim)`, of layer `prune_layer - 1`, after rotary embedding, of every token.
    """

    logits: Float[Tensor, "remaining vocabulary"]
    queries: Float[Tensor, "sequence heads head_dim"]


@dataclass(frozen=True)
class Mixed:
    """What one layer makes of its tokens: their next states, rotary queries and keys, and values."""

    hidden: Float[Tensor, "sequence hidden"]
    queries: Float[Tensor, "sequence heads head_dim"]
    keys: Float[Tensor, "sequence kv_heads head_dim"]
    values: Float[Tensor, "sequence kv_heads head_dim"]


def rms_norm(
    hidden: Float[Tensor, "sequence hidden"], weight: Float[Tensor, " hidden"], eps: float
) -> Float[Tensor, "sequence hidden"]:
    """Divides every token by the root mean square of its features."""
    return weight * hidden / (hidden.square().mean(-1, keepdim=True) + eps).sqrt()


def rotated(
    vectors: Float[Tensor, "sequence heads head_dim"],
    positions: Real[Tensor, " sequence"],
    theta: float,
    angles: torch.dtype = torch.float32,
) -> Float[Tensor, "sequence heads head_dim"]:
    r"""Rotates the pair $(i, i + d_h / 2)$ of every head by the angle $p\,\theta^{-2i/d_h}$.

    Args:
        vectors: One for every token and head.
        positions: $p$, of every token.
        theta: Base of the frequencies.
        angles: What the angles, cosines and sines are computed in; public checkpoints use float32.

    Examples:
        A quarter turn of the only pair, at $p = \pi / 2$.

        >>> quarter = torch.tensor([math.pi / 2], dtype=torch.float64)
        >>> rotated(torch.tensor([[[1.0, 0.0]]], dtype=torch.float64), quarter, 10000.0).round(decimals=6).tolist()
        [[[-0.0, 1.0]]]
    """
    half = vectors.shape[-1] // 2
    frequencies = 1.0 / theta ** (torch.arange(0, 2 * half, 2, dtype=angles) / (2 * half))
    turn = (positions.to(angles)[:, None] * frequencies)[:, None]
    cosine, sine = turn.cos().to(vectors.dtype), turn.sin().to(vectors.dtype)
    first, second = vectors[..., :half], vectors[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def decoder_layer(
    weights: Weights,
    number: int,
    hidden: Float[Tensor, "sequence hidden"],
    positions: Real[Tensor, " sequence"],
    visible: Bool[Tensor, "sequence keys"],
    sizes: Sizes,
    *,
    past: tuple[Tensor, Tensor] | None = None,
    angles: torch.dtype = torch.float32,
) -> Mixed:
    """Runs one layer.

    Args:
        weights: Weights of the whole decoder.
        number: Number of the layer.
        hidden: The state that enters it.
        positions: Rotary position of every token.
        visible: Which keys each token may look at, at least one; those of `past` come first.
        sizes: Sizes of the decoder.
        past: Keys and values of tokens before these.
        angles: As in `rotated`.
    """
    heads, head_dim = int(sizes["heads"]), int(sizes["head_dim"])
    own, eps = f"layers.{number}.", sizes["norm_eps"]
    normed = rms_norm(hidden, weights[own + "input_layernorm.weight"], eps)
    queries, keys, values = (
        _linear(normed, weights, f"{own}self_attn.{kind}_proj").reshape(len(hidden), -1, head_dim) for kind in "qkv"
    )
    queries = rotated(queries, positions, sizes["rope_theta"], angles)
    keys = rotated(keys, positions, sizes["rope_theta"], angles)
    all_keys = keys if past is None else torch.cat([past[0], keys])
    all_values = values if past is None else torch.cat([past[1], values])

    shared = torch.arange(heads) // (heads // int(sizes["kv_heads"]))  # which key/value head a query head looks at
    scores = torch.einsum("qhd,khd->hqk", queries, all_keys[:, shared]) / math.sqrt(head_dim)
    attention = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    mixed = torch.einsum("hqk,khd->qhd", attention, all_values[:, shared]).flatten(1)
    hidden = hidden + _linear(mixed, weights, own + "self_attn.o_proj")

    normed = rms_norm(hidden, weights[own + "post_attention_layernorm.weight"], eps)
    gate = torch.nn.functional.silu(_linear(normed, weights, own + "mlp.gate_proj"))
    inner = gate * _linear(normed, weights, own + "mlp.up_proj")
    return Mixed(hidden + _linear(inner, weights, own + "mlp.down_proj"), queries, keys, values)


def _linear(features: Tensor, weights: Weights, name: str) -> Tensor:
    return features @ weights[f"{name}.weight"].mT


def final_logits(
    weights: Weights, hidden: Float[Tensor, "sequence hidden"], sizes: Sizes
) -> Float[Tensor, "sequence vocabulary"]:
    """Final norm and language-model head."""
    return rms_norm(hidden, weights["norm.weight"], sizes["norm_eps"]) @ weights["lm_head.weight"].mT


def parameter_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every weight of the decoder, named as in a checkpoint of Llama, and its shape.

    Args:
        sizes: Sizes of the decoder: `layers`, `hidden`, `heads`, `kv_heads`, `head_dim`, `mlp`, `vocabulary`.
    """
    hidden, mlp = int(sizes["hidden"]), int(sizes["mlp"])
    wide, narrow = (int(sizes[heads] * sizes["head_dim"]) for heads in ("heads", "kv_heads"))
    layer = {
        "self_attn.q_proj": (wide, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, wide),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    return {"norm.weight": (hidden,), "lm_head.weight": (int(sizes["vocabulary"]), hidden)} | {
        f"layers.{number}.{name}.weight": shape
        for number in range(int(sizes["layers"]))
        for name, shape in layer.items()
    }


def causal(seen: Bool[Tensor, " sequence"]) -> Bool[Tensor, "sequence sequence"]:
    """Which keys each token may look at: those before it that are `seen`, and itself.

    A token that is not seen looks at itself too, so that every state is finite; nobody else looks at it.
    """
    return torch.eye(len(seen), dtype=torch.bool) | torch.ones(len(seen), len(seen), dtype=torch.bool).tril() & seen


def masked_run(
    weights: Weights,
    embeddings: Float[Tensor, "sequence hidden"],
    positions: Real[Tensor, " sequence"],
    prune_layer: int,
    remaining: Bool[Tensor, " sequence"],
    attended: Bool[Tensor, " sequence"],
    sizes: Sizes,
    *,
    angles: torch.dtype = torch.float64,
) -> Run:
    """The full forward pass in which, from `prune_layer` on, dropped tokens are masked out as keys.

    Every layer sees the whole sequence: positions, order and caches cannot go wrong.

    Args:
        weights: Weights of the decoder.
        embeddings: State 0, of prompt and continuation.
        positions: Rotary positions.
        prune_layer: First layer that does not look at dropped tokens, at least 1.
        remaining: False for dropped tokens.
        attended: False for padding.
        sizes: Sizes of the decoder.
        angles: As in `rotated`.
    """
    hidden, queries = embeddings, torch.empty(0)
    for number in range(int(sizes["layers"])):
        visible = causal(attended if number < prune_layer else attended & remaining)
        mixed = decoder_layer(weights, number, hidden, positions, visible, sizes, angles=angles)
        hidden, queries = mixed.hidden, mixed.queries if number < prune_layer else queries
    return Run(final_logits(weights, hidden, sizes)[remaining], queries)


def pruned_run(
    weights: Weights,
    embeddings: Float[Tensor, "sequence hidden"],
    positions: Int[Tensor, " sequence"],
    prune_layer: int,
    remaining: Bool[Tensor, " sequence"],
    attended: Bool[Tensor, " sequence"],
    sizes: Sizes,
) -> Run:
    """The forward pass that gathers what remains at the input of `prune_layer`, every step in the dtype of the weights.

    Args:
        weights: As in `masked_run`.
        embeddings: As in `masked_run`.
        positions: As in `masked_run`.
        prune_layer: As in `masked_run`.
        remaining: False for dropped tokens and for padding.
        attended: As in `masked_run`.
        sizes: As in `masked_run`.
    """
    hidden, queries, visible = embeddings, torch.empty(0), causal(attended)
    for number in range(int(sizes["layers"])):
        if number == prune_layer:
            hidden, positions, visible = hidden[remaining], positions[remaining], causal(remaining[remaining])
        mixed = decoder_layer(weights, number, hidden, positions, visible, sizes)
        hidden, queries = mixed.hidden, mixed.queries if number < prune_layer else queries
    return Run(final_logits(weights, hidden, sizes), queries)

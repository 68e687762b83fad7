"""The language model: a Llama decoder with rotary embedding, SwiGLU, grouped-query attention and a key/value cache."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attend
from .cache import LayerCache
from .config import Attention, DecoderConfig

Rotary = tuple[Tensor, Tensor]


class RMSNorm(nn.Module):
    """Divides by the root mean square of the features; computed in float32 at least."""

    def __init__(self, dims: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dims))
        self.eps = eps

    def forward(self, hidden: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Normalises the last axis."""
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(hidden.dtype)


def rotary_angles(
    positions: Int[Tensor, "batch sequence"], config: DecoderConfig, dtype: torch.dtype, device: torch.device
) -> Rotary:
    r"""Returns cosine and sine of $p\,\theta^{-2i/d_h}$, each `(batch, 1, sequence, head_dim)`.

    Angles are computed in float32 whatever the model's dtype: that is how the public checkpoints define them.
    """
    exponents = torch.arange(0, config.head_dim, 2, device="cpu").float() / config.head_dim
    frequencies = (1.0 / config.rope_theta**exponents).to(positions.device)
    angles = positions[:, None, :, None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def rotate(
    vectors: Float[Tensor, "batch heads sequence head_dim"], rotary: Rotary
) -> Float[Tensor, "batch heads sequence head_dim"]:
    """Rotates the pairs `(i, i + head_dim / 2)` of every head by the angles of the token's position."""
    cosine, sine = rotary
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cosine + torch.cat([-second, first], dim=-1) * sine


class DecoderAttention(nn.Module):
    """Causal self-attention with rotary queries and keys; no biases."""

    def __init__(self, config: DecoderConfig, attention: Attention) -> None:
        super().__init__()
        self.config, self.attention = config, attention
        self.q_proj = nn.Linear(config.hidden, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden, bias=False)

    def forward(
        self, hidden: Tensor, rotary: Rotary, mask: Tensor | None, cache: LayerCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the mixed states, and the rotary queries and keys of these tokens."""
        queries = rotate(self.by_head(self.q_proj(hidden)), rotary)
        keys = rotate(self.by_head(self.k_proj(hidden)), rotary)
        values = self.by_head(self.v_proj(hidden))
        all_keys, all_values = (keys, values) if cache is None else cache.append(keys, values)
        mixed = attend(queries, all_keys, all_values, mask, self.attention)
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), queries, keys

    def by_head(
        self, projected: Float[Tensor, "batch sequence width"]
    ) -> Float[Tensor, "batch heads sequence head_dim"]:
        """Splits the features into heads."""
        return projected.unflatten(2, (-1, self.config.head_dim)).transpose(1, 2)


class DecoderLayer(nn.Module):
    """Pre-norm attention and SwiGLU MLP on a residual stream."""

    def __init__(self, config: DecoderConfig, attention: Attention) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.self_attn = DecoderAttention(config, attention)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.gate_proj = nn.Linear(config.hidden, config.mlp, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.mlp, bias=False)
        self.down_proj = nn.Linear(config.mlp, config.hidden, bias=False)

    def forward(
        self, hidden: Tensor, rotary: Rotary, mask: Tensor | None, cache: LayerCache | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the next state, and this layer's rotary queries and keys."""
        mixed, queries, keys = self.self_attn(self.input_layernorm(hidden), rotary, mask, cache)
        hidden = hidden + mixed
        inner = self.post_attention_layernorm(hidden)
        return hidden + self.down_proj(F.silu(self.gate_proj(inner)) * self.up_proj(inner)), queries, keys


@dataclass
class DecoderOutput:
    """Results of a run through some layers.

    Attributes:
        hidden: The state after the last of them.
        queries: Queries of the last of them, after rotary embedding; empty if none ran.
        keys: Keys, likewise.
        states: On request, the state at the input of each layer run.
        all_queries: On request, the queries of each layer run.
    """

    hidden: Float[Tensor, "batch sequence hidden"]
    queries: Tensor
    keys: Tensor
    states: list[Tensor] = field(default_factory=list)
    all_queries: list[Tensor] = field(default_factory=list)


class Decoder(nn.Module):
    """Token embedding, the layers, and the final norm."""

    def __init__(self, config: DecoderConfig, attention: Attention = "explicit") -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(DecoderLayer(config, attention) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.norm_eps)

    def forward(
        self,
        hidden: Float[Tensor, "batch sequence hidden"],
        positions: Int[Tensor, "batch sequence"],
        mask: Bool[Tensor, "#batch 1 sequence keys"] | None,
        layers: Iterable[int],
        cache: list[LayerCache] | None = None,
        keep_trace: bool = False,
    ) -> DecoderOutput:
        """Runs `layers` in order on one sequence; the final norm is the caller's.

        Args:
            hidden: The state that enters the first of `layers`.
            positions: Rotary position of every token; tokens keep it when others are dropped.
            mask: True where a query may look at a key (cached keys first).
            layers: Indices of the layers to run.
            cache: One entry for every layer of the model; the layers run are appended to. `None` for no cache.
            keep_trace: Whether to keep every state and every layer's queries.
        """
        rotary = rotary_angles(positions, self.config, hidden.dtype, hidden.device)
        trace = DecoderOutput(hidden, hidden.new_empty(0), hidden.new_empty(0))
        for index in layers:
            if keep_trace:
                trace.states.append(trace.hidden)
            layer_cache = None if cache is None else cache[index]
            trace.hidden, trace.queries, trace.keys = self.layers[index](trace.hidden, rotary, mask, layer_cache)
            if keep_trace:
                trace.all_queries.append(trace.queries)
        return trace

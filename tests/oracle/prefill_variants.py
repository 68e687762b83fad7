"""Correct pruned prefills, each by another road: the oracle must never fail one."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from entropyprune_ref import token_entropy
from entropyprune_ref.llava import DecoderConfig
from entropyprune_ref.llava.attention import causal_mask
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.decoder import Decoder
from entropyprune_ref.oracle.plain.decoder import masked_run, pruned_run
from entropyprune_ref.pruning import kept_mask, split_keep
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView
from entropyprune_ref.scoring import PAPER, Convention

Result = tuple[Any, Any]


def llava_decoder(weights: dict[str, Tensor], sizes: dict[str, Any], attention: str = "explicit") -> Decoder:
    """The decoder of the minimal LLaVA with these weights."""
    numbers = {name: value for name, value in sizes.items() if name != "vocabulary"}
    decoder = Decoder(DecoderConfig(**numbers, vocabulary=1), attention).to(weights["norm.weight"].dtype)
    own = {name.replace("mlp.", ""): weight for name, weight in weights.items() if name != "lm_head.weight"}
    decoder.load_state_dict(own | {"embed_tokens.weight": decoder.embed_tokens.weight})
    return decoder.requires_grad_(False)


def by_llava(
    weights: dict[str, Tensor],
    embeddings: Tensor,
    positions: Tensor,
    prune_layer: int,
    keep: int,
    *,
    image_index: Tensor,
    attended: Tensor,
    sizes: dict[str, Any],
    kept: Tensor | None = None,
    continuation: Tensor | None = None,
    attention: str = "explicit",
    convention: Convention = PAPER,
) -> Result:
    """`entropyprune_ref.llava`: its decoder, caches, masks and scorer."""
    decoder = llava_decoder(weights, sizes, attention)
    cache = [LayerCache() for _ in range(sizes["layers"])]
    early, late = range(prune_layer), range(prune_layer, sizes["layers"])
    mask = causal_mask(attended[None], len(attended), embeddings.device)
    trace = decoder(embeddings[None], positions[None], mask, early, cache)
    assert trace.queries is not None and trace.keys is not None
    if kept is None:
        view = LayerView(trace.hidden, trace.queries, trace.keys, image_index[None], attended[None])
        chosen = kept_mask(EntropyScorer(convention)(view), image_index[None], [keep])[0]
        kept = torch.nonzero(chosen & attended).flatten()
    seen = torch.ones(1, len(kept), dtype=torch.bool)
    mask = causal_mask(seen, len(kept), embeddings.device)
    states = [decoder(trace.hidden[:, kept], positions[None, kept], mask, late, cache).hidden]
    position = int(positions[attended].max())
    before, after = attended[None], seen
    for token in () if continuation is None else continuation:
        position += 1
        hidden, here = token[None, None], torch.tensor([[position]])
        before, after = (torch.cat([part, torch.ones(1, 1, dtype=torch.bool)], 1) for part in (before, after))
        hidden = decoder(hidden, here, causal_mask(before, 1, token.device), early, cache).hidden
        states.append(decoder(hidden, here, causal_mask(after, 1, token.device), late, cache).hidden)
    return kept, decoder.norm(torch.cat(states, 1))[0] @ weights["lm_head.weight"].mT


def by_plain_run(
    weights: dict[str, Tensor],
    embeddings: Tensor,
    positions: Tensor,
    prune_layer: int,
    keep: int,
    *,
    image_index: Tensor,
    attended: Tensor,
    sizes: dict[str, Any],
    kept: Tensor | None = None,
    continuation: Tensor | None = None,
    convention: Convention = PAPER,
) -> Result:
    """Without a cache: the continuation stands behind the prompt from the start."""
    steps = 0 if continuation is None else len(continuation)
    last = torch.ones(steps, dtype=torch.bool)
    if continuation is not None:
        embeddings = torch.cat([embeddings, continuation])
        positions = torch.cat([positions, positions[attended].max() + 1 + torch.arange(steps)])
    seen = torch.cat([attended, last])

    def remaining(indices: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(attended).index_fill(0, indices, True), last])

    if kept is None:
        every = torch.nonzero(attended).flatten()
        full = masked_run(weights, embeddings, positions, prune_layer, remaining(every), seen, sizes)
        scores = token_entropy(full.queries[: len(attended)], convention)
        kept = torch.nonzero(kept_mask(scores[None], image_index[None], [keep])[0] & attended).flatten()
    return kept, pruned_run(weights, embeddings, positions, prune_layer, remaining(kept), seen, sizes).logits


def by_numpy(
    weights: dict[str, np.ndarray],
    embeddings: np.ndarray,
    positions: np.ndarray,
    prune_layer: int,
    keep: int,
    *,
    image_index: np.ndarray,
    attended: np.ndarray,
    sizes: dict[str, Any],
    kept: np.ndarray | None = None,
    continuation: np.ndarray | None = None,
) -> Result:
    """NumPy alone, angles and entropies in the dtype of the weights; no cache, no library of ours."""
    head_dim, heads, dtype = sizes["head_dim"], sizes["heads"], embeddings.dtype
    group = heads // sizes["kv_heads"]
    frequencies = dtype.type(sizes["rope_theta"]) ** -(np.arange(0, head_dim, 2, dtype=dtype) / dtype.type(head_dim))

    def norm(hidden: np.ndarray, name: str) -> np.ndarray:
        mean = (hidden * hidden).mean(-1, keepdims=True, dtype=dtype)
        return weights[name] * hidden / np.sqrt(mean + dtype.type(sizes["norm_eps"]))

    def turn(vectors: np.ndarray, places: np.ndarray) -> np.ndarray:
        pairs = vectors[..., : head_dim // 2] + 1j * vectors[..., head_dim // 2 :]
        pairs = pairs * np.exp(1j * (places.astype(dtype)[:, None, None] * frequencies))
        return np.concatenate([pairs.real, pairs.imag], -1).astype(dtype)

    def layer(number: int, hidden: np.ndarray, places: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = {name: weights[f"layers.{number}.{name}.weight"] for name in NAMES}
        normed = norm(hidden, f"layers.{number}.input_layernorm.weight")
        queries, keys, values = (
            (normed @ own[f"self_attn.{kind}_proj"].T).reshape(len(hidden), -1, head_dim) for kind in "qkv"
        )
        queries, keys = turn(queries, places), turn(keys, places)
        visible = np.tril(np.ones((len(hidden), len(hidden)), bool)) & seen | np.eye(len(hidden), dtype=bool)
        mixed = []
        for head in range(heads):
            scores = queries[:, head] @ keys[:, head // group].T / np.sqrt(dtype.type(head_dim))
            powers = np.where(visible, np.exp(scores - np.where(visible, scores, -np.inf).max(-1, keepdims=True)), 0)
            mixed.append(powers.astype(dtype) @ values[:, head // group] / powers.sum(-1, keepdims=True, dtype=dtype))
        hidden = hidden + np.concatenate(mixed, -1) @ own["self_attn.o_proj"].T
        normed = norm(hidden, f"layers.{number}.post_attention_layernorm.weight")
        gate = normed @ own["mlp.gate_proj"].T
        return hidden + (gate / (1 + np.exp(-gate)) * (normed @ own["mlp.up_proj"].T)) @ own["mlp.down_proj"].T, queries

    steps = 0 if continuation is None else len(continuation)
    hidden = embeddings if continuation is None else np.concatenate([embeddings, continuation])
    places = np.concatenate([positions, positions[attended].max() + 1 + np.arange(steps)])
    seen = np.concatenate([attended, np.ones(steps, bool)])
    for number in range(prune_layer):
        hidden, queries = layer(number, hidden, places, seen)
    if kept is None:
        rows = queries - queries.mean(1, keepdims=True, dtype=dtype)
        squares = np.linalg.svd(rows, compute_uv=False) ** 2
        levels = squares / squares.sum(-1, keepdims=True)
        scores = -(levels * np.log(np.where(levels > 0, levels, 1))).sum(-1)
        images = [np.flatnonzero(image_index == image) for image in range(image_index.max() + 1)]
        shares = split_keep(keep, [len(image) for image in images])
        best = [
            image[np.argsort(-scores[image], kind="stable")[:share]]
            for image, share in zip(images, shares, strict=True)
        ]
        kept = np.sort(np.concatenate([np.flatnonzero(attended & (image_index < 0)), *best]))
    left = np.concatenate([kept, len(attended) + np.arange(steps)])
    hidden, places = hidden[left], places[left]
    for number in range(prune_layer, sizes["layers"]):
        hidden, _ = layer(number, hidden, places, np.ones(len(left), bool))
    return kept, norm(hidden, "norm.weight") @ weights["lm_head.weight"].T


NAMES = tuple(f"self_attn.{kind}_proj" for kind in "qkvo") + tuple(
    f"mlp.{kind}_proj" for kind in ("gate", "up", "down")
)

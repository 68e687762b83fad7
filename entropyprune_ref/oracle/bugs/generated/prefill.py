"""A pruned prefill and the decoding behind it in steps (section 5): one prompt, the arguments of the contract."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ....pruning import kept_mask
from ....scoring import Convention, token_entropy
from .steps import Steps

TOKENS = ("tokens", "features")
HEADS = ("tokens", "heads", "size")


@dataclass
class Prefill:
    """One prefill.

    Attributes:
        at: Where bugs sit.
        convention: Formula of token entropy.
        weights: As the contract says.
        sizes: As the contract says.
        cache: Keys, values and whether they are seen, of every layer.
        queries: Queries of the layer that ran last.
    """

    at: Steps
    convention: Convention
    weights: Mapping[str, Tensor]
    sizes: Mapping[str, Any]
    cache: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    queries: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(
        self,
        embeddings: Tensor,
        positions: Tensor,
        prune_layer: int,
        keep: int,
        image_index: Tensor,
        attended: Tensor,
        kept: Tensor | None,
        continuation: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Returns what remains, and logits of what remains and of the continuation."""
        at = self.at
        hidden = at.value("embeddings", embeddings, TOKENS)
        places = at.value("positions", positions, ("tokens",))
        seen = at.value("attended", attended, ("tokens",))
        split = min(max(1, at.number("prune layer", prune_layer)), int(self.sizes["layers"]) - 1)
        for number in range(split):
            hidden = self.layer(number, hidden, places, seen)
        if kept is None:
            queries = at.value("scored queries", self.queries, HEADS)
            scores = at.value("scores", token_entropy(queries, self.convention), ("tokens",))
            images = at.value("image index", image_index, ("tokens",))
            budget = min(max(0, at.number("keep", keep)), int((images >= 0).sum()))
            chosen = kept_mask(scores[None], images[None], [budget])[0] & attended
            kept = torch.nonzero(at.value("remaining", chosen, ("tokens",))).flatten()
        kept = at.value("indices", kept, ("kept",))
        hidden = at.value("states that remain", hidden[kept], ("kept", "features"))
        left = at.value("positions that remain", places[kept], ("kept",))
        seen = at.value("what of it is seen", attended[kept], ("kept",))
        for number in range(split, int(self.sizes["layers"])):
            hidden = self.layer(number, hidden, left, seen)
        logits = [at.value("logits", self.logits(hidden), ("kept", "words"))]
        behind = at.number("next position", int(positions[attended].max()) + 1)
        one = torch.ones(1, dtype=torch.bool)
        for number, token in enumerate(() if continuation is None else continuation):
            hidden = token[None]
            for layer in range(int(self.sizes["layers"])):
                hidden = self.layer(layer, hidden, torch.tensor([behind + number]), one)
            logits.append(at.value("decoded logits", self.logits(hidden), ("one", "words")))
        return kept, torch.cat(logits)

    def layer(self, number: int, hidden: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        """One layer on the prompt, or on one token behind it: what is cached is seen too."""
        at, own = self.at, f"layers.{number}."
        heads, size = int(self.sizes["heads"]), int(self.sizes["head_dim"])
        normed = at.value("normed", self.norm(hidden, own + "input_layernorm"), TOKENS)
        queries, keys, values = (
            self.linear(normed, f"{own}self_attn.{kind}_proj").reshape(len(hidden), -1, size) for kind in "qkv"
        )
        queries = at.value("queries", self.rotated(queries, positions), HEADS)
        keys = at.value("keys", self.rotated(keys, positions), HEADS)
        values = at.value("values", values, HEADS)
        past = self.cache.get(number)
        decoding = past is not None
        if past is not None:
            keys, values, seen = (torch.cat(both) for both in zip(past, (keys, values, seen), strict=True))
        self.cache[number] = (
            at.value("cached keys", keys, HEADS),
            at.value("cached values", values, HEADS),
            at.value("cached marks", seen, ("tokens",)),
        )
        self.queries = self.queries if decoding else queries
        shared = torch.arange(heads) // at.number("queries of a key", heads // int(self.sizes["kv_heads"]))
        shared = at.value("key of a query", shared.clamp(max=keys.shape[1] - 1), ("heads",))
        scale = math.sqrt(at.number("head size of the scale", size))
        scores = torch.einsum("qhd,khd->hqk", queries, keys[:, shared]) / scale
        scores = at.value("attention scores", scores, ("heads", "tokens", "keys"))
        order = torch.arange(len(keys))
        first = len(keys) - len(queries)
        causal = order[None] <= at.value("causal limit", order[first:, None] + 0, ("tokens", "one"))
        visible = at.value("visible", (causal & seen) | (order[None] == order[first:, None]), ("tokens", "keys"))
        attention = scores.masked_fill(~visible, -torch.inf).softmax(-1)
        attention = at.value("attention", attention, ("heads", "tokens", "keys"))
        mixed = at.value("mixed", torch.einsum("hqk,khd->qhd", attention, values[:, shared]), HEADS)
        after = self.linear(mixed.flatten(1), own + "self_attn.o_proj")
        hidden = at.step("attention added", lambda hidden: hidden + after, hidden, TOKENS)

        def mlp(hidden: Tensor) -> Tensor:
            normed = at.value("normed for the MLP", self.norm(hidden, own + "post_attention_layernorm"), TOKENS)
            gate = at.value("gate", torch.nn.functional.silu(self.linear(normed, own + "mlp.gate_proj")), TOKENS)
            inner = at.value("inner", gate * self.linear(normed, own + "mlp.up_proj"), TOKENS)
            return hidden + self.linear(inner, own + "mlp.down_proj")

        return at.step("MLP added", mlp, hidden, TOKENS)

    def rotated(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Rotary embedding, the angles in float32 as in public checkpoints."""
        half = vectors.shape[-1] // 2
        powers = torch.arange(0, 2 * half, 2, dtype=torch.float32) / (2 * half)
        powers = self.at.value("rotary powers", powers, ("pairs",))
        angles = positions.float()[:, None] / float(self.sizes["rope_theta"]) ** powers
        angles = self.at.value("angles", angles, ("tokens", "pairs"))[:, None]
        cosine = self.at.value("cosines", angles.cos(), ("tokens", "one", "pairs")).to(vectors.dtype)
        sine = self.at.value("sines", angles.sin(), ("tokens", "one", "pairs")).to(vectors.dtype)
        one, other = vectors[..., :half], vectors[..., half:]
        return torch.cat([one * cosine - other * sine, other * cosine + one * sine], -1)

    def norm(self, hidden: Tensor, name: str) -> Tensor:
        """RMS norm."""
        squares = self.at.value("mean squares", hidden.square().mean(-1, keepdim=True), ("tokens", "one"))
        return self.weights[f"{name}.weight"] * hidden / (squares + self.sizes["norm_eps"]).sqrt()

    def linear(self, features: Tensor, name: str) -> Tensor:
        """A product with a weight."""
        return features @ self.weights[f"{name}.weight"].mT

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and head."""
        return self.linear(self.norm(hidden, "norm"), "lm_head")


def pruned_prefill(at: Steps, *arguments: Any, convention: Convention, **options: Any) -> tuple[Tensor, Tensor]:
    """A prefill, called as the contract says."""
    names = ("weights", "embeddings", "positions", "prune_layer", "keep")
    given = dict(zip(names, arguments, strict=False)) | {"kept": None, "continuation": None} | options
    return Prefill(at, convention, given.pop("weights"), given.pop("sizes")).run(**given)

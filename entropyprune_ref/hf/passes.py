"""One forward pass through the decoder: whole up to the prune layer, shortened from it on."""

from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import PrunePlan, gather_index
from entropyprune_ref.scorers.view import LayerView

from .families import Anatomy
from .masks import Past, require_entries, shortened_mask
from .refusals import rotation_of


@dataclass(frozen=True)
class Prefill:
    """What was kept of the last prompt: of the tokens that were read in that call.

    Rows are those that the model saw: in a beam search, every prompt is there once a beam.

    Attributes:
        kept: `(batch, sequence)`, bool: which tokens run on from the prune layer; padding counts as kept.
        scores: `(batch, sequence)`, float64, what the scorer gave; zero outside images.
        image_index: `(batch, sequence)`, int64: the image that a token belongs to, counted in its row; -1 for text.
        plan: For every row, where it was pruned and how many visual tokens it keeps (0 of 0 without an image).
        index: `(batch, length)`, int64: the place in the prompt of every token that has logits, -1 for filler. Rows are
            aligned at the right end.
        input_ids: `(batch, sequence)`, int64: the prompt.
        attended: `(batch, sequence)`, bool: False for padding.
        positions: Rotary positions as the model made them: `(batch or 1, sequence)`, or `(3, batch, sequence)` for
            time, height and width; `None` without an image.
        view: What the scorer saw, if it was asked for and there was an image.
    """

    kept: Bool[Tensor, "batch sequence"]
    scores: Float64[Tensor, "batch sequence"]
    image_index: Int[Tensor, "batch sequence"]
    plan: list[PrunePlan]
    index: Int[Tensor, "batch length"]
    input_ids: Int[Tensor, "batch sequence"]
    attended: Bool[Tensor, "batch sequence"]
    positions: Tensor | None = None
    view: LayerView | None = None


def whole_prefill(
    ids: Int[Tensor, "batch sequence"], attended: Bool[Tensor, "batch sequence"], plan: list[PrunePlan]
) -> Prefill:
    """What is kept of prompts without any image: everything."""
    return Prefill(
        kept=torch.ones_like(attended),
        scores=torch.zeros(ids.shape, dtype=torch.float64, device=ids.device),
        image_index=torch.full_like(ids, -1),
        plan=plan,
        index=torch.arange(ids.shape[1], device=ids.device).expand_as(ids),
        input_ids=ids,
        attended=attended,
    )


@dataclass
class Pass:
    """One call of the model in a `pruned` block.

    Attributes:
        layer: The prune layer.
        before: How many tokens of the unpruned sequence were read in earlier calls on the same cache.
        attended: `(batch, before + sequence)`: which tokens are no padding.
        input_ids: `(batch, sequence)`.
        image_index: `(batch, sequence)`, if there is an image to prune; `None` if the pass follows a pruned one.
        plan: The plan of every row, if there is an image.
        positions: Rotary positions that the decoder got.
        rotary: Cosine and sine that layer `layer - 1` got.
        queries: `(batch, heads, sequence, head_dim)`, of layer `layer - 1`, before rotary embedding.
        keys: The same of its keys.
        whole: Whether the layers from `layer` on are to run as if nothing had been pruned, now or before.
        index: `(batch, length)`: the places of what is left, if this pass was pruned.
        mask: The attention mask of the layers from `layer` on.
    """

    layer: int
    before: int
    attended: Bool[Tensor, "batch tokens"]
    input_ids: Tensor | None
    image_index: Tensor | None = None
    plan: list[PrunePlan] = field(default_factory=list)
    positions: Tensor | None = None
    rotary: tuple[Tensor, Tensor] | None = None
    queries: Tensor | None = None
    keys: Tensor | None = None
    whole: bool = True
    index: Tensor | None = None
    mask: Any = None


class Passes:
    """What happens at the decoder layers of a pruned model, one pass after the other.

    Args:
        parts: The model.
        pruner: Where, how many and by which score.
        keep_view: Whether to keep what the scorer saw.
    """

    def __init__(self, parts: Anatomy, pruner: EntropyPrune, keep_view: bool) -> None:
        self.parts, self.pruner, self.keep_view = parts, pruner, keep_view
        self.past: WeakKeyDictionary[Any, Past] = WeakKeyDictionary()
        self.current: Pass | None = None
        self.last: Prefill | None = None

    def at_projection(self, layer: int, name: str, output: Tensor) -> None:
        """Takes queries or keys on their way from the projection (and its norm) of the layer before the prune layer."""
        now = self.current
        if now is not None and now.image_index is not None and layer == now.layer - 1:
            head_dim = self.parts.attention(layer).head_dim
            heads = output.unflatten(-1, (-1, head_dim)) if output.ndim == 3 else output
            setattr(now, name, heads.transpose(1, 2))

    def at_layer(self, layer: int, hidden: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]] | None:
        """Returns what decoder layer `layer` is to read in place of `hidden` and `inputs`, or `None` for no change."""
        now = self.current
        if now is None or layer < now.layer - 1:
            return None
        if layer == now.layer - 1:
            now.rotary = inputs["position_embeddings"]
            return None
        if layer == now.layer:
            hidden = self._enter(now, hidden, inputs.get("past_key_values"))
        if now.whole:
            return None
        rotary = tuple(_gathered(part, now.index) for part in inputs["position_embeddings"])
        return hidden, {**inputs, "attention_mask": now.mask, "position_embeddings": rotary, "position_ids": None}

    def _enter(self, now: Pass, hidden: Tensor, cache: Any) -> Tensor:
        """Chooses, shortens, makes the mask that holds from the prune layer on; returns what is left of `hidden`."""
        past = self.past.get(cache) if cache is not None and now.before else None
        new = now.attended[:, now.before :]
        if now.image_index is not None:
            kept = self._choose(now, hidden, new)
            if past is None and bool(kept.all()):
                return hidden
            # padding goes too: else a short row beside a long one would keep the batch as long as it was
            now.index, new = gather_index(kept & new)
            hidden = _gathered(hidden, now.index)
            assert self.last is not None
            self.last = replace(self.last, index=now.index.masked_fill(~new, -1))
        earlier = now.attended[:, : now.before]
        if past is not None:
            earlier = torch.cat([past.attended, earlier[:, past.tokens :]], dim=1)
        attended = torch.cat([earlier, new], dim=1)
        if cache is not None:
            require_entries(cache, now.layer, earlier.shape[1])
            if now.index is not None:
                self.past[cache] = Past(now.layer, attended, now.attended.shape[1])
        now.mask = shortened_mask(self.parts.decoder, hidden, attended, cache, now.layer)
        now.whole = False
        return hidden

    def _choose(self, now: Pass, hidden: Tensor, attended: Tensor) -> Bool[Tensor, "batch sequence"]:
        """Scores and selects; remembers both."""
        assert now.image_index is not None and now.input_ids is not None
        assert now.rotary is not None and now.queries is not None
        rotate = rotation_of(self.parts.attention(now.layer - 1))
        queries, keys = rotate(now.queries, now.keys, *(part.to(now.queries.device) for part in now.rotary))
        view = LayerView(hidden, queries, keys, now.image_index, attended, unrotated=now.queries)
        scores = self.pruner.scores(view)
        kept = self.pruner.select(scores, view, [plan.keep for plan in now.plan])
        self.last = replace(
            whole_prefill(now.input_ids, attended, now.plan),
            kept=kept,
            scores=scores.detach().to(torch.float64),
            image_index=now.image_index,
            positions=now.positions,
            view=view if self.keep_view else None,
        )
        now.queries = now.keys = None
        return kept


def _gathered(values: Tensor, index: Tensor | None) -> Tensor:
    """`values[b, index[b, t]]` for `(batch or 1, sequence, dims)`; all of them without an index."""
    if index is None:
        return values
    places = index.to(values.device)[..., None].expand(-1, -1, values.shape[-1])
    return values.expand(len(index), -1, -1).gather(1, places)

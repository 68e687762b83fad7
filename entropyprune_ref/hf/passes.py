"""One forward pass through the decoder: whole up to the prune layer, shortened from it on."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import PrunePlan, gather_index
from entropyprune_ref.scorers.view import LayerView

from .families import Anatomy
from .masks import Past, shortened_mask
from .refusals import rotation_of


@dataclass(frozen=True)
class Prefill:
    """What was kept of the last prompt.

    Attributes:
        kept: `(batch, sequence)`, bool: which tokens run from the prune layer on; text and padding do.
        scores: `(batch, sequence)`, float64, what the scorer gave; zero outside images.
        image_index: `(batch, sequence)`, int64: the image that a token belongs to, counted in its row; -1 for text.
        plan: For every row, where it was pruned and how many visual tokens it keeps (0 of 0 without an image).
        input_ids: `(batch, sequence)`, int64: the prompt.
        attended: `(batch, sequence)`, bool: False for padding.
        positions: Rotary positions as the model made them: `(batch or 1, sequence)`, or `(3, batch, sequence)` for
            time, height and width.
        view: What the scorer saw, if it was asked for and there was an image.
    """

    kept: Bool[Tensor, "batch sequence"]
    scores: Float64[Tensor, "batch sequence"]
    image_index: Int[Tensor, "batch sequence"]
    plan: list[PrunePlan]
    input_ids: Int[Tensor, "batch sequence"]
    attended: Bool[Tensor, "batch sequence"]
    positions: Tensor | None = None
    view: LayerView | None = None


@dataclass
class Pass:
    """One call of the model in a `pruned` block, with what is known of it before the decoder runs.

    Attributes:
        layer: The prune layer.
        before: How many tokens the cache holds of the unpruned sequence.
        attended: `(batch, before + sequence)`: which tokens are no padding.
        input_ids: `(batch, sequence)`.
        image_index: `(batch, sequence)`, if there is an image to prune; else the pass follows a pruned one.
        plan: With an image: the plan of every row.
    """

    layer: int
    before: int
    attended: Bool[Tensor, "batch tokens"]
    input_ids: Tensor | None
    image_index: Tensor | None = None
    plan: list[PrunePlan] = field(default_factory=list)
    positions: Tensor | None = None
    queries: Tensor | None = None
    keys: Tensor | None = None
    rotary: tuple[Tensor, Tensor] | None = None
    whole: bool = True
    mask: Any = None
    index: Tensor | None = None


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
            hidden = self._enter(now, hidden, inputs)
        if now.whole:
            return None
        rotary = tuple(_gathered(part, now.index) for part in inputs["position_embeddings"])
        return hidden, {**inputs, "attention_mask": now.mask, "position_embeddings": rotary, "position_ids": None}

    def _enter(self, now: Pass, hidden: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Chooses, shortens, and makes the mask that holds from the prune layer on."""
        cache = inputs.get("past_key_values")
        past = self.past.get(cache) if cache is not None and now.before else None
        new = now.attended[:, now.before :]
        if now.image_index is not None:
            kept = self._choose(now, hidden, new)
            if bool(kept.all()) and past is None:
                return hidden
            now.index, real = gather_index(kept)
            new = new.gather(1, now.index) & real
            hidden = _gathered(hidden, now.index)
        seen = now.attended[:, : now.before]
        if past is not None:
            seen = torch.cat([past.attended, now.attended[:, past.tokens : now.before]], dim=1)
        attended = torch.cat([seen, new], dim=1)
        held = attended.shape[1] - hidden.shape[1]
        if cache is not None and int(cache.get_seq_length(now.layer)) != held:
            raise ValueError(
                f"past_key_values must hold {held} entries in layer {now.layer}, where it was pruned, got "
                f"{int(cache.get_seq_length(now.layer))}: a cache must not be cut or copied in between"
            )
        if cache is not None and now.index is not None:
            self.past[cache] = Past(now.layer, attended, now.attended.shape[1])
        now.mask = shortened_mask(self.parts.decoder, hidden, attended, cache, now.layer)
        now.whole = False
        return hidden

    def _choose(self, now: Pass, hidden: Tensor, attended: Tensor) -> Bool[Tensor, "batch sequence"]:
        """Scores and selects; remembers both."""
        assert now.image_index is not None and now.rotary is not None and now.queries is not None
        rotate = rotation_of(self.parts.attention(now.layer - 1))
        queries, keys = rotate(now.queries, now.keys, *(part.to(now.queries.device) for part in now.rotary))
        view = LayerView(hidden, queries, keys, now.image_index, attended, unrotated=now.queries)
        scores = self.pruner.scores(view)
        kept = self.pruner.select(scores, view, [plan.keep for plan in now.plan])
        assert now.input_ids is not None
        self.last = Prefill(
            kept=kept,
            scores=scores.detach().to(torch.float64),
            image_index=now.image_index,
            plan=now.plan,
            input_ids=now.input_ids,
            attended=attended,
            positions=now.positions,
            view=view if self.keep_view else None,
        )
        now.queries = now.keys = None
        return kept


def _gathered(values: Tensor, index: Tensor | None) -> Tensor:
    """`values[b, index[b, t]]` for `(batch or 1, sequence, dims)`; all of them without an index."""
    if index is None:
        return values
    return values.expand(len(index), -1, -1).gather(
        1, index.to(values.device)[..., None].expand(-1, -1, values.shape[-1])
    )

"""Wrong pruned prefills: what is scored, what remains, positions, masks, caches, the decoder itself.

Each is `PrunedPrefill` with one step replaced.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...pruning import kept_mask, split_keep
from ...scoring import PAPER, RELEASED, ROW_NORMALIZED, Convention, token_entropy
from ..plain.decoder import causal, decoder_layer, final_logits
from ..plain.prefill import PrunedPrefill
from .catalogue import mutant


def _wrong(name: str, convention: Convention = PAPER, **steps: Callable[..., Any]) -> None:
    """Enters a prefill in the catalogue that takes some of its steps otherwise."""
    kind = type(name, (PrunedPrefill,), {"convention": convention} | steps)

    def pruned_prefill(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = kind(*arguments, **options).run()
        return result

    mutant("pruned_prefill", name, convention)(pruned_prefill)


def _places(chosen: Tensor) -> Tensor:
    return torch.nonzero(chosen).flatten()


def _remaining(steps: PrunedPrefill, visual: Tensor) -> Tensor:
    """All words, and the visual tokens given, ascending."""
    words = _places(steps.attended & (steps.image_index < 0))
    return torch.cat([words, visual]).sort().values


def _entries(steps: PrunedPrefill, number: int) -> int:
    return len(steps.cache[number][0])


# what is scored

_wrong("pruned one layer early", prune_at=lambda self: max(1, self.prune_layer - 1))
_wrong("pruned one layer late", prune_at=lambda self: self.prune_layer + 1)
_wrong("queries of the first layer", scored_queries=lambda self, hidden: self.queries[0])
_wrong(
    "queries of the prune layer",
    scored_queries=lambda self, hidden: (
        decoder_layer(self.weights, self.prune_layer, hidden, self.positions, causal(self.attended), self.sizes).queries
    ),
)
_wrong("keys scored in place of queries", scored_queries=lambda self, hidden: self.cache[self.prune_layer - 1][0])
_wrong(
    "one query head of each group scored",
    scored_queries=lambda self, hidden: self.queries[self.prune_layer - 1][
        :, :: self.sizes["heads"] // self.sizes["kv_heads"]
    ],
)
_wrong("scored by the norm of the hidden state", scores=lambda self, hidden: hidden.norm(dim=-1))
_wrong("released passed off as paper", scores=lambda self, hidden: token_entropy(self.scored_queries(hidden), RELEASED))
_wrong(
    "row-normalised passed off as paper",
    scores=lambda self, hidden: token_entropy(self.scored_queries(hidden), ROW_NORMALIZED),
)
_wrong(
    "paper passed off as released",
    RELEASED,
    scores=lambda self, hidden: token_entropy(self.scored_queries(hidden), PAPER),
)
_wrong("keeps the lowest", scores=lambda self, hidden: -token_entropy(self.scored_queries(hidden)))

# what remains


def _one_more(self: PrunedPrefill, scores: Tensor) -> Tensor:
    self.keep = min(self.keep + 1, int((self.image_index >= 0).sum()))
    return PrunedPrefill.select(self, scores)


def _never_all(self: PrunedPrefill, scores: Tensor) -> Tensor:
    self.keep = min(self.keep, int((self.image_index >= 0).sum()) - 1)
    return PrunedPrefill.select(self, scores)


def _among_all(self: PrunedPrefill, scores: Tensor) -> Tensor:
    places = _places(self.attended)
    count = self.keep + int((self.attended & (self.image_index < 0)).sum())
    return places[scores[places].topk(count).indices].sort().values


def _first_image_only(self: PrunedPrefill, scores: Tensor) -> Tensor:
    """The budget is cut down to the first image, and later images stay whole."""
    first = _places(self.image_index == 0)
    best = first[scores[first].topk(min(self.keep, len(first))).indices]
    return _remaining(self, torch.cat([best, _places(self.image_index > 0)]))


def _share_by_share(self: PrunedPrefill, scores: Tensor, shares: list[int]) -> Tensor:
    images = [_places(self.image_index == number) for number in range(len(shares))]
    parts = zip(images, shares, strict=True)
    return _remaining(self, torch.cat([places[scores[places].topk(share).indices] for places, share in parts]))


def _earlier_images_first(self: PrunedPrefill, scores: Tensor) -> Tensor:
    counts, left, shares = torch.bincount(self.image_index[self.image_index >= 0]).tolist(), self.keep, []
    for count in counts:
        shares.append(min(count, left))
        left -= shares[-1]
    return _share_by_share(self, scores, shares)


def _remainder_last(self: PrunedPrefill, scores: Tensor) -> Tensor:
    counts = torch.bincount(self.image_index[self.image_index >= 0]).tolist()
    return _share_by_share(self, scores, split_keep(self.keep, counts[::-1])[::-1])


def _by_score(self: PrunedPrefill, scores: Tensor) -> Tensor:
    kept = PrunedPrefill.select(self, scores)
    visual = self.image_index[kept] >= 0
    return torch.cat([kept[~visual], kept[visual][scores[kept[visual]].argsort(descending=True)]])


def _counted_from(self: PrunedPrefill) -> tuple[Tensor, Tensor]:
    kept, logits = PrunedPrefill.run(self)
    return torch.arange(len(kept)), logits


_wrong("one token too many", select=_one_more)
_wrong("all but one taken for all", select=_never_all)
_wrong("words compete with visual tokens", select=_among_all)
_wrong("second image ignored: kept whole", select=_first_image_only)
_wrong("second image ignored: budget spent on the first", select=_earlier_images_first)
_wrong("budget left over given to the last image", select=_remainder_last)
_wrong(
    "images compete for the budget",
    select=lambda self, scores: _places(
        kept_mask(scores[None], self.image_index[None], [self.keep], over_images="all")[0] & self.attended
    ),
)
_wrong(
    "a budget of none taken for no budget",
    select=lambda self, scores: _places(self.attended) if self.keep == 0 else PrunedPrefill.select(self, scores),
)
_wrong(
    "padding remains",
    select=lambda self, scores: _places(kept_mask(scores[None], self.image_index[None], [self.keep])[0]),
)
_wrong("remaining indices by score", select=_by_score)
_wrong("remaining indices renumbered", run=_counted_from)

# positions

_wrong("positions renumbered after pruning", pruned_positions=lambda self, kept: torch.arange(len(kept)))
_wrong("positions of the first tokens after pruning", pruned_positions=lambda self, kept: self.positions[: len(kept)])
_wrong("decoding from position T + k", next_position=lambda self, kept: len(kept))
_wrong("decoding from the length of the prompt", next_position=lambda self, kept: len(self.positions))
_wrong("decoding from the last position", next_position=lambda self, kept: int(self.positions[self.attended].max()))

# masks


def _padding_attended(
    self: PrunedPrefill, number: int, hidden: Tensor, positions: Tensor, visible: Tensor, seen: Tensor
) -> Tensor:
    everything = causal(torch.ones_like(seen))
    return PrunedPrefill.prompt_layer(self, number, hidden, positions, everything, seen)


def _padding_attended_later(self: PrunedPrefill, kept: Tensor) -> None:
    self.seen = {number: torch.ones_like(seen) for number, seen in self.seen.items()}


def _zeroed(self: PrunedPrefill, hidden: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    remains = torch.zeros_like(self.attended).index_fill(0, kept, True)
    return hidden * remains[:, None], self.positions, self.attended


_wrong(
    "stale mask: that of the prompt, cut to length",
    pruned_mask=lambda self, kept: causal(self.attended)[: len(kept), : len(kept)],
)
_wrong(
    "no causal mask after pruning",
    pruned_mask=lambda self, kept: torch.ones(len(kept), len(kept), dtype=torch.bool),
)
_wrong("padding attended in prefill", prompt_layer=_padding_attended)
_wrong("padding attended in decoding", before_decoding=_padding_attended_later)
_wrong(
    "dropped tokens zeroed in place of removed",
    shortened=_zeroed,
    pruned_mask=lambda self, kept: causal(self.attended),
    prompt_logits=lambda self, hidden, kept: final_logits(self.weights, hidden[kept], self.sizes),
)

# caches


def _last_twice(self: PrunedPrefill, kept: Tensor) -> None:
    for number, (keys, values) in self.cache.items():
        self.store(number, keys[-1:], values[-1:])


def _layer_twice(self: PrunedPrefill, kept: Tensor) -> None:
    entries = torch.arange(_entries(self, self.prune_layer - 1))
    self.leave([self.prune_layer - 1], torch.cat([entries, entries]))


def _step_twice(self: PrunedPrefill, number: int, keys: Tensor, values: Tensor) -> None:
    for _ in range(2):
        PrunedPrefill.store(self, number, keys, values)


def _pruned_again(self: PrunedPrefill, hidden: Tensor, position: int) -> Tensor:
    """Every step drops one more of the entries behind the words that come first."""
    for number in range(self.prune_layer, self.layers):
        entries = torch.arange(_entries(self, number))
        first = min(int(_places(self.image_index >= 0)[0]), len(entries) - 1)
        self.leave([number], entries[entries != first])
    return PrunedPrefill.step(self, hidden, position)


_wrong("last token of the prompt cached twice", before_decoding=_last_twice)
_wrong("cache of the layer before the prune layer doubled", before_decoding=_layer_twice)
_wrong("decoded tokens cached twice", store=_step_twice)
_wrong("decoded tokens not cached", store=lambda self, number, keys, values: None)
_wrong("pruned again while decoding", step=_pruned_again)
_wrong(
    "caches before the prune layer shortened too",
    before_decoding=lambda self, kept: self.leave(range(self.prune_layer), kept),
)

# the decoder, and what it is given


def _with_sizes(**sizes: float) -> Callable[..., None]:
    def set_up(self: PrunedPrefill, *arguments: Any, **options: Any) -> None:
        options["sizes"] = options["sizes"] | sizes
        PrunedPrefill.__init__(self, *arguments, **options)

    return set_up


def _interleaved(self: PrunedPrefill, weights: dict[str, Tensor], *arguments: Any, **options: Any) -> None:
    """Query head i looks at key/value head i modulo their number."""
    sizes = options["sizes"]
    heads = torch.arange(sizes["heads"]) % sizes["kv_heads"]
    rows = (heads[:, None] * sizes["head_dim"] + torch.arange(sizes["head_dim"])).flatten()
    spread = {name: weight[rows] for name, weight in weights.items() if "k_proj" in name or "v_proj" in name}
    options["sizes"] = sizes | {"kv_heads": sizes["heads"]}
    PrunedPrefill.__init__(self, weights | spread, *arguments, **options)


def _deaf(self: PrunedPrefill, *arguments: Any, **options: Any) -> None:
    PrunedPrefill.__init__(self, *arguments, **options | {"kept": None})


_wrong("key/value heads interleaved", __init__=_interleaved)
_wrong("rotary base taken for granted", __init__=_with_sizes(rope_theta=10000.0))
_wrong("norm epsilon taken for granted", __init__=_with_sizes(norm_eps=1e-5))
_wrong("given selection not minded", __init__=_deaf)

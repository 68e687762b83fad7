"""A pruned prefill with a key/value cache, one method for each step: what known-wrong prefills override."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ...pruning import kept_mask
from ...scoring import PAPER, Convention, token_entropy
from .decoder import Sizes, Weights, causal, decoder_layer, final_logits


class PrunedPrefill:
    """One prefill of one prompt, and the decoding behind it (section 5); the arguments are those of the contract.

    Attributes:
        queries: Queries of every layer that has run on the prompt, after rotary embedding.
        cache: Keys and values of every layer.
        seen: False for the padding among the cached tokens of every layer.
    """

    convention: Convention = PAPER

    def __init__(
        self,
        weights: Weights,
        embeddings: Tensor,
        positions: Tensor,
        prune_layer: int,
        keep: int,
        *,
        image_index: Tensor,
        attended: Tensor,
        sizes: Sizes,
        kept: Tensor | None = None,
        continuation: Tensor | None = None,
    ) -> None:
        self.weights, self.embeddings, self.positions, self.sizes = weights, embeddings, positions, sizes
        self.prune_layer, self.keep, self.layers = prune_layer, keep, int(sizes["layers"])
        self.image_index, self.attended, self.given, self.continuation = image_index, attended, kept, continuation
        self.queries: dict[int, Tensor] = {}
        self.cache: dict[int, tuple[Tensor, Tensor]] = {}
        self.seen: dict[int, Tensor] = {}

    def run(self) -> tuple[Tensor, Tensor]:
        """Returns what remains, and logits of what remains and of the continuation."""
        hidden, split = self.embeddings, self.prune_at()
        for number in range(split):
            hidden = self.prompt_layer(number, hidden, self.positions, causal(self.attended), self.attended)
        kept = self.select(self.scores(hidden)) if self.given is None else self.given
        hidden, positions, seen = self.shortened(hidden, kept)
        visible = self.pruned_mask(kept)
        for number in range(split, self.layers):
            hidden = self.prompt_layer(number, hidden, positions, visible, seen)
        logits = [self.prompt_logits(hidden, kept)]
        self.before_decoding(kept)
        for number, token in enumerate(() if self.continuation is None else self.continuation):
            logits.append(self.step(token[None], self.next_position(kept) + number))
        return kept, torch.cat(logits)

    def prune_at(self) -> int:
        """The first layer that runs pruned."""
        return self.prune_layer

    def scored_queries(self, hidden: Tensor) -> Tensor:
        """The queries that are scored."""
        return self.queries[self.prune_at() - 1]

    def scores(self, hidden: Tensor) -> Tensor:
        """One score for every token of the prompt."""
        return token_entropy(self.scored_queries(hidden), self.convention)

    def select(self, scores: Tensor) -> Tensor:
        """What remains, as ascending indices."""
        kept = kept_mask(scores[None], self.image_index[None], [self.keep])[0]
        return torch.nonzero(kept & self.attended).flatten()

    def shortened(self, hidden: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States and positions of what remains, and what of it is not padding."""
        return hidden[kept], self.pruned_positions(kept), self.attended[kept]

    def pruned_positions(self, kept: Tensor) -> Tensor:
        """Rotary positions of what remains."""
        return self.positions[kept]

    def pruned_mask(self, kept: Tensor) -> Tensor:
        """Which of the tokens that remain each of them may look at."""
        return causal(self.attended[kept])

    def prompt_logits(self, hidden: Tensor, kept: Tensor) -> Tensor:
        """Logits of what remains."""
        return final_logits(self.weights, hidden, self.sizes)

    def before_decoding(self, kept: Tensor) -> None:
        """Something that happens between prefill and decoding: nothing."""

    def next_position(self, kept: Tensor) -> int:
        """Position of the first token behind the prompt."""
        return int(self.positions[self.attended].max()) + 1

    def prompt_layer(self, number: int, hidden: Tensor, positions: Tensor, visible: Tensor, seen: Tensor) -> Tensor:
        """Runs a layer on the prompt or what remains of it, and fills its cache."""
        mixed = decoder_layer(self.weights, number, hidden, positions, visible, self.sizes)
        self.queries[number], self.cache[number], self.seen[number] = mixed.queries, (mixed.keys, mixed.values), seen
        return mixed.hidden

    def step(self, hidden: Tensor, position: int) -> Tensor:
        """Decodes one token with the cache."""
        for number in range(self.layers):
            visible = torch.cat([self.seen[number], torch.ones(1, dtype=torch.bool)])[None]
            past, here = self.cache[number], torch.tensor([position])
            mixed = decoder_layer(self.weights, number, hidden, here, visible, self.sizes, past=past)
            self.store(number, mixed.keys, mixed.values)
            hidden = mixed.hidden
        return final_logits(self.weights, hidden, self.sizes)

    def store(self, number: int, keys: Tensor, values: Tensor) -> None:
        """Adds entries to the cache of a layer."""
        self.cache[number] = torch.cat([self.cache[number][0], keys]), torch.cat([self.cache[number][1], values])
        self.seen[number] = torch.cat([self.seen[number], torch.ones(len(keys), dtype=torch.bool)])

    def leave(self, numbers: Iterable[int], entries: Tensor) -> None:
        """Shortens the caches of some layers to the entries given."""
        for number in numbers:
            self.cache[number] = self.cache[number][0][entries], self.cache[number][1][entries]
            self.seen[number] = self.seen[number][entries]


def pruned_prefill(*arguments: Any, convention: Convention = PAPER, **options: Any) -> tuple[Tensor, Tensor]:
    """The steps as they are: a correct candidate for the contract of the same name.

    Args:
        *arguments: As the contract says.
        convention: Formula of token entropy.
        **options: As the contract says.

    Returns:
        Indices of what remains, and logits.
    """
    steps = PrunedPrefill(*arguments, **options)
    steps.convention = convention
    return steps.run()

"""Steps of the method one after the other, which only the vectors are about: no laws of their own."""

from collections.abc import Callable

from torch import Tensor

from ...pruning import select_tokens
from ..plain.bookkeeping import kept_positions
from .contract import Contract, Named
from .entropies import scores_of


def _choice(convention: str | None) -> Callable[[Tensor, int], Tensor]:
    """Token entropy in a convention, and the selection after it."""
    score = scores_of(convention)
    return lambda queries, keep: select_tokens(score(queries), keep)


TOKEN_SELECTION = Contract(
    "token_selection",
    "token_selection(queries, keep): (tokens, heads, head_dim), int -> (keep,), integer positions, ascending",
    Named(
        "Token entropy and selection one after the other: the tokens of the highest entropies (Eqs. 3.1 to 3.3, 5.2).",
        {
            "queries": "(tokens, heads, head_dim), float64",
            "keep": "how many",
        },
        {"kept": "(keep,), strictly ascending positions"},
        lambda ask, given: {"kept": ask(given["queries"], given["keep"])},
        _choice,
    ),
)

KEPT_POSITIONS = Contract(
    "kept_positions",
    "kept_positions(*, image_index, attended, scores, keep, over_images, layers, prune_layer) -> "
    "{places, positions, cache_lengths, next_position}",
    Named(
        "What pruning leaves of one prompt: places, rotary positions, cache lengths, and where decoding goes on.",
        {
            "image_index": "(sequence,), the number of the image that a token belongs to, -1 for text and padding",
            "attended": "(sequence,), 0 for padding, else 1",
            "scores": "(sequence,), float64; read at visual tokens only",
            "keep": "visual tokens to keep, over all images",
            "over_images": "'each': images keep in proportion, by largest remainder (Eq. 5.4); 'all': they compete",
            "layers": "L, decoder layers",
            "prune_layer": "K, the first layer that runs pruned",
        },
        {
            "places": "(left,), ascending places in the sequence of the tokens that are left, padding not counted",
            "positions": "(left,), their rotary positions: those that they had before pruning",
            "cache_lengths": "(layers,), entries that each layer's cache holds after prefill, padding not counted",
            "next_position": "(), the rotary position of the first token that is decoded",
        },
        lambda ask, given: ask(**given),
        lambda _: kept_positions,
    ),
)

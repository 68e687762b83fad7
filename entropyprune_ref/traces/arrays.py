"""What a trace holds: every array, in the order in which an engine computes it."""

from dataclasses import dataclass

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class Array:
    """One array of a trace.

    Attributes:
        shape: Its axes, in words; positions of models with three rotary axes have a leading axis 3.
        integer: Whether it holds integers, which are compared exactly, or floating-point numbers.
        meaning: What it is.
    """

    shape: str
    integer: bool
    meaning: str


ARRAYS = {
    "input_ids": Array("(tokens,)", True, "the prompt, one placeholder for every visual token"),
    "image_index": Array("(tokens,)", True, "number of the image that a token belongs to, -1 for text"),
    "positions": Array("(tokens,) or (3, tokens)", True, "rotary position of every token, before pruning"),
    "queries": Array(
        "(visual tokens, heads, head_dim)",
        False,
        "queries of the visual tokens in the layer before the prune layer; before rotary embedding here, but the score "
        "is the same after it, and so is what is compared: the products of all pairs of heads of a token",
    ),
    "scores": Array("(visual tokens,)", False, "token entropy of every visual token"),
    "kept": Array("(keep,)", True, "places in input_ids of the visual tokens that are kept, ascending"),
    "left_positions": Array(
        "(left,) or (3, left)", True, "rotary position of every token left, text and kept, from the prune layer on"
    ),
    "cache_lengths": Array("(layers,)", True, "cache entries of every layer behind the prefill"),
    "decode_positions": Array(
        "(steps - 1,) or (3, steps - 1)", True, "rotary position of each token of the answer that is fed back"
    ),
    "tokens": Array("(steps,)", True, "the greedy answer"),
    "logits": Array(
        "(steps, vocabulary)", False, "logits that each token of the answer was chosen from, the earlier ones fed back"
    ),
}
"""By name."""

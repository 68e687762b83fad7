"""Tokens to keep and FLOPs in steps (sections 5 and 6): numbers and comparisons only."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .steps import Steps


def tokens_to_keep(at: Steps, average: Any, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    """Eq. 5.1 in exact arithmetic: an average is the decimal that it is written as."""
    wanted = at.number("average", Fraction(Decimal(repr(average))) if isinstance(average, float) else Fraction(average))
    visual, depth = at.number("visual tokens", visual_tokens), at.number("layers", layers)
    before = at.number("prune layer", prune_layer)
    for name, one, other in (
        ("visual tokens above none", visual, 0),
        ("prune layer above none", before, 0),
        ("layers above the prune layer", depth, before),
    ):
        if not at.above(name, one, other):
            raise ValueError("impossible numbers")
    if at.above("average above the tokens", wanted, visual) or at.above("none above the average", 0, wanted):
        raise ValueError("impossible average")
    total = at.number("in all layers", depth * wanted)
    spent = at.number("spent before", before * visual)
    if at.above("spent above what there is", spent, total):
        raise ValueError("infeasible average")
    spare = at.number("left over", total - spent)
    after = at.number("layers behind", depth - before)
    return int(at.number("kept", math.floor(at.number("quotient", Fraction(spare) / after))))


def prefill_flops(
    at: Steps,
    *,
    text_tokens: int,
    visual_tokens: int,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    mlp: int,
    mlp_matrices: int,
    prune_layer: int | None = None,
    keep: int | None = None,
) -> int:
    """Eqs. 6.1 to 6.3."""
    given = {
        name: at.number(name, value)
        for name, value in (
            ("text tokens", text_tokens),
            ("visual tokens", visual_tokens),
            ("layers", layers),
            ("hidden size", hidden),
            ("heads", heads),
            ("key/value heads", kv_heads),
            ("head size", head_dim),
            ("inner size", mlp),
            ("matrices of the MLP", mlp_matrices),
        )
    }

    def layer(tokens: int) -> int:
        width = at.number("query width", given["heads"] * given["head size"])
        narrow = at.number("key width", given["key/value heads"] * given["head size"])
        size = given["hidden size"]
        queries = at.number("query projection", 2 * tokens * size * width)
        keys = at.number("key projection", 2 * tokens * size * narrow)
        values = at.number("value projection", 2 * tokens * size * narrow)
        pairs = at.number("pairs of tokens", tokens * tokens)
        scores = at.number("attention scores", 2 * pairs * width)
        mixed = at.number("attention output", 2 * pairs * width)
        output = at.number("output projection", 2 * tokens * width * size)
        inner = at.number("MLP", 2 * tokens * size * given["inner size"] * given["matrices of the MLP"])
        return int(at.number("layer", queries + keys + values + scores + mixed + output + inner))

    prompt = at.number("tokens of the prompt", given["text tokens"] + given["visual tokens"])
    if keep is None or prune_layer is None:
        return int(at.number("total", given["layers"] * layer(prompt)))
    before = at.number("layers before", prune_layer)
    left = at.number("tokens that remain", given["text tokens"] + at.number("keep", keep))
    first = at.number("total before", before * layer(prompt))
    return int(at.number("total", first + at.number("layers behind", given["layers"] - before) * layer(left)))

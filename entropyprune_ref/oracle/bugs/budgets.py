"""Wrong numbers of tokens to keep."""

import math
from fractions import Fraction

import numpy as np

from ...pruning import tokens_to_keep
from .catalogue import mutant


def _quotient(average: int | float, visual_tokens: int, layers: int, prune_layer: int) -> float:
    tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)  # refuses
    return (layers * average - prune_layer * visual_tokens) / (layers - prune_layer)


mutant("tokens_to_keep", "rounded in place of truncated")(lambda average, **sizes: round(_quotient(average, **sizes)))
mutant("tokens_to_keep", "rounded up")(lambda average, **sizes: math.ceil(_quotient(average, **sizes) - 1e-9))
mutant("tokens_to_keep", "average taken for the number kept")(
    lambda average, **sizes: min(int(average), max(0, math.floor(_quotient(average, **sizes)) + int(average)))
)
mutant("tokens_to_keep", "average over the pruned layers only")(
    lambda average, visual_tokens, layers, prune_layer: math.floor(
        average + 0 * _quotient(average, visual_tokens, layers, prune_layer)
    )
)
mutant("tokens_to_keep", "quotient in float64")(lambda average, **sizes: int(_quotient(average, **sizes)))
mutant("tokens_to_keep", "average read as a binary fraction")(
    lambda average, **sizes: tokens_to_keep(Fraction(average), **sizes)
)
mutant("tokens_to_keep", "result as a float")(lambda average, **sizes: float(tokens_to_keep(average, **sizes)))


@mutant("tokens_to_keep", "infeasible average clipped silently")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    if not (0 < prune_layer < layers and 0 <= average <= visual_tokens and visual_tokens):
        raise ValueError("impossible numbers")
    try:
        return tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)
    except ValueError:
        return 0


@mutant("tokens_to_keep", "negative number returned")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    if not (0 < prune_layer < layers and 0 <= average <= visual_tokens and visual_tokens):
        raise ValueError("impossible numbers")
    return math.floor((layers * average - prune_layer * visual_tokens) / (layers - prune_layer) + 1e-9)


@mutant("tokens_to_keep", "a quotient between -1 and 0 truncated to none")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    spare = layers * average - prune_layer * visual_tokens
    if -(layers - prune_layer) < spare < 0:
        return 0
    return tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)


@mutant("tokens_to_keep", "K off by one")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    keep = tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)
    before = prune_layer - 1
    return min(visual_tokens, max(keep, int((layers * average - before * visual_tokens) // (layers - before))))


@mutant("tokens_to_keep", "floating-point arithmetic")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)
    return math.floor((average - visual_tokens * prune_layer / layers) * (layers / (layers - prune_layer)))


@mutant("tokens_to_keep", "prune layer lowered silently")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    if not (0 < prune_layer < layers and 0 <= average <= visual_tokens and visual_tokens):
        raise ValueError("impossible numbers")
    while prune_layer > 0 and layers * average < prune_layer * visual_tokens:
        prune_layer -= 1
    return math.floor((layers * average - prune_layer * visual_tokens) / (layers - prune_layer) + 1e-9)


@mutant("tokens_to_keep", "pruning before the first layer accepted")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    if prune_layer == 0:
        return int(average)
    return tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)


@mutant("tokens_to_keep", "quotient in float32")
def _(average: int | float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    tokens_to_keep(average, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)  # refuses
    spare = np.float32(layers) * np.float32(average) - np.float32(prune_layer * visual_tokens)
    return int(spare / np.float32(layers - prune_layer))

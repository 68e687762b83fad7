r"""Section 5, how many: from a named budget to the tokens that each image keeps.

A budget is named, never guessed: the *average* number of visual tokens over all layers (Eq. 5.1), the number to
*keep* from the prune layer on, or the *ratio* that is dropped there (Eq. 5.3). Over several images it is split in
proportion (Eq. 5.4). All arithmetic is exact.

Reading order: `tokens_to_keep` and its inverse `average_tokens`, `prune_plan`, `split_keep`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from entropyprune_ref._numerics.arguments import require_integer, require_rational, require_sequence

Number = int | float | Fraction


@dataclass(frozen=True)
class PrunePlan:
    """Where to prune and how much to leave: `keep` visual tokens from the input of decoder layer `prune_layer` on.

    Attributes:
        prune_layer: The first decoder layer that runs pruned, 0-based, in `[1, layers - 1]`.
        keep: Visual tokens that it and every later layer sees.
    """

    prune_layer: int
    keep: int


def tokens_to_keep(average: Number, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    r"""Computes the visual tokens to keep so that the mean over all layers is at most `average` (Eq. 5.1).

    $$k = \left\lfloor \frac{layers \cdot average - prune\_layer \cdot visual\_tokens}
                                    {layers - prune\_layer} \right\rfloor$$

    The first `prune_layer` layers run with every visual token, the others with `k`.

    Args:
        average: Visual tokens per layer, averaged over all layers, in `[0, visual_tokens]`. A float is read as the
            decimal number that it prints as; the arithmetic is exact.
        visual_tokens: Visual tokens in the prompt, at least 1.
        layers: Decoder layers, at least 2.
        prune_layer: The first layer that runs pruned, 0-based, in `[1, layers - 1]`.

    Returns:
        The number of tokens, in `[0, visual_tokens]`.

    Raises:
        TypeError: An argument is not a number of its kind.
        ValueError: An argument is out of range, or `average` is infeasible: the layers before `prune_layer` alone
            spend more. The message names the smallest feasible average.

    Examples:
        LLaVA-1.5-7B at an average of 192 tokens: (32 · 192 - 2 · 576) / 30 = 4992 / 30 = 166.4.

        >>> tokens_to_keep(192, visual_tokens=576, layers=32, prune_layer=2)
        166

    Notes:
        The released code truncates towards zero. That is the same wherever the quotient is not negative; for a
        quotient between -1 and 0 it would keep 0 tokens and still exceed the average, which is refused here.
    """
    visual_tokens, layers, prune_layer = _depth(visual_tokens, layers, prune_layer)
    exact = require_rational("average", average, 0, visual_tokens)
    quotient = (layers * exact - prune_layer * visual_tokens) / (layers - prune_layer)
    if quotient < 0:
        raise ValueError(
            f"average must be at least {_smallest(visual_tokens, layers, prune_layer)}, the smallest feasible average "
            f"with {visual_tokens} visual tokens in the first {prune_layer} of {layers} layers, got {average}, "
            f"which would leave {math.trunc(quotient)} tokens; prune at an earlier layer or raise the average"
        )
    return math.floor(quotient)


def average_tokens(keep: int, *, visual_tokens: int, layers: int, prune_layer: int) -> Fraction:
    r"""Computes the mean visual tokens per layer when `keep` remain from `prune_layer` on (Eq. 5.1 inverted).

    $$a = \frac{prune\_layer \cdot visual\_tokens + (layers - prune\_layer) \cdot keep}{layers}$$

    Args:
        keep: Visual tokens kept, in `[0, visual_tokens]`.
        visual_tokens: Visual tokens in the prompt, at least 1.
        layers: Decoder layers, at least 2.
        prune_layer: The first layer that runs pruned, 0-based, in `[1, layers - 1]`.

    Returns:
        The average in tokens, exact.

    Raises:
        TypeError: An argument is not an int.
        ValueError: An argument is out of range.

    Examples:
        (2 · 576 + 30 · 166) / 32 = 6132 / 32.

        >>> float(average_tokens(166, visual_tokens=576, layers=32, prune_layer=2))
        191.625
    """
    visual_tokens, layers, prune_layer = _depth(visual_tokens, layers, prune_layer)
    keep = require_integer("keep", keep, 0, visual_tokens)
    return Fraction(prune_layer * visual_tokens + (layers - prune_layer) * keep, layers)


def prune_plan(
    *,
    visual_tokens: int,
    layers: int,
    prune_layer: int,
    average: Number | None = None,
    keep: int | None = None,
    ratio: Number | None = None,
    lower_prune_layer: bool = False,
) -> PrunePlan:
    r"""Says where to prune and how many tokens to keep, from a budget in exactly one of three ways (Eqs. 5.1, 5.3).

    $$k = \lfloor visual\_tokens \cdot (1 - ratio) \rfloor$$

    for a `ratio`; `tokens_to_keep` for an `average`; `keep` itself otherwise.

    Args:
        visual_tokens: Visual tokens in the prompt, at least 1.
        layers: Decoder layers, at least 2.
        prune_layer: The first layer that runs pruned, 0-based, in `[1, layers - 1]`.
        average: Visual tokens per layer, averaged over all layers, in `[0, visual_tokens]`.
        keep: Visual tokens that remain from the prune layer on, in `[0, visual_tokens]`.
        ratio: The share of visual tokens that is **dropped** at the prune layer, in `[0, 1]`. This is the "reduction
            ratio" of the released scripts: 0.9 keeps a tenth.
        lower_prune_layer: If `average` is infeasible at `prune_layer`, prune at the latest layer before it at which it
            is feasible. Without effect on `keep` and `ratio`, which are always feasible.

    Returns:
        The plan; `prune_layer` differs from the argument only if it was lowered.

    Raises:
        TypeError: An argument is not a number of its kind.
        ValueError: Not exactly one budget; an argument out of range; an infeasible average. With
            `lower_prune_layer` that means infeasible at layer 1 too.

    Examples:
        LLaVA-NeXT at an average of 160 of 2,880 tokens is infeasible at layer 2; at layer 1 it is
        (32 · 160 - 2880) / 31 = 72.3.

        >>> prune_plan(average=160, visual_tokens=2880, layers=32, prune_layer=2, lower_prune_layer=True)
        PrunePlan(prune_layer=1, keep=72)
        >>> prune_plan(ratio=0.9, visual_tokens=50, layers=28, prune_layer=1)
        PrunePlan(prune_layer=1, keep=5)

    Notes:
        Where even layer 1 is infeasible, the released code that lowers the layer keeps no visual token at all; here
        that is an error, and `keep=0` says it explicitly.
    """
    visual_tokens, layers, prune_layer = _depth(visual_tokens, layers, prune_layer)
    require_one_budget(average=average, keep=keep, ratio=ratio)
    if keep is not None:
        return PrunePlan(prune_layer, require_integer("keep", keep, 0, visual_tokens))
    if ratio is not None:
        return PrunePlan(prune_layer, math.floor(visual_tokens * (1 - require_rational("ratio", ratio, 0, 1))))
    exact = require_rational("average", average, 0, visual_tokens)
    if lower_prune_layer:
        prune_layer = min(prune_layer, max(1, math.floor(layers * exact / visual_tokens)))
    return PrunePlan(
        prune_layer, tokens_to_keep(exact, visual_tokens=visual_tokens, layers=layers, prune_layer=prune_layer)
    )


def require_one_budget(**budgets: Number | None) -> None:
    """Refuses anything but exactly one budget.

    Raises:
        ValueError: None is given, or more than one; the message names them.
    """
    given = [name for name, value in budgets.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(budgets)} must be given, got {' and '.join(given) or 'none'}")


def split_keep(keep: int, visual_tokens_per_image: Sequence[int]) -> list[int]:
    r"""Splits `keep` over images in proportion to their tokens, by largest remainder (Eq. 5.4).

    $$k_i = \lfloor q_i \rfloor + [\,i \text{ is among the first } r \text{ in the order }
              (-(q_i - \lfloor q_i \rfloor),\ i)\,], \qquad q_i = keep \cdot N_i / \textstyle\sum_j N_j$$

    with `r` what the rounding down leaves over, so that the parts add up to `keep` exactly.

    Args:
        keep: Tokens to keep over all images, in `[0, sum(visual_tokens_per_image)]`.
        visual_tokens_per_image: Visual tokens of each image, each at least 1; may be empty.

    Returns:
        Tokens to keep of each image, at most as many as it has.

    Raises:
        TypeError: Not integers.
        ValueError: Out of range.

    Examples:
        Quotas of 5 tokens over 6 and 4 are 3 and 2; over three images of equal size 5/3 each.

        >>> split_keep(5, [6, 4]), split_keep(5, [8, 8, 8])
        ([3, 2], [2, 2, 1])
    """
    images = require_sequence("visual_tokens_per_image", visual_tokens_per_image)
    counts = [require_integer("visual_tokens_per_image", count, 1) for count in images]
    total = sum(counts)
    keep = require_integer("keep", keep, 0, total)
    if not counts:
        return []
    parts = [keep * count // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda i: (-(keep * counts[i] % total), i))
    for i in by_remainder[: keep - sum(parts)]:
        parts[i] += 1
    return parts


def _depth(visual_tokens: int, layers: int, prune_layer: int) -> tuple[int, int, int]:
    """Returns the three as Python's integers, checked."""
    layers = require_integer("layers", layers, 2)
    return (
        require_integer("visual_tokens", visual_tokens, 1),
        layers,
        require_integer("prune_layer", prune_layer, 1, layers - 1),
    )


def _smallest(visual_tokens: int, layers: int, prune_layer: int) -> str:
    """Writes the average at which no token is kept: in decimals if exact, else rounded up beside the fraction."""
    exact = Fraction(prune_layer * visual_tokens, layers)
    decimal = f"{math.ceil(exact * 10**4) / 10**4:.4f}".rstrip("0").rstrip(".")
    return decimal if Fraction(decimal) == exact else f"{decimal} (exactly {exact})"

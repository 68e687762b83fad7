"""Section 6, the result of every count: FLOPs in named terms that add up, and the share that pruning saves.

Everything is a Python int, so nothing is rounded and nothing overflows.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction

from entropyprune_ref._numerics.arguments import require_integer, require_integer_fields


@dataclass(frozen=True)
class Flops:
    """FLOPs by named term; terms add up to `total`, and whole results can be added and multiplied by a count.

    Args:
        query_projection: `hidden` to all query heads.
        key_value_projections: `hidden` to all key heads and all value heads.
        output_projection: All query heads back to `hidden`.
        attention_scores: Queries times keys.
        attention_values: Attention weights times values.
        mlp: Every matrix of the MLP.
        lm_head: `hidden` to the vocabulary.
        vision_tower: Patch embedding and every layer of the tower.
        projector: Both linear layers between tower and decoder.
        scoring: The pruning method's own cost (Eq. 6.4).

    Examples:
        >>> (2 * Flops(mlp=3) + Flops(lm_head=4)).total
        10
    """

    query_projection: int = 0
    key_value_projections: int = 0
    output_projection: int = 0
    attention_scores: int = 0
    attention_values: int = 0
    mlp: int = 0
    lm_head: int = 0
    vision_tower: int = 0
    projector: int = 0
    scoring: int = 0

    def __post_init__(self) -> None:
        require_integer_fields(self, 0)

    @property
    def terms(self) -> dict[str, int]:
        """The terms by name, in the order above."""
        return asdict(self)

    @property
    def total(self) -> int:
        """The sum of all terms."""
        return sum(self.terms.values())

    def __add__(self, other: "Flops") -> "Flops":
        if not isinstance(other, Flops):
            return NotImplemented
        return Flops(**{name: count + other.terms[name] for name, count in self.terms.items()})

    def __mul__(self, times: int) -> "Flops":
        times = require_integer("times", times, 0)
        return Flops(**{name: count * times for name, count in self.terms.items()})

    __rmul__ = __mul__


def reduction(unpruned: Flops | int, pruned: Flops | int) -> Fraction:
    """Computes the share of the unpruned FLOPs that pruning saves, `1 - pruned / unpruned`, exactly.

    Args:
        unpruned: FLOPs without pruning, more than 0.
        pruned: FLOPs with it, counted by the same rule.

    Returns:
        The share, in [0, 1] unless pruning costs more than it saves.

    Raises:
        TypeError: A count is neither `Flops` nor an int.
        ValueError: `unpruned` is not positive, or `pruned` is negative.

    Examples:
        >>> reduction(8, 2)
        Fraction(3, 4)
    """
    whole = require_integer("unpruned", unpruned.total if isinstance(unpruned, Flops) else unpruned, 1)
    part = require_integer("pruned", pruned.total if isinstance(pruned, Flops) else pruned, 0)
    return 1 - Fraction(part, whole)

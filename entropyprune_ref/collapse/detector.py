"""The Entropy Collapse Layer (Eqs. 4.2 to 4.5): where the mean entropy falls most, and how far to trust it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_integer, require_real
from entropyprune_ref.collapse.curves import drops_of, sharpness_of, steepest


@dataclass(frozen=True)
class Collapse:
    """Where the entropy collapses, or that it does not, with the figures that say how far to trust it.

    Attributes:
        layer: The Entropy Collapse Layer: the first state *after* the drop, in `[1, layers]`, which is also the first
            decoder layer to run pruned; `None` if no drop was found.
        drop: The largest mean drop, in nats; not above rounding if none was found.
        sharpness: That drop less the mean of the other mean drops, in standard deviations of the others (Eq. 4.4);
            0 if none was found, infinite if the others have no spread.
        consistency: The fraction of samples that, taken alone, give the same answer, "none" being one (Eq. 4.5).
        interval: Bootstrap interval of the layer of the *mean* curve, not of single samples; `None` for one sample or
            if no drop was found.
        layers: Decoder layers in the curve.
    """

    layer: int | None
    drop: float
    sharpness: float
    consistency: float
    interval: tuple[int, int] | None
    layers: int

    @property
    def found(self) -> bool:
        """Whether there is a drop at all."""
        return self.layer is not None

    @property
    def prunable(self) -> bool:
        """Whether a decoder layer follows the drop: a drop into the last state is one, but nothing is left to prune."""
        return self.layer is not None and self.layer < self.layers

    def __str__(self) -> str:
        """Says in one sentence what was found."""
        if self.layer is None:
            return (
                f"no entropy collapse found: the largest mean drop over {self.layers} layers is {self.drop:.3g} nats; "
                f"{self.consistency:.0%} of samples agree"
            )
        interval = "" if self.interval is None else f", bootstrap interval {self.interval[0]} to {self.interval[1]}"
        end = "" if self.prunable else "; this is the output of the last layer, so no layer is left to prune at"
        return (
            f"entropy collapse at layer {self.layer} of {self.layers}: the entropy falls by {self.drop:.3g} nats from "
            f"state {self.layer - 1} to state {self.layer}, sharpness {self.sharpness:.3g}, "
            f"{self.consistency:.0%} of samples agree{interval}{end}"
        )


def collapse_layer(
    curves: Float[Tensor, "*samples states"], *, bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Collapse:
    r"""Finds the Entropy Collapse Layer: the state into which the mean entropy falls most (Eqs. 4.2-4.5).

    $$D_{si} = curves_{s,i-1} - curves_{s,i} \tag{4.2}$$

    $$\text{layer} = \min \operatorname{argmax}_{i = 1 \dots L} \bar D_i, \quad \bar D_i = \operatorname{mean}_s D_{si},
      \quad \text{found only if } \max \bar D > \varepsilon \tag{4.3}$$

    $$\text{sharpness} = \frac{\bar D_{\text{layer}} - \operatorname{mean}_{i \ne \text{layer}} \bar D_i}
      {\operatorname{std}_{i \ne \text{layer}} \bar D_i} \tag{4.4}$$

    $$\text{consistency} = \operatorname{mean}_s\,[\,\text{the layer of sample } s \text{ alone} = \text{layer}\,]
      \tag{4.5}$$

    with the population standard deviation. $\varepsilon$ is what rounding can make of a flat curve: the larger of
    $2^{10}$ rounding units of float64 and 2 of the curves' own dtype, times the largest magnitude in the curves. Drops
    that differ by no more than $\varepsilon$ are a tie, which goes to the earliest; a spread of at most $\varepsilon$
    counts as none.

    Args:
        curves: `(layers + 1,)` or `(samples, layers + 1)`, floating, finite, at least two states: entropies in nats.
        bootstrap: Resamples of the samples, at least 1.
        confidence: Level of the percentile interval, strictly between 0 and 1.
        seed: Seed of the resampling.

    Returns:
        The collapse, or that none was found. Resamples in which none is found do not enter the interval.

    Raises:
        TypeError: `curves` is not a tensor, or a number is of the wrong kind.
        ValueError: `curves` has a wrong shape or dtype, is not finite, or has fewer than two states; `bootstrap` or
            `confidence` is out of range.

    Examples:
        The other drops are 0, -0.5 and 0.5.

        >>> found = collapse_layer(torch.tensor([4.0, 4.0, 1.0, 1.5, 1.0]))
        >>> found.layer, found.drop, round(found.sharpness, 4)
        (2, 3.0, 7.3485)
        >>> collapse_layer(torch.tensor([1.0, 2.0, 3.0])).found
        False
    """
    drops, floor = drops_of(curves)
    bootstrap = require_integer("bootstrap", bootstrap, 1)
    seed = require_integer("seed", seed, 0, 2**64 - 1)
    confidence = require_real("confidence", confidence)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    samples, layers = drops.shape
    mean = drops.mean(0)
    layer = int(steepest(mean, floor))
    agreeing = float((steepest(drops, floor) == layer).double().mean())
    if layer == 0:
        return Collapse(None, float(mean.max()), 0.0, agreeing, None, layers)
    drop = float(mean[layer - 1])
    interval = None
    if samples > 1:
        generator = torch.Generator("cpu").manual_seed(seed)
        drawn = torch.randint(samples, (bootstrap, samples), generator=generator, device="cpu")
        times = torch.zeros(bootstrap, samples, dtype=torch.float64, device="cpu")
        times.scatter_add_(1, drawn, torch.ones_like(times))
        resampled = steepest(times @ drops / samples, floor)
        found = resampled[resampled > 0].sort().values
        if len(found):
            last, tail = len(found) - 1, (1 - confidence) / 2
            interval = int(found[math.floor(tail * last)]), int(found[math.ceil((1 - tail) * last)])
    return Collapse(layer, drop, sharpness_of(mean, layer, floor), agreeing, interval, layers)

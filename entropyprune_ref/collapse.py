r"""Section 4, when to prune: the entropy of every state, and the Entropy Collapse Layer where it falls.

*State* $i$ is the sequence of hidden states at the input of decoder layer $i$, before any token is dropped there; state
0 is the embeddings, state $L$ leaves the last of $L$ layers. `layer_entropy` gives the curve over states,
`collapse_layer` the place of its largest drop and how far that place can be trusted, `other_definitions` what other
rules say of the same curves.

The paper describes the layer by "a sharp and consistent drop" and publishes no detector that we know of; the rule and
its statistics here are ours (inferred).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_floating, require_integer, require_real
from entropyprune_ref.entropy import matrix_entropy

__all__ = [
    "Collapse",
    "collapse_layer",
    "layer_entropy",
    "other_definitions",
    "random_sharpness",
    "smooth_sharpness",
]


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


def layer_entropy(states: Float[Tensor, "*batch states tokens dims"]) -> Float64[Tensor, "*batch states"]:
    r"""Computes the matrix entropy of the visual tokens at every state (Eq. 4.1).

    $$H_i = H(states_i), \qquad i = 0 \dots L$$

    with the tokens as rows and $H$ of Eq. 1.4.

    Args:
        states: `(..., layers + 1, tokens, dims)`, floating, finite: the visual tokens' hidden states that enter each
            decoder layer, and those that leave the last.

    Returns:
        `(..., layers + 1)`, float64, in nats, in `[0, log(min(tokens - 1, dims))]`.

    Raises:
        TypeError: `states` is not a tensor.
        ValueError: `states` has a wrong shape or dtype, or is not finite.

    Examples:
        Two equal directions of variance, then one.

        >>> wide = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> narrow = [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]
        >>> layer_entropy(torch.tensor([wide, narrow])).abs().numpy().round(6).tolist()
        [0.693147, 0.0]
    """
    require_floating("states", states, ("states", "tokens", "dims"))
    return matrix_entropy(states)


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
    drops, floor = _drops(curves)
    bootstrap = require_integer("bootstrap", bootstrap, 1)
    seed = require_integer("seed", seed, 0, 2**64 - 1)
    confidence = require_real("confidence", confidence)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    samples, layers = drops.shape
    mean = drops.mean(0)
    layer = int(_steepest(mean, floor))
    agreeing = float((_steepest(drops, floor) == layer).double().mean())
    if layer == 0:
        return Collapse(None, float(mean.max()), 0.0, agreeing, None, layers)
    drop = float(mean[layer - 1])
    interval = None
    if samples > 1:
        generator = torch.Generator("cpu").manual_seed(seed)
        drawn = torch.randint(samples, (bootstrap, samples), generator=generator, device="cpu")
        times = torch.zeros(bootstrap, samples, dtype=torch.float64, device="cpu")
        times.scatter_add_(1, drawn, torch.ones_like(times))
        resampled = _steepest(times @ drops / samples, floor)
        found = resampled[resampled > 0].sort().values
        if len(found):
            last, tail = len(found) - 1, (1 - confidence) / 2
            interval = int(found[math.floor(tail * last)]), int(found[math.ceil((1 - tail) * last)])
    return Collapse(layer, drop, _sharpness(mean, layer, floor), agreeing, interval, layers)


def other_definitions(curves: Float[Tensor, "*samples states"], *, share: float = 0.5) -> dict[str, int | None]:
    r"""Applies other defensible definitions of the collapse layer to the same curves, for comparison.

    - `relative_drop`: the largest mean over samples of $D_{si} / curves_{s,i-1}$ (0 where the entropy before is 0);
    - `first_drop`: the first mean drop of at least `share` of the range of the mean curve;
    - `change_point`: where the mean curve is best split, in least squares, into a higher level before and a lower
      level after: the largest $\frac{i (L + 1 - i)}{L + 1} (\bar H_{<i} - \bar H_{\ge i})^2$;
    - `mode`: the most frequent answer among samples taken alone, the earliest of equally frequent layers.

    Args:
        curves: `(layers + 1,)` or `(samples, layers + 1)`, floating, finite, at least two states: entropies in nats.
        share: For `first_drop`, in `(0, 1]`.

    Returns:
        The layer by each definition, in the sense of `Collapse.layer`; `None` where it finds none.

    Raises:
        TypeError: `curves` is not a tensor, or `share` not a number.
        ValueError: `collapse_layer` would refuse `curves`; `share` is out of range.

    Examples:
        Falls of 2 from 8, then of 1 from 6, then of 1.5 from 1.5.

        >>> curve = torch.tensor([8.0, 6.0, 5.0, 1.5, 0.0])
        >>> collapse_layer(curve).layer, other_definitions(curve, share=0.25)
        (3, {'relative_drop': 4, 'first_drop': 1, 'change_point': 3, 'mode': 3})
    """
    drops, floor = _drops(curves)
    share = require_real("share", share)
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    heights = curves.detach().to("cpu", torch.float64).reshape(-1, drops.shape[1] + 1)
    mean, mean_drops = heights.mean(0), drops.mean(0)
    before = heights[:, :-1]
    relative = torch.where(before > floor, drops / torch.where(before > floor, before, 1.0), 0.0)
    relative_floor = floor / max(float(heights.abs().max()), torch.finfo(torch.float64).tiny)

    enough = (mean_drops > floor) & (mean_drops >= share * (mean.max() - mean.min()) - floor)
    count = torch.arange(1, len(mean), dtype=torch.float64, device="cpu")
    sums = mean.cumsum(0)[:-1]
    shift = sums / count - (mean.sum() - sums) / (len(mean) - count)
    fit = torch.where(shift > floor, shift * (count * (len(mean) - count) / len(mean)).sqrt(), 0.0)
    answers = torch.bincount(_steepest(drops, floor), minlength=len(mean))
    most = int(answers.argmax()) if answers[1:].max() < answers[0] else int(answers[1:].argmax()) + 1
    return {
        "relative_drop": int(_steepest(relative.mean(0), relative_floor)) or None,
        "first_drop": int(enough.double().argmax()) + 1 if enough.any() else None,
        "change_point": int(_steepest(fit, floor)) or None,
        "mode": most or None,
    }


def random_sharpness(layers: int, *, draws: int = 10_000, seed: int = 0) -> Float64[Tensor, " found"]:
    """Draws the sharpness (Eq. 4.4) of curves without any structure: independent normal drops of equal spread.

    A sharpness says something only beside what chance gives for as many layers: the largest of a few drops always
    stands out from the others.

    Args:
        layers: Drops in a curve, at least 3.
        draws: Number of curves.
        seed: Seed of the draws.

    Returns:
        Ascending, one value for each curve that has a drop at all.

    Raises:
        TypeError: A number is not an int.
        ValueError: A number is out of range.

    Examples:
        Half of all structureless curves of six layers are sharper than 2.07, and one in twenty sharper than 4.8.

        >>> [round(float(random_sharpness(6).quantile(share)), 1) for share in (0.5, 0.95)]
        [2.1, 4.9]
    """
    require_integer("layers", layers, 3)
    require_integer("draws", draws, 1)
    require_integer("seed", seed, 0)
    generator = torch.Generator().manual_seed(seed)
    drops = torch.randn(draws, layers, generator=generator, dtype=torch.float64)
    largest, place = drops.max(1)
    others = drops[torch.arange(layers) != place[:, None]].reshape(draws, layers - 1)
    sharpness = (largest - others.mean(1)) / others.std(1, correction=0)
    return sharpness[largest > 0].sort().values


def smooth_sharpness(layers: int, ratio: float) -> float:
    r"""Computes the sharpness (Eq. 4.4) of a curve that falls smoothly, each drop `ratio` of the one before.

    A geometric decay has no layer at which anything happens, and yet a sharpness, since its first drop is the largest.

    Args:
        layers: Drops in the curve, at least 3.
        ratio: Ratio of neighbouring drops, strictly between 0 and 1.

    Raises:
        TypeError: A number of the wrong kind.
        ValueError: A number out of range.

    Examples:
        Drops of 1, 1/2 and 1/4: the others have mean 3/8 and deviation 1/8.

        >>> smooth_sharpness(3, 0.5)
        5.0
    """
    require_integer("layers", layers, 3)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float):
        raise TypeError(f"ratio must be a float, got {type(ratio).__name__} {ratio!r}")
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie strictly between 0 and 1, got {ratio}")
    return _sharpness(ratio ** torch.arange(layers, dtype=torch.float64), 1, 0.0)


def _drops(curves: Tensor) -> tuple[Float64[Tensor, "samples layers"], float]:
    """Returns the drops of every sample (Eq. 4.2), and the size below which a drop is rounding."""
    require_floating("curves", curves, ("states",))
    if curves.ndim > 2 or curves.numel() == 0 or curves.shape[-1] < 2:
        raise ValueError(
            "curves must have shape (states,) or (samples, states) with at least one sample and two states, "
            f"got shape {tuple(curves.shape)}"
        )
    heights = curves.detach().to("cpu", torch.float64).reshape(-1, curves.shape[-1])
    units = max(2**10 * torch.finfo(torch.float64).eps, 2 * torch.finfo(curves.dtype).eps)
    return -heights.diff(dim=1), units * float(heights.abs().max())


def _steepest(drops: Float64[Tensor, "*batch layers"], floor: float) -> Int[Tensor, "*batch"]:
    """Returns the layer of the largest drop, the earliest within `floor` of it; 0 if none exceeds `floor`."""
    largest = drops.amax(-1, keepdim=True)
    earliest = (drops >= largest - floor).to(torch.int8).argmax(-1) + 1
    return torch.where(largest[..., 0] > floor, earliest, 0)


def _sharpness(mean: Float64[Tensor, " layers"], layer: int, floor: float) -> float:
    others = torch.cat((mean[: layer - 1], mean[layer:]))
    if len(others) == 0:
        return math.inf
    excess = float(mean[layer - 1] - others.mean())
    if excess <= floor:
        return 0.0
    spread = float(others.std(correction=0))
    return excess / spread if spread > floor else math.inf

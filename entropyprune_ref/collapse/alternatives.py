"""Other defensible definitions of the collapse layer, for comparison."""

import torch
from jaxtyping import Float
from torch import Tensor

from entropyprune_ref._numerics.arguments import require_real
from entropyprune_ref.collapse.curves import drops_of, steepest


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

        >>> from entropyprune_ref import collapse_layer
        >>> curve = torch.tensor([8.0, 6.0, 5.0, 1.5, 0.0])
        >>> collapse_layer(curve).layer, other_definitions(curve, share=0.25)
        (3, {'relative_drop': 4, 'first_drop': 1, 'change_point': 3, 'mode': 3})
    """
    drops, floor = drops_of(curves)
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
    answers = torch.bincount(steepest(drops, floor), minlength=len(mean))
    most = int(answers.argmax()) if answers[1:].max() < answers[0] else int(answers[1:].argmax()) + 1
    return {
        "relative_drop": int(steepest(relative.mean(0), relative_floor)) or None,
        "first_drop": int(enough.double().argmax()) + 1 if enough.any() else None,
        "change_point": int(steepest(fit, floor)) or None,
        "mode": most or None,
    }

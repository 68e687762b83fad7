"""The same numbers laid out otherwise in memory: what models hand over is seldom contiguous."""

import torch
from torch import Tensor

LAYOUTS = ("transposed", "heads first", "reversed", "leading strided", "strided", "offset", "expanded")
"""All but "contiguous". "heads first" is `(batch, heads, tokens, head_dim)` seen as `(batch, tokens, heads, head_dim)`,
as attention layers have their queries; "expanded" repeats the first entry of the first axis with stride 0."""


def layouts(axes: int, own: int) -> tuple[str, ...]:
    """Those that an array of `axes` axes can have, of which the last `own` are no batch."""
    needed = {"transposed": 2, "heads first": 3, "reversed": 2, "leading strided": own + 1, "expanded": own + 1}
    return tuple(layout for layout in LAYOUTS if axes >= needed.get(layout, 1))


def laid_out(values: Tensor, layout: str) -> Tensor:
    """Returns the values in another order of memory, with other numbers in what gaps it has.

    Raises:
        ValueError: An unknown layout, or one that needs more axes.

    Examples:
        >>> laid_out(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "transposed").stride()
        (1, 2)
        >>> laid_out(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "strided")
        tensor([[1., 2.],
                [3., 4.]])
    """
    if layout == "contiguous":
        return values
    if layout not in layouts(values.ndim, 0):
        raise ValueError(f"layout must be one of {layouts(values.ndim, 0)} for {values.ndim} axes, got {layout!r}")
    if layout == "transposed":
        return values.mT.contiguous().mT
    if layout == "heads first":
        return values.transpose(-3, -2).contiguous().transpose(-3, -2)
    if layout == "reversed":
        back = tuple(reversed(range(values.ndim)))
        return values.permute(back).contiguous().permute(back)
    if layout == "expanded":
        return values[:1].clone().expand(values.shape)
    steps, skipped = [1] * values.ndim, [0] * values.ndim
    if layout == "leading strided":
        steps = [2] * max(1, values.ndim - 2) + [1] * min(2, values.ndim - 1)
    elif layout == "strided":
        steps = [1] * max(0, values.ndim - 2) + [2, 3][-values.ndim :]
    else:
        skipped = [0] * max(0, values.ndim - 2) + [1, 2][-values.ndim :]
    shape = [step * size + skip for step, size, skip in zip(steps, values.shape, skipped, strict=True)]
    wide = torch.linspace(-3, 5, max(1, torch.Size(shape).numel()), dtype=torch.float64).to(values.dtype)
    view = wide[: torch.Size(shape).numel()].reshape(shape)[
        tuple(slice(skip, None, step) for skip, step in zip(skipped, steps, strict=True))
    ]
    view.copy_(values)
    return view

"""Muon in float32: `torch.optim.Muon` orthogonalises in bfloat16, which many CPUs only emulate."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Newton–Schulz coefficients of Jordan et al. (2024), as in `torch.optim.Muon`."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is replaced by the nearest semi-orthogonal matrix; for weight matrices only.

    The update's size matches AdamW's root mean square (0.2), so that learning rates carry over (Liu et al. 2025).

    Args:
        parameters: Matrices.
        lr: Learning rate.
        momentum: Momentum of the Nesterov average of gradients.
        weight_decay: Decoupled.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates every matrix once; matrices of one shape are orthogonalised as one batch."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    assert parameter.grad is not None  # chosen above
                    average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                    average.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(average, group["momentum"]))
                scale = 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, orthogonalised(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
        return loss


def orthogonalised(
    matrices: Float[Tensor, "batch rows columns"], steps: int = 5
) -> Float[Tensor, "batch rows columns"]:
    """Returns matrices with the same singular vectors and singular values near 1 (between about 0.7 and 1.2)."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    current = matrices.mT if tall else matrices
    current = current / (current.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = current @ current.mT
        current = a * current + (b * gram + c * gram @ gram) @ current
    return current.mT if tall else current

"""Wrong Entropy Collapse Layers."""

import torch
from torch import Tensor

from ...collapse import collapse_layer, other_definitions
from .catalogue import memory_order, mutant


def _mean_drops(curves: Tensor) -> Tensor:
    return -curves.double().reshape(-1, curves.shape[-1]).mean(0).diff()


def _found(drops: Tensor) -> int | None:
    """The rule itself, for bugs in what it is given."""
    return int(drops.argmax()) + 1 if drops.max() > 0 else None


mutant("collapse_layer", "state before the drop")(
    lambda curves: None if (layer := collapse_layer(curves).layer) is None else layer - 1
)
mutant("collapse_layer", "rise taken for drop")(lambda curves: collapse_layer(-curves).layer)
mutant("collapse_layer", "largest change of either sign")(lambda curves: _found(_mean_drops(curves).abs()))
mutant("collapse_layer", "collapse reported on a flat curve")(lambda curves: int(_mean_drops(curves).argmax()) + 1)
mutant("collapse_layer", "flat curve taken for a drop of zero")(
    lambda curves: int(_mean_drops(curves).argmax()) + 1 if _mean_drops(curves).max() >= 0 else None
)
mutant("collapse_layer", "first drop in place of the largest")(
    lambda curves: _found((_mean_drops(curves) > 0).double())
)
mutant("collapse_layer", "mode over samples")(lambda curves: other_definitions(curves)["mode"])
mutant("collapse_layer", "median over samples")(
    lambda curves: _found(-curves.double().reshape(-1, curves.shape[-1]).diff(dim=1).median(0).values)
)
mutant("collapse_layer", "first sample only")(
    lambda curves: collapse_layer(curves.reshape(-1, curves.shape[-1])[0]).layer
)
mutant("collapse_layer", "largest drop of any sample")(
    lambda curves: _found(-curves.double().reshape(-1, curves.shape[-1]).diff(dim=1).amax(0))
)
mutant("collapse_layer", "lowest point of the curve")(
    lambda curves: int(curves.double().reshape(-1, curves.shape[-1]).mean(0).argmin()) or None
)
mutant("collapse_layer", "largest relative drop")(lambda curves: other_definitions(curves.abs())["relative_drop"])
mutant("collapse_layer", "change point")(lambda curves: other_definitions(curves)["change_point"])
mutant("collapse_layer", "drop over two layers")(
    lambda curves: _found(torch.nn.functional.pad(_mean_drops(curves), (1, 0)).unfold(0, 2, 1).sum(-1))
)
mutant("collapse_layer", "last drop left out")(
    lambda curves: _found(torch.cat([_mean_drops(curves)[:-1], torch.zeros(1)]))
)
mutant("collapse_layer", "drops below a quarter of a nat ignored")(
    lambda curves: found.layer if (found := collapse_layer(curves)).drop >= 0.25 else None
)
mutant("collapse_layer", "counted from the last layer")(
    lambda curves: None if (layer := collapse_layer(curves).layer) is None else curves.shape[-1] - layer
)
mutant("collapse_layer", "computed in half precision")(lambda curves: _found(_mean_drops(curves.half())))
mutant("collapse_layer", "views read in memory order")(lambda curves: _found(_mean_drops(memory_order(curves))))


@mutant("collapse_layer", "last of equal drops")
def _(curves: Tensor) -> int | None:
    drops = _mean_drops(curves)
    backwards = _found(drops.flip(0))
    return None if backwards is None else len(drops) + 1 - backwards

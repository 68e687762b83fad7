"""The collapse layer and the selection of tokens in steps (sections 4 and 5)."""

from torch import Tensor

from .steps import Steps


def collapse_layer(at: Steps, curves: Tensor) -> int | None:
    """The first state after the largest mean drop, the earliest of equals; None if nothing drops."""
    rows = at.value("curves", curves.double().reshape(-1, curves.shape[-1]), ("lead", "states"))
    drops = at.value("drops", -rows.diff(dim=-1), ("lead", "layers"))
    mean = at.step("mean over samples", lambda v: v.mean(0, keepdim=True), drops, ("one", "layers"), ("samples", -2))
    best, found = mean[0, 0], 0
    for layer, drop in enumerate(mean[0].tolist()[1:], 1):
        if at.above("drop above the best", drop, float(best)):
            best, found = mean[0, layer], layer
    if not at.above("largest drop above zero", float(best), 0.0):
        return None
    return int(at.number("layer", found + 1))


def select_tokens(at: Steps, scores: Tensor, keep: int) -> Tensor:
    """Positions of the highest scores, ties to the earlier, ascending."""
    tokens = scores.shape[-1]
    if at.above("keep above the tokens", keep, tokens) or at.above("none above keep", 0, keep):
        raise ValueError(f"keep must be in 0 ... {tokens}, got {keep}")
    scores = at.value("scores", scores.double(), ("lead", "tokens"))

    def ordered(scores: Tensor) -> Tensor:
        return scores.sort(dim=-1, descending=True, stable=True).indices

    order = at.step("order", ordered, scores, ("lead", "tokens"))
    chosen = at.value("chosen", order[..., : at.number("keep", keep)], ("lead", "kept"))
    ascending = at.step("ascending", lambda v: v.sort(-1).values, chosen, ("lead", "kept"))
    return at.value("result", ascending, ("lead", "kept"))

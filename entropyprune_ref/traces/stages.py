"""Each array of an engine against the trace's, in the order in which an engine computes them."""

from collections.abc import Callable

import torch
from torch import Tensor

from entropyprune_ref.scoring import token_entropy

from .comparison import Comparison, Finding
from .selection import kept
from .tolerances import ROUNDINGS


def exact(compared: Comparison, name: str) -> Finding:
    """Integers that must be equal."""
    return _equal(name, compared.theirs[name], compared.ours[name])


def queries(compared: Comparison) -> Finding:
    """The products of all pairs of heads, which rotary embedding leaves alone, relative to the token's own size."""
    ours, theirs = (side["queries"].double() for side in (compared.ours, compared.theirs))
    ours, theirs = ours @ ours.mT, theirs @ theirs.mT
    size = ours.norm(dim=(1, 2)).clamp(min=torch.finfo(torch.float64).tiny)
    error = (theirs - ours).norm(dim=(1, 2)) / size / (2 * ROUNDINGS * compared.unit)  # a product of two
    worst = int(error.argmax())
    return _bounded("queries", float(error[worst]), f"worst at visual token {worst}")


def scores(compared: Comparison) -> Finding:
    """The engine's scores against those of its own queries, if it gives them, and against the trace's."""
    theirs = compared.theirs["scores"].double()
    if "queries" in compared.theirs:
        own = token_entropy(compared.theirs["queries"].double(), compared.convention)
        error = (theirs - own).abs() / compared.tolerance
        if error.max() > 1:
            worst = int(error.argmax())
            message = f"not the {compared.record['pruner']['convention']} entropy of the engine's own queries: "
            return _bounded("scores", float(error[worst]), message + _pair(worst, theirs[worst], own[worst]))
    ours = compared.ours["scores"]
    error = (theirs - ours).abs() / compared.tolerance
    worst = int(error.argmax())
    return _bounded("scores", float(error[worst]), _pair(worst, theirs[worst], ours[worst]))


def left_positions(compared: Comparison) -> Finding:
    """Positions must be those of before pruning, of the tokens that the engine itself keeps."""
    tokens = len(compared.ours["input_ids"])
    left = torch.ones(tokens, dtype=torch.bool)
    left[compared.visual] = False
    left[compared.theirs.get("kept", compared.ours["kept"])] = True
    return _equal("left_positions", compared.theirs["left_positions"], compared.ours["positions"][..., left])


def tokens(compared: Comparison) -> Finding:
    """The greedy answer: it may part where the two best logits of the trace nearly tie."""
    theirs, ours = compared.theirs["tokens"], compared.ours["tokens"]
    same = _agreeing(compared)
    if same == len(ours) == len(theirs):
        return Finding("tokens", "agrees", f"the same {same} tokens")
    if same == min(len(ours), len(theirs)):
        return Finding("tokens", "parts", f"expected {len(ours)} tokens, got {len(theirs)}")
    logits = compared.ours["logits"][same].double()
    gap = float(logits[ours[same]] - logits[theirs[same]])
    allowed = ROUNDINGS * compared.unit * float((logits - logits.mean()).square().mean().sqrt()) * 4
    where = f"step {same}: token {int(theirs[same])} instead of {int(ours[same])}, {gap:.3g} lower in the trace"
    if gap <= allowed:
        return Finding("tokens", "near tie", where)
    return Finding("tokens", "parts", f"{where}, allowed {allowed:.2g}")


def logits(compared: Comparison) -> Finding:
    """All logits of a step together, about their mean, as far as the same tokens were fed back."""
    theirs, ours = compared.theirs["logits"].double(), compared.ours["logits"].double()
    steps = min(len(ours), len(theirs), _agreeing(compared) + 1)
    theirs, ours = (side[:steps] - side[:steps].mean(1, keepdim=True) for side in (theirs, ours))
    error = (theirs - ours).norm(dim=1) / ours.norm(dim=1) / (ROUNDINGS * compared.unit)
    worst = int(error.argmax())
    finding = _bounded("logits", float(error.max()), f"worst at step {worst} of {steps} compared")
    if finding.status == "parts":
        first = int((error > 1).nonzero()[0])
        return Finding("logits", "parts", f"{finding.message}, first too far at step {first}", finding.error)
    return finding


NEED_THE_SAME_TOKENS = ("tokens", "logits")
"""What cannot be compared once other tokens are kept."""

STAGES: dict[str, Callable[[Comparison], Finding]] = {
    "input_ids": lambda compared: exact(compared, "input_ids"),
    "image_index": lambda compared: exact(compared, "image_index"),
    "positions": lambda compared: exact(compared, "positions"),
    "queries": queries,
    "scores": scores,
    "kept": kept,
    "left_positions": left_positions,
    "cache_lengths": lambda compared: exact(compared, "cache_lengths"),
    "decode_positions": lambda compared: exact(compared, "decode_positions"),
    "tokens": tokens,
    "logits": logits,
}
"""By the array that each judges."""


def _agreeing(compared: Comparison) -> int:
    """How many tokens of the answer agree before the first that does not; all of them if none are given."""
    ours = compared.ours["tokens"]
    theirs = compared.theirs.get("tokens")
    if theirs is None:
        return len(ours)
    pairs = zip(ours.tolist(), theirs.tolist(), strict=False)
    return next((step for step, (mine, yours) in enumerate(pairs) if mine != yours), min(len(ours), len(theirs)))


def _equal(name: str, theirs: Tensor, ours: Tensor) -> Finding:
    if theirs.shape != ours.shape:
        return Finding(name, "parts", f"expected shape {tuple(ours.shape)}, got {tuple(theirs.shape)}")
    different = (theirs.long() != ours.long()).nonzero()
    if not len(different):
        return Finding(name, "agrees", f"all {ours.numel()} equal")
    place = tuple(different[0].tolist())
    shown = place[0] if len(place) == 1 else place
    values = f"expected {int(ours[place])}, got {int(theirs[place])}"
    return Finding(name, "parts", f"first at {shown}: {values}; {len(different)} of {ours.numel()} differ")


def _bounded(name: str, error: float, message: str) -> Finding:
    """A finding on floating-point numbers; NaN is far off."""
    good = error <= 1
    return Finding(name, "agrees" if good else "parts", f"{error:.3g} of what is allowed; {message}", error)


def _pair(place: int, theirs: Tensor, ours: Tensor) -> str:
    return f"visual token {place}: expected {float(ours):.6g}, got {float(theirs):.6g}"

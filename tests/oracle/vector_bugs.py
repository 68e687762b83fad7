"""Bugs that flags of the vectors name and the catalogue does not hold, each as the implementation of one contract."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from entropyprune_ref import PAPER, collapse_layer, layer_entropy, matrix_entropy, select_tokens, token_entropy
from entropyprune_ref.oracle.contracts.flops import counted_flops
from entropyprune_ref.oracle.contracts.masked import masked_prefill
from entropyprune_ref.oracle.plain.bookkeeping import kept_positions
from entropyprune_ref.scoring import CONVENTIONS

Bug = Callable[..., Any]


def _levels(rows: Tensor, *, axis: int = -2, heads_first: bool = True) -> Tensor:
    rows = rows.double() - rows.double().mean(axis, keepdim=True)
    return torch.linalg.eigvalsh(rows @ rows.mT).clamp(min=0)


def _entropy(levels: Tensor) -> Tensor:
    return -torch.special.xlogy(levels, levels).sum(-1)


def tokens(convention: str, *, axis: int | None = -2, keep_zero: bool = True) -> Bug:
    """Token entropy of a convention, centred over another axis (None: not at all)."""
    chosen = CONVENTIONS[convention]

    def run(queries: Tensor) -> Tensor:
        rows = queries.double() if axis is None else queries.double() - queries.double().mean(axis, keepdim=True)
        if chosen.row_normalized:
            norm = rows.norm(dim=-1, keepdim=True)
            rows = rows / torch.where(norm > 0, norm, 1.0)
        levels = torch.linalg.eigvalsh(rows @ rows.mT).clamp(min=0)
        if chosen.trace_normalized:
            return _entropy(levels / levels.sum(-1, keepdim=True))
        return _entropy((levels / queries.shape[-2]).clamp(min=1e-10)) / math.log(queries.shape[-2])

    return run


def zero_times_log_zero(entropy: Bug) -> Bug:
    """NaN wherever there is an eigenvalue that is zero but for rounding."""

    def run(rows: Tensor) -> Tensor:
        levels = _levels(rows)
        low = levels[..., 0] <= 1e-12 * levels[..., -1]
        return torch.where(low, torch.nan, entropy(rows))

    return run


def cancelling(queries: Tensor, *, convention: str = "paper") -> Tensor:
    """The covariance as the mean of squares less the square of the mean."""
    chosen = CONVENTIONS[convention]
    rows = queries.double()
    mean = rows.mean(-2, keepdim=True)
    covariance = rows.mT @ rows / rows.shape[-2] - mean.mT @ mean
    levels = torch.linalg.eigvalsh(covariance)
    if chosen.trace_normalized:
        return _entropy(levels.clamp(min=0) / levels.sum(-1, keepdim=True))
    return _entropy(levels.clamp(min=1e-10)) / math.log(queries.shape[-2])


def cancelling_rows(queries: Tensor) -> Tensor:
    """Squared norms of centred rows and their products from the uncentred Gram matrix."""
    rows = queries.double()
    product = rows @ rows.mT
    count = rows.shape[-2]
    centring = torch.eye(count, dtype=torch.float64) - 1 / count
    product = centring @ product @ centring
    norm = product.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    levels = torch.linalg.eigvalsh(product / norm[..., None] / norm[..., None, :]).clamp(min=0)
    return _entropy(levels / levels.sum(-1, keepdim=True))


def quietly(implementation: Bug) -> Bug:
    """NaN and infinity replaced by numbers."""
    return lambda values, *rest: implementation(values.nan_to_num(posinf=1e6), *rest)


def budget(average: float, visual_tokens: int, layers: int, prune_layer: int, how: str) -> int:
    """The budget of Eq. 5.1 in floating numbers, and otherwise wrong."""
    quotient = (layers * average - prune_layer * visual_tokens) / (layers - prune_layer or 1)
    kept = max(0, math.floor(quotient))
    return {"none": max(kept, 1), "less": kept - 1, "binary": kept, "clip": min(kept, visual_tokens)}[how]


def budgeted(how: str) -> Bug:
    return lambda average, **sizes: budget(average, **sizes, how=how)


def selection(score: Bug) -> Bug:
    """Token selection by another score."""
    return lambda queries, keep: select_tokens(score(queries), keep)


def left(**changes: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Bug:
    """What is left of a prompt, with some outputs computed otherwise."""

    def run(**inputs: Any) -> dict[str, Any]:
        right = kept_positions(**inputs)
        return right | {name: change(right, inputs) for name, change in changes.items()}

    return run


def other_input(**changes: Callable[[dict[str, Any]], Any]) -> Bug:
    """What is left of another prompt."""
    return lambda **inputs: kept_positions(**inputs | {name: change(inputs) for name, change in changes.items()})


def _caches(right: dict[str, Any], inputs: dict[str, Any]) -> list[int]:
    total, layer = inputs["attended"].sum().item(), inputs["prune_layer"] + 1
    return [int(total)] * layer + [len(right["places"])] * (inputs["layers"] - layer)


def _without_text(right: dict[str, Any], inputs: dict[str, Any]) -> Tensor:
    places: Tensor = right["places"]
    return places[inputs["image_index"][places] >= 0]


RULES = {"full": "causal", "causal": "none", "none": "full"}


def otherwise(**changes: Callable[[dict[str, Any]], Any]) -> Bug:
    """FLOPs of another prompt."""
    return lambda **given: counted_flops(**given | {name: change(given) for name, change in changes.items()})


def head_elsewhere(**given: Any) -> int:
    """The language-model head counted on all positions, or on one although there is none."""
    empty = given["text_tokens"] + given["visual_tokens"] == 0
    rule = "all" if given["lm_head"] == "last" else "last"
    right = counted_flops(**given | {"lm_head": rule})
    return right + 2 * given["hidden"] * given["vocabulary"] if empty else right


def interleaved_rotary(weights: dict[str, Tensor], *arguments: Any, **options: Any) -> Any:
    """Rotates pairs (2i, 2i + 1): the same as the right rotation of heads whose features are in another order."""
    head_dim = options["sizes"]["head_dim"]
    order = torch.cat([torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)])
    moved = {
        name: weight.unflatten(0, (-1, head_dim))[:, order].flatten(0, 1)
        if "q_proj" in name or "k_proj" in name
        else weight
        for name, weight in weights.items()
    }
    return masked_prefill("paper")(moved, *arguments, **options)


def _shared(convention: str) -> dict[tuple[str, str, str], Bug]:
    """Bugs of token entropy that the catalogue holds for one convention only."""
    chosen = CONVENTIONS[convention]

    def right(queries: Tensor) -> Tensor:
        return token_entropy(queries, chosen)

    spread = cancelling_rows if chosen.row_normalized else lambda queries: cancelling(queries, convention=convention)
    swapped = lambda queries: right(queries.reshape(*queries.shape[:-2], queries.shape[-1], queries.shape[-2]))  # noqa: E731
    bugs = {
        "NoCentring": tokens(convention, axis=None),
        "CentredOverFeatures": tokens(convention, axis=-1),
        "CentredOverTokens": tokens(convention, axis=-3),
        "Log2": lambda queries: right(queries) / math.log(2),
        "DividedByLogHeads": lambda queries: right(queries) / math.log(queries.shape[-2]),
        "LogOfZero": zero_times_log_zero(right),
        "ZeroVariance": tokens(convention),
        "AbsoluteEpsilon": lambda queries: right(queries) * (_levels(queries).sum(-1) > 1e-6),
        "HeadsFeaturesSwapped": swapped,
        "HalfPrecision": lambda queries: right((queries / queries.abs().amax()).half()) + 1e-4,
        "PowerIteration": lambda queries: _entropy(
            torch.nn.functional.normalize(_levels(queries)[..., -4:], p=1, dim=-1)
        ),
        "Cancellation": spread,
        "AcceptsNotFinite": quietly(right),
        "LogOfOneHead": lambda queries: _entropy(_levels(queries)) / math.log(queries.shape[-2] + 1e-9),
    }
    return {(flag, "token_entropy", convention): bug for flag, bug in bugs.items()}


BUGS: dict[tuple[str, str, str], Bug] = {
    **{key: bug for convention in CONVENTIONS for key, bug in _shared(convention).items()},
    ("LogOfZero", "matrix_entropy", ""): zero_times_log_zero(matrix_entropy),
    ("Cancellation", "matrix_entropy", ""): cancelling,
    ("AcceptsNotFinite", "matrix_entropy", ""): quietly(matrix_entropy),
    ("AcceptsImpossible", "matrix_entropy", ""): lambda features: torch.zeros((), dtype=torch.float64),
    ("ZeroVariance", "layer_entropy", ""): lambda states: _entropy(
        _levels(states) / _levels(states).sum(-1, keepdim=True)
    ),
    ("AcceptsNotFinite", "layer_entropy", ""): quietly(layer_entropy),
    ("AcceptsNotFinite", "collapse_layer", ""): quietly(collapse_layer),
    ("AcceptsImpossible", "collapse_layer", ""): lambda curves: None,
    ("BinaryFraction", "tokens_to_keep", ""): budgeted("binary"),
    ("KeepOffByOne", "tokens_to_keep", ""): budgeted("less"),
    ("NoneTakenForOne", "tokens_to_keep", ""): budgeted("none"),
    ("AcceptsImpossible", "tokens_to_keep", ""): budgeted("clip"),
    ("AcceptsNotFinite", "select_tokens", ""): quietly(select_tokens),
    ("KeepsLowest", "token_selection", "paper"): selection(lambda queries: -token_entropy(queries)),
    ("KeepsLowest", "token_selection", "row_normalized"): selection(
        lambda queries: -token_entropy(queries, CONVENTIONS["row_normalized"])
    ),
    ("KeepsLowest", "token_selection", "released"): selection(
        lambda queries: -token_entropy(queries, CONVENTIONS["released"])
    ),
    ("OtherConvention", "token_selection", "paper"): selection(
        lambda queries: token_entropy(queries, CONVENTIONS["released"])
    ),
    ("OtherConvention", "token_selection", "row_normalized"): selection(token_entropy),
    ("OtherConvention", "token_selection", "released"): selection(token_entropy),
    ("HalfPrecisionScores", "token_selection", "paper"): selection(lambda queries: token_entropy(queries).half()),
    ("AcceptsNotFinite", "token_selection", "paper"): selection(quietly(token_entropy)),
    ("PositionsRenumbered", "kept_positions", ""): left(positions=lambda right, _: torch.arange(len(right["places"]))),
    ("DecodeFromShortened", "kept_positions", ""): left(next_position=lambda right, _: len(right["places"])),
    ("PruneLayerOffByOne", "kept_positions", ""): left(cache_lengths=_caches),
    ("TextPruned", "kept_positions", ""): left(places=_without_text),
    ("SecondImageIgnored", "kept_positions", ""): other_input(
        image_index=lambda inputs: torch.where(inputs["image_index"] > 0, -1, inputs["image_index"])
    ),
    ("OverImages", "kept_positions", ""): other_input(
        over_images=lambda inputs: "all" if inputs["over_images"] == "each" else "each"
    ),
    ("PaddingCounted", "kept_positions", ""): other_input(attended=lambda inputs: torch.ones_like(inputs["attended"])),
    ("AcceptsImpossible", "kept_positions", ""): other_input(keep=lambda inputs: 1),
    ("AttentionRule", "prefill_flops", ""): otherwise(attention=lambda given: RULES[given["attention"]]),
    ("HeadPositions", "prefill_flops", ""): head_elsewhere,
    ("ScoringForgotten", "prefill_flops", ""): otherwise(scoring=lambda given: False),
    ("AcceptsImpossible", "prefill_flops", ""): otherwise(prune_layer=lambda given: 2, keep=lambda given: 10),
    ("InterleavedRotary", "pruned_prefill", "paper"): interleaved_rotary,
}
"""By flag, contract and convention (empty where it does not matter)."""

assert PAPER.name == "paper"

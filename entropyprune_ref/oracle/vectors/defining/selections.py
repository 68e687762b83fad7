"""Vectors of section 5: which tokens are kept, by given scores and by their own, and what that leaves of a prompt."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ....scoring import CONVENTIONS, token_entropy
from ...tolerances import token_score_error
from .building import counted, refused, rows
from .case import DTYPES, Alternative, Cut, Row, VectorCase, rounded_up
from .draws import integers, numbers


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    yield from _of_scores()
    yield from _of_queries()
    yield from _positions()


def _of_scores() -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, keep: int, scores: Tensor) -> VectorCase:
        errors = {dtype: float((scores.to(kind).double() - scores).abs().max()) for dtype, kind in DTYPES.items()}
        cut = Cut(tuple(Row(row, keep) for row in scores.reshape(-1, scores.shape[-1])), errors)
        inputs = {"scores": scores, "keep": keep}
        return counted("select_tokens", name, comment, flags, inputs, units={"kept": "positions"}, cut=cut)

    def bad(name: str, comment: str, flags: str, keep: int, scores: Tensor) -> VectorCase:
        return refused("select_tokens", name, comment, flags, {"scores": scores, "keep": keep})

    plain = "KeepsLowest KeepOffByOne"
    distinct = (integers("scores/distinct", 1, 24, low=0, high=7)[0] * 32 + torch.arange(24)) / 64
    yield case("distinct", "distinct scores, a third of them kept", f"{plain} UnsortedPositions", 8, distinct)
    yield case("negative", "scores below zero", f"{plain} AbsoluteScores", 3, rows([-1.5, -0.25, -3, -0.5, -2]))
    yield case("tie", "a tie at the cut goes to the earlier token", "TieToLater", 2, rows([1, 3, 2, 2, 2, 0]))
    yield case("plateau", "all scores are equal: the first tokens", "TieToLater", 3, rows([0.5] * 7))
    tied = rows([5, 1, 5, 1, 5, 1])
    yield case("two_plateaus", "two values, cut within the lower", "TieToLater TiedOnce", 4, tied)
    near = torch.tensor([1.0, 1 + 2.0**-40, 1 + 2.0**-39, 0.5], dtype=torch.float64)
    yield case("near_tie", "scores 1e-12 apart are no tie in float64", "HalfPrecisionScores", 2, near)
    yield case("signed_zero", "minus zero and zero are a tie", "MinusZeroBelowZero", 1, rows([-0.0, 0.0, -1]))
    batch = torch.stack([distinct[:6], distinct[6:12] + 8, distinct[12:18] - 8])
    yield case("rows", "three rows on different levels", "FlattenedBatch OneForAllRows", 2, batch)
    yield case("none", "none is kept", "NoneTakenForOne", 0, distinct[:5])
    yield case("all", "all are kept", "KeepOffByOne", 5, distinct[:5])
    yield bad("too_many", "more than there are", "AcceptsImpossible", 6, distinct[:5])
    yield bad("negative_keep", "fewer than none", "AcceptsImpossible", -1, distinct[:5])
    yield bad("nan", "one score is NaN", "AcceptsNotFinite", 2, rows([1, math.nan, 2]))


def _of_queries() -> Iterator[VectorCase]:
    def case(
        name: str, comment: str, flags: str, convention: str, keep: int, queries: Tensor, **more: Any
    ) -> VectorCase:
        chosen = CONVENTIONS[convention]
        errors = {name: token_score_error(queries, chosen, dtype) for name, dtype in DTYPES.items()}
        errors = {name: float(rounded_up(torch.tensor(error))) for name, error in errors.items()}
        cut = Cut((Row(token_entropy(queries, chosen), keep),), errors)
        inputs = {"queries": queries, "keep": keep}
        units = {"kept": "positions"}
        return counted(
            "token_selection", name, comment, flags, inputs, units=units, convention=convention, cut=cut, **more
        )

    scales = 2.0 ** integers("selection/scales", 12, 1, 1, low=-2, high=2)
    queries = numbers("selection/queries", 12, 4, 6) * scales
    for convention in CONVENTIONS:
        comment = "five of twelve tokens; the gap at the cut is wide in float32 too"
        yield case("separated", comment, "KeepsLowest OtherConvention", convention, 5, queries)
    close = queries[:6].clone()
    close[4] = close[1]
    close[1, 0, 0] += 2.0**-18
    comment = "two tokens at the cut differ by less than float32 can tell, by more than float64 needs"
    yield case("near_tie", comment, "HalfPrecisionScores", "paper", _rank(close, 1, 4), close)
    twins = queries[:6].clone()
    twins[4] = twins[1].flip(0)
    keep = _rank(twins, 1, 4)
    better = set(token_entropy(twins).sort(descending=True).indices[: keep - 1].tolist())
    earlier, later = (torch.tensor(sorted({token, *better})) for token in (1, 4))
    comment = "two tokens at the cut have the same heads in another order: equal scores, but for rounding"
    rounding = Alternative("rounding in the scores decides for the later one", {"kept": later})
    more = {"found": {"kept": earlier}, "alternatives": (rounding,)}
    yield case("twins", comment, "KeepsLowest", "paper", keep, twins, **more)
    bad = queries[:3].clone()
    bad[1, 1, 1] = math.nan
    inputs = {"queries": bad, "keep": 1}
    yield refused("token_selection", "nan", "one query is NaN", "AcceptsNotFinite", inputs, "paper")


def _rank(queries: Tensor, one: int, other: int) -> int:
    """How many to keep so that the cut lies between two tokens whose scores are neighbours."""
    scores = token_entropy(queries)
    return int((scores > torch.maximum(scores[one], scores[other])).sum()) + 1


def _positions() -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, row: list[int], keep: int, **more: Any) -> VectorCase:
        inputs: dict[str, Any] = {
            "image_index": torch.tensor(row),
            "attended": torch.tensor(more.pop("attended", [1] * len(row))),
            "scores": integers(f"positions/{name}", len(row), low=0, high=2**12) / 64,
            "keep": keep,
            "over_images": "each",
            "layers": 4,
            "prune_layer": 2,
        }
        units = {"places": "places", "positions": "positions", "cache_lengths": "entries", "next_position": "positions"}
        return counted("kept_positions", name, comment, flags, inputs | more, units=units)

    text, moved = [-1] * 3, "PositionsRenumbered DecodeFromShortened"
    one = [*text, *[0] * 8, *text]
    yield case("one_image", "four of eight visual tokens", f"{moved} TextPruned PruneLayerOffByOne", one, 4)
    yield case("last_layer", "pruned at the last layer", "PruneLayerOffByOne", one, 4, prune_layer=3)
    two = [*text, *[0] * 5, -1, *[1] * 5, -1]
    yield case("both_images", "five of ten, three of the first", f"{moved} SecondImageIgnored OverImages", two, 5)
    yield case("competing", "five of ten, whichever image they are of", "OverImages", two, 5, over_images="all")
    unequal = [0, 0, -1, *[1] * 6, *text]
    yield case("unequal_images", "three of eight: one of two and two of six", "OverImages", unequal, 3)
    video = [-1, *[frame for frame in range(4) for _ in range(4)], *text]
    yield case("video", "six of sixteen, four frames without text between", moved, video, 6)
    padded = [-1, -1, *one]
    yield case("padded", "padding before the prompt", "PaddingCounted", padded, 4, attended=[0, 0, *[1] * 14])
    yield case("keep_all", "all are kept", "TextPruned", one, 8)
    yield case("keep_none", "none is kept", "DecodeFromShortened", one, 0)
    yield refused(
        "kept_positions",
        "too_many",
        "more than there are",
        "AcceptsImpossible",
        {
            "image_index": torch.tensor(one),
            "attended": torch.ones(14, dtype=torch.int64),
            "scores": torch.zeros(14, dtype=torch.float64),
            "keep": 9,
            "over_images": "each",
            "layers": 4,
            "prune_layer": 2,
        },
    )

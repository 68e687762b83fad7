"""Vectors of section 5 as a whole: a pruned prefill of a tiny random decoder, and decoding after it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ....scoring import CONVENTIONS, Convention
from ...contracts.masked import as_prompt, masked_prefill, scores_of_prompt
from ...inputs.prompts import Prompt
from ...plain.decoder import masked_run, pruned_run
from ...tolerances import decoder_allowance, token_score_error
from .case import DTYPES, Cut, Expected, Row, VectorCase, rounded_up
from .decoder import SIZES, weights
from .draws import integers


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    one = [-1, -1, 0, 0, 0, 0, 0, 0, -1, -1]
    two = [-1, 0, 0, 0, 0, -1, 1, 1, 1, 1, 1, 1, -1]
    padded = [-1, -1, -1, 0, 0, 0, 0, 0, -1, -1]
    yield _case(
        "one_image",
        "three of six visual tokens between words, two tokens decoded afterwards",
        "KeepsLowest QueriesOfPruneLayer PruneLayerOffByOne TextPruned PositionsRenumbered DecodeFromShortened "
        "InterleavedRotary InterleavedGroups DuplicatedCache",
        one,
        keep=3,
        prune_layer=1,
    )
    yield _case(
        "later_layer", "pruned at the last layer", "QueriesOfPruneLayer PruneLayerOffByOne", one, keep=2, prune_layer=2
    )
    yield _case(
        "several_images",
        "five of ten visual tokens of two images: two of the first and three of the second",
        "SecondImageIgnored OverImages TextPruned",
        two,
        keep=5,
        prune_layer=1,
    )
    yield _case(
        "released",
        "scored as the released code does",
        "OtherConvention",
        one,
        convention="released",
        keep=3,
        prune_layer=1,
    )
    yield _case(
        "padded",
        "two slots of padding stand before the prompt",
        "PaddingAttended StaleMask",
        padded,
        keep=2,
        prune_layer=1,
        attended=[0, 0, *[1] * 8],
    )
    yield _case(
        "given_selection",
        "the selection is given: arithmetic alone",
        "PositionsRenumbered DecodeFromShortened DuplicatedCache",
        one,
        keep=3,
        prune_layer=1,
        given=[0, 1, 2, 5, 7, 8, 9],
    )
    yield _case(
        "far_positions",
        "positions from 3,000 on, a step of two between them",
        "PositionsRenumbered DecodeFromShortened InterleavedRotary",
        one,
        keep=3,
        prune_layer=1,
        start=3000,
        stride=2,
    )
    yield _case("keep_all", "all are kept: no pruning", "DuplicatedCache InterleavedGroups", one, keep=6, prune_layer=1)
    yield _case(
        "keep_none",
        "none is kept: the words alone go on",
        "KeepOffByOne PositionsRenumbered",
        one,
        keep=0,
        prune_layer=1,
    )


def _case(
    name: str,
    comment: str,
    flags: str,
    image_index: list[int],
    *,
    keep: int,
    prune_layer: int,
    convention: str = "paper",
    attended: list[int] | None = None,
    given: list[int] | None = None,
    start: int = 0,
    stride: int = 1,
) -> VectorCase:
    seen = torch.tensor(attended or [1] * len(image_index))
    inputs: dict[str, Any] = {
        "weights": weights(),
        "sizes": SIZES,
        "embeddings": integers(f"prefill/{name}", len(image_index), 12) / 64,
        "positions": start + stride * (seen.cumsum(0) - 1).clamp(min=0),
        "image_index": torch.tensor(image_index),
        "attended": seen,
        "continuation": integers("prefill/continuation", 2, 12) / 64,
        "prune_layer": prune_layer,
        "keep": keep,
    }
    injected = None if given is None else torch.tensor(given)
    kept, logits = masked_prefill(convention)(**inputs, kept=injected)
    tolerance, cut = _accuracy(as_prompt(**inputs, kept=kept), CONVENTIONS[convention])
    return VectorCase(
        f"pruned_prefill/{name}",
        "pruned_prefill",
        convention,
        comment,
        tuple(flags.split()),
        inputs if injected is None else inputs | {"kept": injected},
        "must_match",
        {
            "kept": Expected(kept, "exact", "places"),
            "logits": Expected(
                logits, "close", "logits", {name: one.expand_as(logits) for name, one in tolerance.items()}
            ),
        },
        cut if injected is None else None,
    )


def _accuracy(prompt: Prompt, convention: Convention) -> tuple[dict[str, Tensor], Cut]:
    """What logits and scores may be off, by dtype, as in the contract; and where the scores are cut."""
    remaining = prompt.remaining(prompt.injected)
    exact = prompt.run(masked_run, remaining)
    queries, scores = exact.queries[: len(prompt.embeddings)], scores_of_prompt(exact, prompt, convention)
    tolerance, errors = {}, {}
    for name, dtype in DTYPES.items():
        plain = prompt.to(dtype).run(pruned_run, remaining)
        shaken = [prompt.shaken(dtype, seed).run(masked_run, remaining) for seed in range(2)]
        tolerance[name] = rounded_up(decoder_allowance(exact.logits, plain.logits, [r.logits for r in shaken], dtype))
        moved = [scores_of_prompt(run, prompt, convention) for run in shaken]
        off = decoder_allowance(scores, scores_of_prompt(plain, prompt, convention), moved, dtype)
        errors[name] = float(rounded_up(off + token_score_error(queries, convention, dtype)))
    visual = [torch.nonzero(prompt.image_index == image).flatten() for image in range(prompt.images)]
    rows = tuple(Row(scores[own], int(torch.isin(own, prompt.injected).sum())) for own in visual)
    return tolerance, Cut(rows, errors)

"""Contract of section 5: the tokens of the highest scores, as ascending positions."""

from collections.abc import Callable

import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from ...pruning import select_tokens
from ..inputs.case import Case, Setting
from ..inputs.scores import build, cuts, empty_batches, impossible_keeps, real, scores
from ..trial.answers import refused
from ..trial.trial import Trial
from .contract import Contract, Law, Named


def _answered(trial: Trial) -> tuple[Tensor, Tensor, int]:
    """The scores, row by row, what the candidate keeps of each row, and how many it was to keep."""
    given, keep = build(trial.case, trial.setting.dtype), int(trial.case.numbers["keep"])
    got = trial.tensor(trial.call(given, keep), (*given.shape[:-1], keep), floating=False)
    rows = given.reshape(-1, given.shape[-1])
    return rows, got.reshape(len(rows), keep), keep


def _same_sets(trial: Trial) -> None:
    """Each row keeps the reference's tokens, in whatever order: scores are given, so nothing is rounded."""
    rows, got, keep = _answered(trial)
    expected = select_tokens(rows, keep)
    for number, (row, kept, wanted) in enumerate(zip(rows, got.tolist(), expected.tolist(), strict=True)):
        if sorted(kept) == wanted:
            continue
        missing = sorted(set(wanted) - set(kept))
        wrong = sorted(set(kept) - set(wanted)) or [token for token in kept if kept.count(token) > 1]
        score = f" (score {float(row[wrong[0]]):.17g})" if 0 <= wrong[0] < len(row) else ""
        raise trial.broken(
            trial.law,
            f"row {number}: expected to keep {keep} of {len(row)} tokens, among them {missing[0]} (score "
            f"{float(row[missing[0]]):.17g}); got {wrong[0]}{score} in its place; {len(missing)} token(s) differ",
            index=(number, missing[0]),
        )


def _ascending(trial: Trial) -> None:
    """Positions of every row are in their original order."""
    _, got, _ = _answered(trial)
    falls = torch.nonzero(got.diff(dim=-1) < 0)
    if len(falls):
        row, place = falls[0].tolist()
        pair = got[row, place : place + 2].tolist()
        raise trial.broken(trial.law, f"row {row}: expected ascending positions, got {pair[0]} before {pair[1]}")


def _same_positions(trial: Trial) -> None:
    """Each row keeps the reference's tokens in their original order."""
    _same_sets(trial)
    _ascending(trial)


def _valid(trial: Trial) -> None:
    """Positions of every row exist, and none occurs twice."""
    rows, got, keep = _answered(trial)
    tokens = rows.shape[-1]
    for number, row in enumerate(got.tolist()):
        if outside := [token for token in row if not 0 <= token < tokens]:
            raise trial.broken(
                trial.law, f"row {number}: expected positions from 0 to {tokens - 1}, got {outside[0]}", index=(number,)
            )
        if len(set(row)) < keep:
            twice = next(token for token in row if row.count(token) > 1)
            raise trial.broken(trial.law, f"row {number}: expected {keep} different tokens, got {twice} more than once")


def _refuses(trial: Trial) -> None:
    """The candidate raises rather than keeping another number of tokens."""
    given, keep = build(trial.case, trial.setting.dtype), int(trial.case.numbers["keep"])
    refused(trial, given, keep, reason=f"{keep} of {given.shape[-1]} tokens cannot be kept")


def _law(
    name: str,
    statement: str,
    cases: Callable[[Setting], SearchStrategy[Case] | list[Case]],
    judge: Callable[[Trial], None] = _same_sets,
    first: int | None = None,
) -> Law:
    return Law(name, statement, cases, judge, first)


SELECT_TOKENS = Contract(
    "select_tokens",
    "select_tokens(scores, keep): (..., tokens), int -> (..., keep), integer positions, ascending",
    Named(
        "Positions of the highest scores, ascending; equal scores go to the earlier token (Eq. 5.2).",
        {"scores": "(..., tokens), float64: higher is kept first", "keep": "how many of each row"},
        {"kept": "(..., keep), strictly ascending positions"},
        lambda ask, given: {"kept": ask(given["scores"], given["keep"])},
        lambda _: select_tokens,
    ),
    lambda: ((torch.zeros(2), 1), {}),
    (
        _law("highest scores", "of distinct scores the highest are kept", lambda s: scores(s, "distinct", keep="some")),
        _law(
            "real sizes",
            "so they are of as many tokens as images and videos have, and in order",
            real,
            _same_positions,
            first=7,
        ),
        _law(
            "negative scores",
            "a negative score is lower, the further from zero",
            lambda s: scores(s, "distinct", keep="some", sign=-1),
        ),
        _law("earlier of equals", "a tie at the cut goes to the earlier tokens", lambda s: cuts(s, "tie at the cut")),
        _law(
            "plateaus", "few values, or a single one, for many tokens are no trouble", lambda s: scores(s, "plateaus")
        ),
        _law("near-ties", "scores one unit of rounding apart are no tie", lambda s: cuts(s, "near-tie at the cut")),
        _law("signed zeros", "zero and minus zero are a tie", lambda s: scores(s, "signed zeros", keep="some")),
        _law(
            "magnitudes",
            "any ordinary numbers of the dtype are compared",
            lambda s: scores(s, "magnitudes", keep="some"),
        ),
        _law(
            "ascending",
            "kept positions are in their original order",
            lambda s: scores(s, "distinct", axes=(0, 1), least_tokens=4, keep="some"),
            _ascending,
        ),
        _law(
            "existing and different",
            "kept positions exist in the row, and none occurs twice",
            lambda s: scores(s, "plateaus", axes=(0, 1), least_tokens=2, keep="some"),
            _valid,
        ),
        _law("none or all", "no token and every token can be kept", lambda s: scores(s, "distinct", keep="extremes")),
        _law(
            "row by row",
            "each row of a batch has a selection of its own",
            lambda s: scores(s, "distinct", axes=(1, 3), keep="some", step=16),
        ),
        _law(
            "views",
            "views are read as what they are, however they lie in memory",
            lambda s: scores(s, "distinct", axes=(0, 3), keep="some", layout=True),
        ),
        _law("empty batch", "no rows have no selections", empty_batches),
        _law("impossible keep", "a number below 0 or above that of the tokens is refused", impossible_keeps, _refuses),
    ),
)

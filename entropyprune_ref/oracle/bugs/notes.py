"""The bug classes that vectors are flagged with: what the bug is, what it does, and its known-wrong implementations."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """What a failure of a flagged case may mean.

    Attributes:
        bug: What the program does wrong.
        effect: What comes of it.
        known_wrong: Names in the catalogue of `oracle.bugs` (of whichever contract has one).
    """

    bug: str
    effect: str
    known_wrong: tuple[str, ...] = ()


NOTES: dict[str, Note] = {
    # entropies
    "NoCentring": Note(
        "the mean over rows is not subtracted", "a common vector counts as the largest direction", ("no centring",)
    ),
    "CentredOverFeatures": Note(
        "each row's own mean is subtracted", "the wrong axis is centred", ("centring over features",)
    ),
    "CentredOverTokens": Note(
        "heads are centred over tokens", "tokens depend on each other", ("centring over tokens",)
    ),
    "CentredOverLayers": Note(
        "states are centred over layers", "states depend on each other", ("centring over layers",)
    ),
    "Log2": Note("the logarithm is to base 2", "entropies in bits, too large by 1 / log 2", ("log2",)),
    "SingularValues": Note(
        "singular values are normalised, not their squares", "too large an entropy", ("singular values not squared",)
    ),
    "PowerIteration": Note(
        "only the leading eigenvalues are found", "small eigenvalues are missing", ("too short a power iteration",)
    ),
    "ClampedHigh": Note(
        "eigenvalues are raised to a large floor", "zero eigenvalues add entropy", ("eigenvalues clamped at 1e-3",)
    ),
    "HalfPrecision": Note("products are rounded to 16 bits", "three digits, or an overflow", ("half-precision Gram",)),
    "LogOfZero": Note("0 log 0 is computed, or the log of a negative eigenvalue", "NaN at low rank"),
    "ZeroVariance": Note(
        "the trace is divided by although it is zero", "NaN for equal rows", ("zero over zero without variance",)
    ),
    "AbsoluteEpsilon": Note(
        "a constant is added to the trace", "entropies of small features are wrong", ("1e-6 added to the trace",)
    ),
    "Cancellation": Note("the mean is subtracted after multiplying", "digits are lost far from zero"),
    "BatchMixed": Note(
        "matrices of a stack share a trace or a mean",
        "a matrix depends on its neighbours",
        ("one trace for the whole batch", "mean over the batch"),
    ),
    "OtherConvention": Note(
        "another convention of token entropy is computed",
        "other scores and other tokens kept",
        (
            "row-normalised passed off as paper",
            "released passed off as paper",
            "paper passed off as row-normalised",
            "paper passed off as released",
            "row-normalised passed off as released",
        ),
    ),
    "DividedByLogHeads": Note(
        "the entropy is divided by log heads", "units of log heads, not nats", ("wrongly divided by log h",)
    ),
    "NotDividedByLogHeads": Note(
        "the entropy is not divided by log heads", "nats, not units of log heads", ("not divided by log h",)
    ),
    "HeadsMinusOne": Note("the matrix is divided by heads - 1", "the energy is too large", ("division by h - 1",)),
    "HeadsFeaturesSwapped": Note(
        "heads and features change places in a reshape",
        "no error message where they are as many",
        ("heads and features swapped in the reshape",),
    ),
    "ZeroRow": Note(
        "a zero row is divided by its norm", "NaN, or a direction out of nothing", ("zero rows over zero",)
    ),
    "NormalizedBeforeCentring": Note(
        "rows are normalised before they are centred", "other directions", ("rows normalised before centring",)
    ),
    "RowNormalized": Note("tokens are divided by their norms", "outliers do not count", ("row-normalised",)),
    "StatesShifted": Note(
        "states are counted from the wrong end of a layer", "the curve is shifted", ("states shifted by one",)
    ),
    "LogOfOneHead": Note("log 1 is divided by", "infinity or NaN"),
    "AcceptsNotFinite": Note("NaN or infinity is computed with", "a wrong answer without a sound"),
    "AcceptsImpossible": Note(
        "an argument out of range is clipped or ignored",
        "a wrong answer without a sound",
        ("impossible keep clipped", "pruning before the first layer accepted"),
    ),
    # collapse layers
    "StateBeforeDrop": Note("the last state before the drop is named", "one layer early", ("state before the drop",)),
    "CountedFromLast": Note("layers are counted from the end", "a layer elsewhere", ("counted from the last layer",)),
    "CollapseOnFlat": Note(
        "an answer is given although nothing falls",
        "pruning where there is no reason to",
        ("collapse reported on a flat curve",),
    ),
    "RiseForDrop": Note(
        "differences have the wrong sign, or none",
        "the steepest rise is named",
        ("rise taken for drop", "largest change of either sign"),
    ),
    "FirstDrop": Note(
        "the first drop is taken", "a small drop hides the largest", ("first drop in place of the largest",)
    ),
    "LastDropIgnored": Note("the last difference is left out", "a late collapse is missed", ("last drop left out",)),
    "LastOfEqualDrops": Note("of equal drops the last is taken", "a later layer", ("last of equal drops",)),
    "RelativeDrop": Note(
        "drops are divided by the entropy before", "small entropies count too much", ("largest relative drop",)
    ),
    "LowestPoint": Note("the minimum of the curve is named", "any late layer", ("lowest point of the curve",)),
    "AbsoluteThreshold": Note(
        "drops below a constant are ignored",
        "no collapse in nats that are small",
        ("drops below a quarter of a nat ignored",),
    ),
    "ModeOverSamples": Note(
        "samples vote", "large drops count no more than small ones", ("mode over samples", "median over samples")
    ),
    "FirstSample": Note("one sample is read", "the others are ignored", ("first sample only",)),
    # budgets and selections
    "AverageKept": Note(
        "the average is kept from layer K on",
        "too many tokens",
        ("average taken for the number kept", "average over the pruned layers only"),
    ),
    "PruneLayerOffByOne": Note(
        "layers before the prune layer are miscounted by one",
        "one layer more or less runs pruned",
        ("pruned one layer early", "pruned one layer late", "K off by one", "prune layer off by one"),
    ),
    "RoundedBudget": Note(
        "the quotient is rounded, not truncated", "one token more", ("rounded in place of truncated",)
    ),
    "InfeasibleClipped": Note(
        "a negative count becomes 0", "a budget that is exceeded silently", ("infeasible average clipped silently",)
    ),
    "PruneLayerLowered": Note(
        "an infeasible budget moves the prune layer", "another experiment, silently", ("prune layer lowered silently",)
    ),
    "TruncatedTowardsZero": Note(
        "a quotient between -1 and 0 becomes 0",
        "a budget that is exceeded silently",
        ("a quotient between -1 and 0 truncated to none",),
    ),
    "BinaryFraction": Note("the average is computed with in binary", "one token less where decimals are exact"),
    "NoneTakenForOne": Note("at least one token is kept", "keep = 0 is not obeyed", ("none taken for one",)),
    "KeepsLowest": Note("the lowest scores are kept", "the opposite of the method", ("keeps the lowest",)),
    "KeepOffByOne": Note(
        "one token too many or too few is kept",
        "the budget is missed",
        ("keeps one more", "keeps one less", "one token too many", "a budget of none taken for no budget"),
    ),
    "UnsortedPositions": Note(
        "positions come by score, not ascending", "tokens change their order", ("positions in the order of scores",)
    ),
    "AbsoluteScores": Note("magnitudes are compared", "negative scores win", ("absolute values",)),
    "TieToLater": Note("equal scores go to the later token", "another choice on ties", ("ties to the later token",)),
    "TiedOnce": Note("equal scores are kept once", "others take their places", ("tied tokens counted once",)),
    "HalfPrecisionScores": Note(
        "scores are rounded before they are compared", "near-ties become ties", ("half-precision scores",)
    ),
    "MinusZeroBelowZero": Note("the bits of zeros are compared", "-0 loses against 0", ("minus zero below zero",)),
    "FlattenedBatch": Note("rows compete", "rows keep different numbers", ("top of the flattened batch",)),
    "OneForAllRows": Note("rows share a selection", "rows keep each other's tokens", ("one selection for all rows",)),
    # what is left
    "PositionsRenumbered": Note(
        "kept tokens are numbered anew", "rotary distances shrink", ("positions renumbered after pruning",)
    ),
    "DecodeFromShortened": Note(
        "decoding goes on at position T + k", "a position twice, and wrong distances", ("decoding from position T + k",)
    ),
    "TextPruned": Note("text tokens compete or are dropped", "words are lost", ("words compete with visual tokens",)),
    "SecondImageIgnored": Note(
        "only the first image is pruned, or kept",
        "the budget is missed or misspent",
        ("second image ignored: kept whole", "second image ignored: budget spent on the first"),
    ),
    "OverImages": Note(
        "images compete where each has its share, or the reverse", "other tokens", ("images compete for the budget",)
    ),
    "PaddingCounted": Note("padding counts as tokens", "positions and lengths are too large"),
    "PaddingAttended": Note(
        "padding is looked at",
        "logits depend on what stands in it",
        ("padding attended in prefill", "padding attended in decoding"),
    ),
    "StaleMask": Note(
        "the mask of the unpruned prompt is used",
        "tokens look at padding, or ahead",
        ("stale mask: that of the prompt, cut to length",),
    ),
    "QueriesOfPruneLayer": Note(
        "queries of layer K are scored, not of K - 1", "other tokens", ("queries of the prune layer",)
    ),
    "InterleavedRotary": Note("pairs (2i, 2i + 1) are rotated, not (i, i + half)", "another model"),
    "InterleavedGroups": Note(
        "query head i reads key head i modulo kv_heads", "another model", ("key/value heads interleaved",)
    ),
    "DuplicatedCache": Note(
        "a token is cached twice",
        "it weighs twice in attention",
        ("last token of the prompt cached twice", "decoded tokens cached twice"),
    ),
    # FLOPs
    "MlpMatrices": Note(
        "another number of MLP matrices is assumed",
        "a third of the MLP too little",
        ("MLP counted with two matrices", "MLP always of three matrices"),
    ),
    "MultiplyAdds": Note("a multiply-add counts as one", "half of the FLOPs", ("multiply-adds counted as one FLOP",)),
    "GroupedQueriesIgnored": Note(
        "as many key as query heads are assumed", "too many FLOPs", ("grouped-query attention ignored",)
    ),
    "HeadsFillHidden": Note(
        "heads * head_dim is taken for the hidden size", "wrong projections", ("heads assumed to fill the hidden size",)
    ),
    "AttentionRule": Note(
        "another rule for pairs of tokens is used",
        "n^2 is halved, missing or too many",
        ("n² halved", "causal pairs only", "attention ignored"),
    ),
    "TextForgotten": Note(
        "text is not counted from layer K on", "too few FLOPs", ("text tokens pruned too", "text tokens ignored")
    ),
    "Unpruned": Note("the budget is ignored", "the unpruned count", ("pruning ignored",)),
    "HeadPositions": Note("the language-model head is counted elsewhere", "positions too many or too few"),
    "ScoringForgotten": Note("the cost of the method is left out", "too few FLOPs"),
    "FloatCount": Note(
        "the count is a floating number", "an inexact count, above 2^53 at the latest", ("float64 total",)
    ),
}
"""All flags, in the order of the sections."""

"""Vectors of sections 1 and 4: entropies of features, and of the states of layers."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .building import entropic, refused
from .case import VectorCase
from .draws import integers, numbers, signs


def cases() -> Iterator[VectorCase]:
    """Yields all of them."""
    yield from _of_features()
    yield from _of_states()


def _of_features() -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, given: Tensor) -> VectorCase:
        return entropic("matrix_entropy", None, name, comment, flags, given)

    square = numbers("features/square", 6, 6)
    yield case(
        "tall", "more samples than features", "NoCentring CentredOverFeatures Log2", numbers("features/tall", 16, 3)
    )
    yield case(
        "wide", "more features than samples", "NoCentring CentredOverFeatures Log2", numbers("features/wide", 4, 17)
    )
    yield case("square", "as many samples as features", "CentredOverFeatures HalfPrecision", square)
    yield case(
        "known_spectrum",
        "eigenvalues 16/21, 4/21 and 1/21: columns of a Hadamard matrix times 4, 2 and 1",
        "SingularValues Log2 PowerIteration",
        signs(3)[:, 1:4] * torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64),
    )
    yield case("equal_spectrum", "five equal eigenvalues: log 5", "Log2 ClampedHigh", signs(3)[:, 1:6] / 4)
    yield case(
        "decaying_spectrum",
        "eigenvalues 4^0 to 4^-9: the small ones count too",
        "ClampedHigh PowerIteration HalfPrecision",
        signs(4)[:, 1:11] * 2.0 ** -torch.arange(10, dtype=torch.float64),
    )
    yield case(
        "near_degenerate",
        "eigenvalues that differ by two in a million",
        "Log2 SingularValues PowerIteration",
        signs(3)[:, 1:4] * torch.tensor([1.0, 1.0 + 2.0**-20, 2.0], dtype=torch.float64),
    )
    line = integers("features/line", 7, 1, low=-9, high=9) * integers("features/direction", 1, 5, low=-9, high=9)
    yield case("rank_one", "all samples on one line: 0", "LogOfZero ClampedHigh", line)
    yield case(
        "rank_two",
        "two directions among six: eigenvalues of zero add nothing",
        "LogOfZero",
        line @ square[:5] + line[:, :1],
    )
    yield case(
        "no_variance", "equal samples: 0 by definition", "ZeroVariance", numbers("features/row", 1, 5).repeat(4, 1)
    )
    yield case("one_sample", "a single sample has no variance: 0", "ZeroVariance", numbers("features/row", 1, 5))
    yield case("one_feature", "a single feature: 0", "LogOfZero ClampedHigh", numbers("features/column", 6, 1))
    yield case("tiny", "entries of 1e-12: entropy ignores scale", "AbsoluteEpsilon", square * 2.0**-40)
    yield case("huge", "entries of 1e12: entropy ignores scale", "HalfPrecision", square * 2.0**40)
    yield case(
        "shifted",
        "all samples far from zero: centre first, then multiply",
        "NoCentring Cancellation",
        numbers("features/tall", 16, 3)[:15] + 2**14 * numbers("features/common", 1, 3),
    )
    yield case(
        "batch",
        "a stack whose matrices differ in scale by 2^6",
        "BatchMixed",
        numbers("features/batch", 2, 3, 5, 4) * 2.0 ** torch.arange(6, dtype=torch.float64).reshape(2, 3, 1, 1),
    )
    for name, value in (("nan", math.nan), ("infinity", math.inf)):
        bad = square.clone()
        bad[2, 1] = value
        yield refused("matrix_entropy", name, f"one entry is {value}", "AcceptsNotFinite", {"features": bad})
    nothing = torch.zeros(0, 4, dtype=torch.float64)
    yield refused("matrix_entropy", "no_samples", "no sample at all", "AcceptsImpossible", {"features": nothing})


def _of_states() -> Iterator[VectorCase]:
    def case(name: str, comment: str, flags: str, given: Tensor) -> VectorCase:
        return entropic("layer_entropy", None, name, comment, flags, given)

    plain = numbers("states/plain", 5, 7, 4)
    yield case("plain", "five states of seven tokens", "NoCentring CentredOverFeatures CentredOverLayers", plain)
    scales = torch.tensor([1.0, 1.0, 1 / 16, 1 / 16, 1 / 256], dtype=torch.float64)
    falling = torch.cat([plain[..., :1], plain[..., 1:] * scales[:, None, None]], -1)
    yield case("falling", "one feature outgrows the others", "Log2 StatesShifted RowNormalized", falling)
    yield case(
        "samples", "two samples of three states", "StatesShifted CentredOverLayers", numbers("states/two", 2, 3, 4, 6)
    )
    flat = plain.clone()
    flat[2] = plain[2, :1]
    yield case("no_variance", "at one state all tokens are equal: 0 there", "ZeroVariance", flat)
    bad = plain.clone()
    bad[4, 0, 0] = math.nan
    yield refused("layer_entropy", "nan", "the last state has a NaN", "AcceptsNotFinite", {"states": bad})

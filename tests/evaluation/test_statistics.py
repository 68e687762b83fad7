"""Intervals: they are those of scipy, and cover what they say."""

import math

import numpy as np
import pytest

from entropyprune_ref.evaluation.statistics import mean_interval, rounded, wilson


def test_wilson_is_the_interval_of_scipy() -> None:
    from scipy.stats import binomtest

    for right, asked in [(0, 10), (7, 10), (500, 500), (481, 500)]:
        low, high = binomtest(right, asked).proportion_ci(method="wilson")
        share, ours_low, ours_high = wilson(right, asked)
        np.testing.assert_allclose((share, ours_low, ours_high), (right / asked, low, high), rtol=1e-12, atol=1e-15)


def test_wilson_stays_between_none_and_all_to_the_last_bit() -> None:
    """As computed, some bounds of samples without a hit, or without a miss, would lie just outside."""
    for asked in range(1, 200):
        assert wilson(0, asked)[1] == pytest.approx(0, abs=1e-15) and wilson(0, asked)[1] >= 0
        assert wilson(asked, asked)[2] == pytest.approx(1, abs=1e-15) and wilson(asked, asked)[2] <= 1


def test_mean_interval_covers_the_mean_as_often_as_it_says() -> None:
    """400 samples of 200: the share covered is within four standard deviations (0.044) of 95 %."""
    random = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for _, low, high in (mean_interval(random.random(200) < 0.3) for _ in range(400))]
    assert abs(np.mean(covered) - 0.95) < 0.044


def test_mean_interval_of_one_image_knows_nothing() -> None:
    assert mean_interval(np.array([1.0]))[1:] == (-np.inf, np.inf)
    assert mean_interval(np.array([0.0, 1.0]))[1:] == pytest.approx((0.5 - 1.96 * 0.5, 0.5 + 1.96 * 0.5), rel=1e-4)


def test_rounded_keeps_six_digits_and_the_shape() -> None:
    assert rounded({"a": [1 / 3, (2, math.nan)], "b": "c"}) == {"a": [0.333333, [2, None]], "b": "c"}

"""From verdicts to numbers with intervals."""

from typing import Any

import numpy as np

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

Interval = tuple[float, float, float]
"""A number and its 95 % interval."""


def wilson(right: int, asked: int) -> Interval:
    """Returns a share with its 95 % Wilson score interval (Wilson 1927), sound at 0 and 1.

    Examples:
        >>> [round(x, 3) for x in wilson(10, 10)]
        [1.0, 0.722, 1.0]
    """
    share = right / asked
    middle = (share + Z**2 / (2 * asked)) / (1 + Z**2 / asked)
    half = Z / (1 + Z**2 / asked) * (share * (1 - share) / asked + Z**2 / (4 * asked**2)) ** 0.5
    return share, max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: np.ndarray) -> Interval:
    """Returns a mean over images with its 95 % interval (normal; an image is the independent unit).

    Args:
        values: `(images,)`, one number an image, such as its share of right answers.
    """
    mean = float(values.mean())
    half = Z * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("inf")
    return mean, mean - half, mean + half


def rounded(value: Any) -> Any:
    """Returns floats with six digits behind the point, so that results are readable and small; NaN becomes None."""
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value

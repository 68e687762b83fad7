"""Sizes that hurt: kernels are tiled, so bugs sit at block sizes and powers of two, and one beside them.

Small sizes are the most frequent, so that failures shrink to a case that one can follow by hand; at most one axis of an
input is large, or two are of middling size, so that the work of a case stays bounded. What only whole models have is
listed in the contracts, under the law "real sizes".
"""

import math

from hypothesis import strategies as st

from .case import Draw

LADDER = (1, 2, 3, *(n + by for n in (2**power for power in range(3, 12)) for by in (-1, 0, 1)))
"""1, 2, 3, 7, 8, 9, 15, 16, 17, ..., 2,047, 2,048, 2,049."""

SMALL = 9
"""Up to here sizes are as good as any other for a failure to be found and shown at."""

WORK = 2**21
"""Most multiply-adds of one product of a drawn matrix with itself."""

EIGENVALUES = 2**32
"""Most of the third powers of the larger sides of a stack: a candidate may take the eigenvalues of either side."""


def small(least: int = 1) -> st.SearchStrategy[int]:
    """Sizes up to `SMALL`."""
    return st.integers(least, max(SMALL, least))


def rungs(most: int, least: int = 1) -> st.SearchStrategy[int]:
    """Sizes of the ladder up to `most`; those above 129, which cost most, in a third of the draws."""
    fit = [rung for rung in LADDER if least <= rung <= most] or [least]
    low = [rung for rung in fit if rung <= 129] or fit
    return st.one_of(st.sampled_from(low), st.sampled_from(low), st.sampled_from(fit))


def sizes(most: int = 2049, least: int = 1) -> st.SearchStrategy[int]:
    """One size: small in two of three draws, from the ladder in the third."""
    return st.one_of(small(least), small(least), rungs(most, least))


@st.composite
def shapes(
    draw: Draw, axes: int, *, least_rows: int = 1, least_rank: int = 0, rows: tuple[int, ...] | None = None
) -> tuple[list[int], int, int]:
    """Draws leading axes (at least `axes`, at most three), rows and columns: `(batch, rows, columns)`.

    Args:
        draw: Hypothesis's way to draw.
        axes: Leading axes that a contract needs.
        least_rows: Fewest rows.
        least_rank: Fewest of `min(rows - 1, columns)`.
        rows: The only numbers of rows that will do, ascending; default: any.
    """
    large = draw(st.sampled_from(("none", "none", "none", "rows", "columns", "both", "leading")), label="large")
    few, least_columns = max(least_rows, least_rank + 1), max(1, least_rank)
    other = st.one_of(small(), st.sampled_from((17, 33)))
    tall, wide = {
        "rows": (rungs(1025, few), other),
        "columns": (other, rungs(1025, least_columns)),
        "both": (rungs(129, few), rungs(129, least_columns)),
    }.get(large, (small(few), small(least_columns)))
    if rows is not None:
        fit = [count for count in rows if count >= few and (large == "rows" or count <= 16)]
        tall = st.sampled_from(fit)
    height = max(draw(tall, label="rows"), few)
    width = max(draw(wide, label="columns"), least_columns)
    width = min(width, max(least_columns, WORK // height**2)) if height <= width else width
    batch = draw(st.lists(st.integers(1, 3), min_size=axes, max_size=3), label="batch")
    if large == "leading" and batch:
        batch[draw(st.integers(0, len(batch) - 1), label="large axis")] = draw(rungs(2049), label="large size")
    while max(batch, default=1) > 1 and (
        math.prod(batch) * height * width > 2**18 or math.prod(batch) * max(height, width) ** 3 > EIGENVALUES
    ):
        batch[batch.index(max(batch))] = 1
    return batch, height, width

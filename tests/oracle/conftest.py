"""Shapes in signatures are checked where the oracle's own functions are tested, not in its sweeps over candidates."""

from collections.abc import Iterator

import jaxtyping
import pytest

CHECKED = ("test_matrices", "test_tolerances", "test_check", "test_cli_check")


@pytest.fixture(autouse=True)
def _sweeps_are_not_slowed_by_shape_checks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A sweep calls the same few functions thousands of times; the checks would take half of its time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", before or request.module.__name__.rsplit(".")[-1] not in CHECKED)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)

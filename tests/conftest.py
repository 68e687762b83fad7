"""Shared settings: hypothesis profiles, deterministic torch, and shapes checked at run time."""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.register_profile("nightly", parent=settings.get_profile("dev"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Whatever a test draws without a generator of its own is the same on every run."""
    torch.manual_seed(0)


@pytest.fixture
def own_checks() -> Iterator[None]:
    """Lets bad arguments through to the function: the run-time shape checks of the test suite would stop them first."""
    disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", disabled)

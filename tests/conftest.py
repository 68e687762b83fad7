"""Shared settings: hypothesis profiles, deterministic torch, and shapes checked at run time."""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

# "ci" draws the same examples on every machine and in every run, and remembers nothing between runs; "explore" draws
# anew each time; "quick" is for every save; "mutate" stops at the first example that fails, whatever it looks like.
settings.register_profile(
    "ci",
    derandomize=True,  # which implies that there is no database of examples
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", parent=settings.get_profile("ci"), max_examples=5)
settings.register_profile(
    "mutate",
    parent=settings.get_profile("ci"),
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
settings.register_profile(
    "explore",
    parent=settings.get_profile("ci"),
    derandomize=False,
    database=None,
    max_examples=500,
    print_blob=True,
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

if settings().derandomize and hasattr(providers, "_get_local_constants"):
    # Hypothesis also draws the constants that it finds in whatever modules have been imported so far, so that even
    # derandomised draws would depend on which tests ran before in the same process.
    NO_CONSTANTS = type(providers._local_constants)()
    providers._get_local_constants = lambda: NO_CONSTANTS


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Whatever a test draws without a generator of its own is the same on every run."""
    torch.manual_seed(0)


SHARED = {
    "test_check": "token_entropy",
    "test_variants": "token_entropy",
    "test_collapse_contract": "collapse_layer",
    "test_prefill_contract": "pruned_prefill",
    "test_selection_contract": "select_tokens",
}
"""Files that try candidates in one contract: what the reference says of a case is kept for the next one."""


def _worker(item: pytest.Item) -> str:
    """What shares fixtures, or answers of the reference, runs in one process."""
    given = getattr(item, "callspec", None)
    params = given.params if given is not None else {}
    contract = getattr(params.get("mutant"), "contract", params.get("contract"))
    return contract if isinstance(contract, str) else SHARED.get(item.path.stem, str(item.path))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_worker(item)))
    # the long ones first, so that no worker waits for the other at the end
    items.sort(key=lambda item: item.path.parent.name not in ("oracle", "evaluation"))


END_TO_END = {"hf", "parity", "real"}
"""Folders of tests in which shapes are not checked once more: each function has tests of its own."""


@pytest.fixture(autouse=True)
def _end_to_end_is_not_slowed_by_shape_checks(request: pytest.FixtureRequest) -> None:
    if request.path.parent.name in END_TO_END:
        request.getfixturevalue("own_checks")


@pytest.fixture
def own_checks() -> Iterator[None]:
    """Lets bad arguments through to the function: the run-time shape checks of the test suite would stop them first."""
    disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", disabled)

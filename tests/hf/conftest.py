"""Fixtures of the tests of models of the Hugging Face library."""

from collections.abc import Iterator

import pytest

from tests.hf.reference import IN_FLOAT32, WideTorch


@pytest.fixture(autouse=True, scope="module")
def _wide(request: pytest.FixtureRequest) -> Iterator[None]:
    """Norms and softmax of the library, which are float32 in a float64 model, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        for module in IN_FLOAT32:
            patch.setattr(module, "torch", WideTorch())
        yield

"""Pruned in place is masked out, and everything that follows from it, on random models of every family."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hf.laws import cases, check
from tests.hf.tiny import FAMILIES

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "LlavaNext-Mistral"])
@settings(max_examples=min(500, 2 * settings().max_examples))
@given(st.data())
def test_pruned_in_place_is_the_forward_pass_in_which_dropped_tokens_are_masked_out(
    name: str, data: st.DataObject
) -> None:
    check(data.draw(cases(name)))


@given(st.data())
def test_pruned_in_place_is_masked_out_whatever_the_text_model_of_a_family_is(data: st.DataObject) -> None:
    """LLaVA-NeXT comes with Llama, above, and with Mistral."""
    check(data.draw(cases("LlavaNext-Mistral")))

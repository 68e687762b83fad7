"""One prompt for every family: the first place to look when something is wrong with all of them."""

import pytest

from tests.hf.laws import check, fixed_case
from tests.hf.tiny import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_pruned_in_place(name: str) -> None:
    check(fixed_case(name))

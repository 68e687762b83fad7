"""Wrong implementations by the thousand: each with a name that builds it again, and a witness or a reason."""

import pytest

from entropyprune_ref.oracle import check
from entropyprune_ref.oracle.bugs.generated import generated, generated_by_name
from entropyprune_ref.oracle.bugs.generated.catalogue import PLAIN
from entropyprune_ref.oracle.bugs.generated.steps import Steps
from entropyprune_ref.oracle.bugs.generated.witnesses import witness


def test_generated_names_find_each_again() -> None:
    everything = generated()
    assert len(everything) >= 1000
    assert len({entry.name for entry in everything}) == len(everything)
    assert all(generated_by_name(entry.name) == entry for entry in everything[::97])


@pytest.mark.parametrize(("contract", "convention"), PLAIN)
def test_plain_implementations_in_steps_are_right(contract: str, convention: str) -> None:
    """So what is wrong with a generated one is its bug."""
    plain = PLAIN[contract, convention]
    report = check(contract, lambda *a, **o: plain(Steps(), *a, **o), convention=convention, size="quick")
    assert report.passed, str(report)


def test_a_witness_tells_a_bug_from_none() -> None:
    assert witness(generated_by_name("tokens_to_keep · paper · kept: one more")) == "budget 0"
    assert witness(generated_by_name("matrix_entropy · paper · centred rows: step doubled")) is None

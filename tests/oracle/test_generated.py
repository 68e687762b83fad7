"""Wrong implementations by the thousand: each with a name that builds it again, and a witness or a reason."""

from dataclasses import replace
from zlib import crc32

import pytest

from entropyprune_ref.oracle import CONTRACTS, check
from entropyprune_ref.oracle.bugs.generated import Generated, generated, generated_by_name, sample
from entropyprune_ref.oracle.bugs.generated.catalogue import PLAIN
from entropyprune_ref.oracle.bugs.generated.steps import Bug, Steps
from entropyprune_ref.oracle.bugs.generated.witnesses import witness
from entropyprune_ref.oracle.judging import power, selftest, tabled

CHEAP = ("collapse_layer", "select_tokens", "tokens_to_keep", "prefill_flops")


def drawn(names: list[str], count: int) -> list[str]:
    """Some of them, the same on every run."""
    return sorted(names, key=lambda name: crc32(name[::-1].encode()))[:count]


def test_generated_names_find_each_again() -> None:
    everything = generated()
    assert len({entry.name for entry in everything}) == len(everything) > len(sample()) >= 1000
    assert all(generated_by_name(entry.name) == entry for entry in everything[::997])
    assert {entry.contract for entry in sample()} == set(CONTRACTS)


@pytest.mark.parametrize(("contract", "convention"), PLAIN)
def test_plain_implementations_in_steps_are_right(contract: str, convention: str) -> None:
    """So what is wrong with a generated one is its bug: three cases of every law hold of the one without a bug."""
    plain = PLAIN[contract, convention]
    setting = tabled.setting_of(Generated(contract, plain_convention(convention), Bug("none", "none")))
    for law in CONTRACTS[contract].laws:
        verdict = selftest.judged(replace(law, first=1), lambda *a, **o: plain(Steps(), *a, **o), setting, 3)
        assert verdict.failure is None, str(verdict.failure)


def plain_convention(name: str) -> selftest.Convention:
    return selftest.CONVENTIONS[name]


def test_a_witness_tells_a_bug_from_none() -> None:
    assert witness(generated_by_name("tokens_to_keep · paper · kept: one more")) == "budget 0"
    assert witness(generated_by_name("matrix_entropy · paper · clamped: step doubled")) is None


def test_the_table_of_generated_bugs_is_of_these_and_none_is_missed() -> None:
    record = tabled.recorded()
    assert record["digest"] == tabled.digest(), "run: entropyprune-ref check --self-test --all --report FILE"
    cells = [counts for by_contract in record["table"].values() for counts in by_contract.values()]
    bugs, equivalent, caught, not_run = map(sum, zip(*cells, strict=True))
    assert bugs == len(sample()) and equivalent == len(record["equivalent"])
    assert not_run == 0 and caught == bugs - equivalent >= 1000 and record["missed"] == []
    assert all(record["equivalent"].values())  # a reason for each


def test_a_sample_of_the_generated_bugs_is_caught_today() -> None:
    """Thirty of them; all are: entropyprune-ref check --self-test --all."""
    record = tabled.recorded()
    names = [entry.name for entry in sample() if entry.name not in record["equivalent"] and not_dear(entry)]
    for name in drawn(names, 30):
        entry = generated_by_name(name)
        assert selftest.caught_by(entry.implementation(), tabled.setting_of(entry), first=tabled.FIRST), name


def not_dear(entry: Generated) -> bool:
    """What shows in some of many matrices only may take seconds."""
    return entry.contract in CHEAP or (entry.contract == "matrix_entropy" and not entry.name.endswith("(lead)"))


def test_equivalent_ones_have_no_witness_today() -> None:
    names = [name for name in tabled.recorded()["equivalent"] if name.startswith(CHEAP)]
    assert all(witness(generated_by_name(name)) is None for name in drawn(names, 5))


def test_power_is_recorded_for_settings_of_this_catalogue() -> None:
    record = power.recorded()
    assert record["catalogue"] == selftest.digest(), "run: entropyprune-ref check --self-test --all --report FILE"
    settings = {power.key(setting): setting for setting in selftest.settings()}
    assert set(record["settings"]) == set(settings)
    for name, entry in record["settings"].items():
        setting = settings[name]
        known = [mutant.name for mutant in selftest.known_for(setting)]
        assert entry["known"] == len(known) and set(entry["missed"]) <= set(known)
        if setting.computes_in.itemsize >= 4:
            assert not entry["missed"], name  # computed in float32 or better, all of them are told apart


def test_a_report_ends_with_what_it_is_worth() -> None:
    measured = power.recorded()["settings"]
    setting = next(setting for setting in selftest.settings() if power.key(setting) in measured)
    found = measured[power.key(setting)]
    told = f"{found['known'] - len(found['missed'])} of {found['known']} known-wrong implementations are told"
    assert told in power.power_line(setting)
    report = check("tokens_to_keep", one_more, size="quick", shrink=False)
    assert ("known-wrong implementations are told" in str(report)) == (
        "tokens_to_keep paper float64 float64" in measured
    )


def one_more(average: float, *, visual_tokens: int, layers: int, prune_layer: int) -> int:
    return 1

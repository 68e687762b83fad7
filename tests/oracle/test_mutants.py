"""The oracle can fail: every known-wrong implementation of the catalogue is caught, by a law that it breaks."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from entropyprune_ref import collapse_layer, layer_entropy, matrix_entropy, select_tokens, token_entropy, tokens_to_keep
from entropyprune_ref.flops import DecoderSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.oracle import CONTRACTS, check, self_test
from entropyprune_ref.oracle.bugs import MUTANTS, Mutant
from entropyprune_ref.oracle.contracts.flops import SIZES as NUMBERS
from entropyprune_ref.oracle.judging.asked import prepared
from entropyprune_ref.oracle.judging.trying import SIZES, judged
from tests.oracle.prefill_variants import by_llava

BY_LAW = {
    "no centring": "common shift",
    "log2": "equal eigenvalues",
    "divided by the log of the samples": "equal eigenvalues",
    "eigenvalues clamped at 1e-3": "rank one",
    "1e-6 added to the trace": "scale",
    "views read in memory order": "views",
    "zero over zero without variance": "finite",
    "one trace for the whole batch": "part by part",
    "mean over the batch": "part by part",
    "centres its input in place": "input unchanged",
    "centring over tokens": "part by part",
    "half-precision Gram": "value",
    "row-normalised passed off as paper": "value",
    "released passed off as paper": "scale",
    "paper passed off as released": "scale",
    "paper passed off as row-normalised": "value",
    "too short a power iteration": "value",
    "heads and features swapped in the reshape": "value",
    "division by h - 1": "value",
    "wrongly divided by log h": "value",
    "not divided by log h": "value",
    "last state left out": "shape",
    "sign of the entropy": "range",
}
"""Bugs of entropies, and a law that each must break among others."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.contract}-{m.convention.name}-{m.name}")
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    contract, setting = prepared(
        mutant.contract, mutant.implementation, None, "float64", "cpu", "torch", seed=0, time_limit=10.0
    )
    setting = replace(setting, convention=mutant.convention)
    about = mutant.contract in ("matrix_entropy", "token_entropy", "layer_entropy")
    wanted = BY_LAW.get(mutant.name) if about else None
    broken = set()
    laws = sorted(contract.laws, key=lambda law: (law.name != wanted, law.name == "real sizes"))  # the dear one last
    for examples, law in itertools.product((3, SIZES["quick"]), laws):  # three cases of each law show most bugs
        verdict = judged(law, mutant.implementation, setting, examples, shrink=False)
        if verdict.failure is not None:
            broken.add(verdict.failure.law)
        if wanted in broken if wanted else broken:
            return  # the self-test goes through all laws
    pytest.fail(f"{mutant.name} must be caught by {wanted or 'some law'}, got {broken or 'none broken'}")


def flops(**numbers: int) -> int:
    size = DecoderSize(**{name: numbers.pop(name) for name in NUMBERS})
    return (pruned_prefill_flops if "keep" in numbers else prefill_flops)(size, **numbers).total


REFERENCE = {
    "matrix_entropy": matrix_entropy,
    "token_entropy": token_entropy,
    "layer_entropy": layer_entropy,
    "collapse_layer": collapse_layer,
    "select_tokens": select_tokens,
    "tokens_to_keep": tokens_to_keep,
    "prefill_flops": flops,
    "pruned_prefill": by_llava,
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_reference_passes_every_contract(contract: str) -> None:
    """In the setting of the mutants: what they break is not too much to ask."""
    report = check(contract, REFERENCE[contract], size="quick")
    assert report.passed, str(report)


def test_catalogue_covers_every_contract_and_names_each_bug_once() -> None:
    assert len(MUTANTS) >= 40
    assert {mutant.contract for mutant in MUTANTS} == set(CONTRACTS)
    assert max(Counter((m.contract, m.convention.name, m.name) for m in MUTANTS).values()) == 1


def test_a_failure_names_the_bug_that_it_looks_like() -> None:
    """One that answers many cases as a known bug does; none that only resembles several on a small one."""
    entered = {(mutant.contract, mutant.name): mutant for mutant in MUTANTS}
    for name in ("centring over features", "log2"):
        wrong = entered["token_entropy", name].implementation
        contract, setting = prepared("token_entropy", wrong, None, "float64", "cpu", "torch", 0, 10.0)
        failure = judged(contract.laws[0], lambda queries, wrong=wrong: wrong(queries), setting, 15).failure
        assert failure is not None and failure.resembles == (name,) and name in str(failure)
    failure = judged(contract.laws[0], lambda queries: 1.7 * token_entropy(queries), setting, 15).failure
    assert failure is not None and not failure.resembles


def test_self_test_reports_what_was_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A correct implementation in the catalogue is no mutant, and the self-test says so."""
    from entropyprune_ref.oracle.judging import selftest

    monkeypatch.setattr(selftest, "MUTANTS", [MUTANTS[0], Mutant("none at all", "matrix_entropy", matrix_entropy)])
    seen: list[str] = []
    catches = self_test(progress=lambda name, done, total: seen.append(f"{name} {done}/{total}"))
    assert [catch.caught for catch in catches] == [True, False]
    assert seen == [f"{MUTANTS[0].name} 0/2", "none at all 1/2", "done 2/2"]

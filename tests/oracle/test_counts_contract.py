"""The contracts of exact numbers, budgets and FLOPs: expectations by plain arithmetic, and refusals."""

import math
from fractions import Fraction
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref import tokens_to_keep
from entropyprune_ref.flops import LLAVA_1_5_7B, DecoderSize, prefill_flops, pruned_prefill_flops
from entropyprune_ref.oracle import CONTRACTS, check
from entropyprune_ref.oracle.contracts.budgets import (
    PUBLISHED,
    _decimals,
    _exact_averages,
    _feasible,
    _hard_decimals,
    _impossible,
    _infeasible,
    _just_short,
    in_float64,
)
from entropyprune_ref.oracle.contracts.flops import SIZES, _prompts, _real_prompts
from entropyprune_ref.oracle.inputs.case import Case, Setting
from tests.oracle.broken import broken

BY_LAW = {
    ("tokens_to_keep", "rounded in place of truncated"): "average",
    ("tokens_to_keep", "infeasible average clipped silently"): "infeasible average",
    ("tokens_to_keep", "floating-point arithmetic"): "exact averages",
    ("tokens_to_keep", "average read as a binary fraction"): "exact averages",
    ("tokens_to_keep", "quotient in float64"): "exact decimals",
    ("tokens_to_keep", "quotient in float32"): "just short",
    ("tokens_to_keep", "rounded up"): "just short",
    ("tokens_to_keep", "K off by one"): "published budgets",
    ("tokens_to_keep", "result as a float"): "kind",
    ("prefill_flops", "MLP counted with two matrices"): "by hand",
    ("prefill_flops", "multiply-adds counted as one FLOP"): "by hand",
    ("prefill_flops", "grouped-query attention ignored"): "grouped queries",
    ("prefill_flops", "n² halved"): "prompt",
    ("prefill_flops", "heads assumed to fill the hidden size"): "free head size",
    ("prefill_flops", "prune layer off by one"): "pruned prompt",
    ("prefill_flops", "32-bit overflow"): "real sizes",
    ("prefill_flops", "MLP always of three matrices"): "pruned plain MLP",
}


@pytest.mark.parametrize(("contract", "name"), BY_LAW)
def test_mutants_of_counts_break_the_law_that_is_about_them(contract: str, name: str) -> None:
    from entropyprune_ref.oracle.bugs import MUTANTS

    (mutant,) = [entry for entry in MUTANTS if (entry.contract, entry.name) == (contract, name)]
    laws = {law.name: law for law in CONTRACTS[contract].laws}
    law = laws.get(BY_LAW[contract, name], CONTRACTS[contract].laws[0])
    failure = broken(law, mutant.implementation, Setting(contract))
    assert failure is not None and failure.law == BY_LAW[contract, name]


def exact_keep(average: Any, visual_tokens: int, layers: int, prune_layer: int) -> Fraction:
    """The quotient before it is rounded down, with the average read as the decimal that it prints as."""
    decimal = Fraction(repr(average))
    return (layers * decimal - prune_layer * visual_tokens) / (layers - prune_layer)


@given(_feasible())
def test_feasible_averages_are_feasible(case: Case) -> None:
    assert exact_keep(**case.numbers) >= 0


@given(_exact_averages())
def test_exact_averages_leave_a_whole_number_in_float64_too(case: Case) -> None:
    assert exact_keep(**case.numbers) == in_float64(**case.numbers)


@given(_hard_decimals())
def test_hard_decimals_leave_a_whole_number_and_less_in_float64(case: Case) -> None:
    keep = exact_keep(**case.numbers)
    assert keep.denominator == 1
    assert math.floor(in_float64(**case.numbers)) == keep - 1


@given(_just_short())
def test_averages_just_short_of_a_token_are_one_layer_short(case: Case) -> None:
    quotient, pruned = exact_keep(**case.numbers), case.numbers["layers"] - case.numbers["prune_layer"]
    assert math.ceil(quotient) - quotient == Fraction(1, pruned)
    assert math.floor(in_float64(**case.numbers)) == math.floor(quotient)


@given(_infeasible())
def test_infeasible_averages_are_infeasible_but_not_absurd(case: Case) -> None:
    assert exact_keep(**case.numbers) < 0 <= case.numbers["average"]


@given(_decimals())
def test_decimal_averages_are_feasible_and_exact_decimals(case: Case) -> None:
    assert exact_keep(**case.numbers) >= 0
    assert tokens_to_keep(**case.numbers) == math.floor(exact_keep(**case.numbers))


def test_infeasible_averages_are_no_whole_numbers_at_times() -> None:
    hypothesis.find(_infeasible(), lambda case: case.numbers["average"] % 1 != 0)


def test_real_prompts_have_more_floating_operations_than_float64_has_digits() -> None:
    assert max(total(dict(case.numbers)) for case in _real_prompts()) > 2**53
    assert max(case.numbers["visual_tokens"] for case in _real_prompts()) > 2**16


@given(_impossible())
def test_impossible_numbers_are_impossible(case: Case) -> None:
    numbers = case.numbers | {"average": float(case.numbers["average"])}
    possible = 0 < numbers["prune_layer"] < numbers["layers"] and 0 <= numbers["average"] <= numbers["visual_tokens"]
    assert not possible or numbers["visual_tokens"] == 0


def test_published_budgets_are_those_of_the_method() -> None:
    assert [tokens_to_keep(**numbers) for numbers in PUBLISHED] == [166, 98, 29, 490, 149]


def total(numbers: dict[str, Any]) -> int:
    """Eqs. 6.1 to 6.3 written out."""
    width, kv = numbers["heads"] * numbers["head_dim"], numbers["kv_heads"] * numbers["head_dim"]

    def layer(n: int) -> int:
        linear = (
            2 * numbers["hidden"] * (2 * width + 2 * kv)
            + 2 * numbers["hidden"] * numbers["mlp"] * numbers["mlp_matrices"]
        )
        return n * linear + 4 * n * n * width

    whole = numbers["text_tokens"] + numbers["visual_tokens"]
    if "keep" not in numbers:
        return numbers["layers"] * layer(whole)
    left = numbers["text_tokens"] + numbers["keep"]
    return numbers["prune_layer"] * layer(whole) + (numbers["layers"] - numbers["prune_layer"]) * layer(left)


@given(
    st.one_of(_prompts(pruned=True, grouped=True, free=True), _prompts(pruned=True, matrices=2))
    | st.sampled_from(_real_prompts())
)
def test_expected_flops_are_those_of_the_equations(case: Case) -> None:
    numbers = dict(case.numbers)
    size = DecoderSize(**{name: numbers.pop(name) for name in SIZES})
    expected = (pruned_prefill_flops if "keep" in numbers else prefill_flops)(size, **numbers).total
    assert expected == total(dict(case.numbers))


@given(_prompts(pruned=False, grouped=True))
def test_grouped_prompts_share_heads(case: Case) -> None:
    assert case.numbers["heads"] > case.numbers["kv_heads"]


def test_right_counts_pass_as_python_numpy_and_torch_integers() -> None:
    for kind in (int, np.int64, torch.tensor):
        assert check("prefill_flops", lambda kind=kind, **numbers: kind(total(numbers)), size="quick").passed
        assert check(
            "tokens_to_keep", lambda average, kind=kind, **sizes: kind(tokens_to_keep(average, **sizes)), size="quick"
        ).passed


@pytest.mark.parametrize("answer", [None, "18", 18.0, [18], True, 18 + 0j], ids=repr)
def test_what_is_no_integer_is_reported_as_that(answer: Any) -> None:
    failures = check("prefill_flops", lambda **_: answer, size="quick", shrink=False).failures
    assert {failure.law for failure in failures} <= {"kind", "shape", "dtype"} and failures


def test_failures_of_counts_name_both_numbers() -> None:
    report = check("prefill_flops", lambda **numbers: total(numbers) + 1, size="quick", shrink=False)
    assert "expected 36 FLOPs, got 37" in str(report)
    report = check("tokens_to_keep", lambda average, **sizes: 0, size="quick", shrink=False)
    assert "expected an exception, since the budget cannot be met, got 0" in str(report)


def test_contracts_of_counts_have_one_dtype_that_does_not_matter() -> None:
    assert not CONTRACTS["prefill_flops"].floating and not CONTRACTS["tokens_to_keep"].floating
    assert total({**{name: getattr(LLAVA_1_5_7B, name) for name in SIZES}, "text_tokens": 0, "visual_tokens": 576}) == (
        prefill_flops(LLAVA_1_5_7B, text_tokens=0, visual_tokens=576).total
    )

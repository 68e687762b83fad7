"""Shapes in signatures are checked where the oracle's own functions are tested, not in its sweeps over candidates."""

from collections.abc import Iterator
from dataclasses import replace

import jaxtyping
import pytest

from entropyprune_ref.oracle import CONTRACTS
from entropyprune_ref.oracle.inputs.case import Case

CHECKED = ("test_matrices", "test_tolerances")


@pytest.fixture(autouse=True)
def _sweeps_are_not_slowed_by_shape_checks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A sweep calls the same few functions thousands of times; the checks would take half of its time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", before or request.module.__name__.rsplit(".")[-1] not in CHECKED)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def _small(case: Case) -> Case:
    numbers = dict(case.numbers)
    sides = {"batch": [min(axis, 2) for axis in numbers["batch"]], "rows": min(numbers["rows"], 5)}
    return Case(case.family, numbers | sides | {"columns": min(numbers["columns"], 6)})


KIT = ("value", "real sizes", "common shift", "scale", "views", "part by part", "repeatable", "empty batch")
"""One law of each kind."""


@pytest.fixture
def few_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the kit, not of a kernel: the entropies have a law of each kind, and no large cases."""
    for name in ("matrix_entropy", "token_entropy", "layer_entropy"):
        contract = CONTRACTS[name]
        laws = [
            replace(law, cases=lambda setting, law=law: [_small(case) for case in law.cases(setting)])
            if law.name == "real sizes"
            else law
            for law in contract.laws
            if law.name in KIT
        ]
        monkeypatch.setitem(CONTRACTS, name, replace(contract, laws=tuple(laws)))

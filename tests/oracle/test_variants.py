"""No false alarm: correct implementations, by many roads and in every precision, pass every law.

The quick size keeps the whole suite short: every road, dtype and convention takes part, not every combination; beside
the main roads, the others try a law of each kind; and what takes minutes in Python does not take part.
`ORACLE_SIZE=default` tries all combinations and over 2,000 cases of each variant, 150 for each law;
`ORACLE_SIZE=thorough` 2,000 for each law.
"""

import os
from itertools import product
from typing import Any

import pytest
import torch

from entropyprune_ref import layer_entropy, matrix_entropy, token_entropy
from entropyprune_ref.oracle import CONTRACTS, SIZES, Report, check
from entropyprune_ref.oracle.inputs.case import Setting
from entropyprune_ref.oracle.judging.trying import judged
from entropyprune_ref.oracle.plain.entropies import plain_matrix_entropy, plain_token_entropy
from entropyprune_ref.scoring import CONVENTIONS
from tests.oracle import variants

SIZE = os.environ.get("ORACLE_SIZE", "quick")
ROADS: dict[str, Any] = {
    "late trace": variants.by_late_trace,
    "plain": plain_token_entropy,
    "covariance side": variants.by_covariance,
    "svd": variants.by_svd,
    "chunked": variants.in_chunks,
}
LESSER = ("covariance side", "chunked", "plain")
"""Roads that try a law of each kind in the quick size."""

DTYPES = ["float64", "float32", "bfloat16", "float16"]


few = pytest.mark.usefixtures("few_laws") if SIZE == "quick" else lambda test: test
"""For the roads that say little that the main ones do not."""


def require_no_alarm(report: Report) -> None:
    assert report.passed, str(report)
    assert SIZE == "quick" or report.cases > 2000


def sweep() -> list[tuple[str, str, str]]:
    """Roads, dtypes and conventions: in the quick size each of them at least once, else all combinations."""
    names = list(CONVENTIONS)
    if SIZE == "quick":
        return [(road, DTYPES[i % 4], names[i % 3]) for i, road in enumerate([*ROADS, "covariance side"])]
    return [(road, dtype, convention) for road in ROADS for dtype in DTYPES for convention in names]


def in_short(combinations: list[tuple[str, ...]], short: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A few of all combinations in the quick size."""
    assert set(short) <= set(combinations)
    return short if SIZE == "quick" else combinations


@pytest.mark.parametrize(("road", "dtype", "convention"), sweep())
def test_correct_variants_never_fail(road: str, dtype: str, convention: str, request: pytest.FixtureRequest) -> None:
    """Of 16 bits, in float32; the plain road gives its result in the dtype that it was given."""
    if SIZE == "quick" and road in LESSER:
        request.getfixturevalue("few_laws")

    def candidate(queries: torch.Tensor) -> torch.Tensor:
        wide = queries.to(torch.promote_types(queries.dtype, torch.float32))
        result = ROADS[road](wide, CONVENTIONS[convention])
        return result.to(queries.dtype) if road == "plain" else result

    report = check("token_entropy", candidate, convention=convention, dtype=dtype, size=SIZE)
    require_no_alarm(report)


@few
@pytest.mark.parametrize(
    ("dtype", "convention"),
    in_short(list(product(["bfloat16", "float16"], CONVENTIONS)), [("bfloat16", "paper"), ("float16", "released")]),
)
def test_variants_that_compute_in_16_bits_and_say_so_never_fail(dtype: str, convention: str) -> None:
    for road in ROADS if SIZE != "quick" else ["plain"]:
        report = check(
            "token_entropy",
            lambda queries, road=road: ROADS[road](queries, CONVENTIONS[convention]),
            convention=convention,
            dtype=dtype,
            computes_in=dtype,
            size=SIZE,
        )
        require_no_alarm(report)


@few
@pytest.mark.parametrize(
    ("dtype", "convention"),
    in_short(
        list(product(["float64", "float32", "float16"], CONVENTIONS)),
        [("float32", "paper"), ("float16", "row_normalized")],
    ),
)
def test_numpy_never_fails(dtype: str, convention: str) -> None:
    wide = "float32" if dtype == "float16" else dtype  # numpy has no linear algebra in 16 bits
    report = check(
        "token_entropy",
        lambda queries: variants.by_numpy(queries.astype(wide), CONVENTIONS[convention]),
        convention=convention,
        dtype=dtype,
        arrays="numpy",
        size=SIZE,
    )
    require_no_alarm(report)


@few
@pytest.mark.parametrize("dtype", ["bfloat16"] if SIZE == "quick" else ["float32", "bfloat16"])
def test_jacobi_in_float32_never_fails(dtype: str) -> None:
    """In the quick size on small matrices only: sides of 33 and more take thousands of rotations in Python."""

    def candidate(queries: torch.Tensor) -> torch.Tensor:
        if SIZE == "quick" and min(queries.shape[-2:]) > 9:
            return token_entropy(queries)
        return variants.by_jacobi(queries.to(torch.promote_types(queries.dtype, torch.float32)), CONVENTIONS["paper"])

    require_no_alarm(check("token_entropy", candidate, dtype=dtype, size=SIZE, time_limit=60))


@pytest.mark.parametrize("dtype", ["bfloat16"] if SIZE == "quick" else DTYPES)
def test_compiled_never_fails(dtype: str) -> None:
    """Through the tracer and its decompositions; the nightly size through the code generator as well."""
    backend = "inductor" if SIZE == "thorough" else "aot_eager"
    candidate = variants.compiled_matrix_entropy(backend)
    torch._dynamo.reset()
    if SIZE == "quick":  # each new layout is traced anew
        setting = Setting("matrix_entropy", dtype=getattr(torch, dtype), claimed=getattr(torch, dtype), time_limit=300)
        value = CONTRACTS["matrix_entropy"].laws[0]
        assert judged(value, lambda features: candidate(features), setting, SIZES["quick"]).failure is None
        return
    report = check(
        "matrix_entropy",
        lambda features: candidate(features),
        dtype=dtype,
        computes_in=dtype,
        size=SIZE,
        time_limit=300,
    )
    require_no_alarm(report)


@few
@pytest.mark.parametrize(
    ("contract", "dtype"),
    in_short(
        list(product(["matrix_entropy", "layer_entropy"], DTYPES)),
        [("matrix_entropy", "bfloat16"), ("layer_entropy", "float32"), ("layer_entropy", "float16")],
    ),
)
def test_correct_variants_of_matrix_entropy_never_fail(contract: str, dtype: str) -> None:
    for candidate in (
        plain_matrix_entropy,
        {"matrix_entropy": matrix_entropy, "layer_entropy": layer_entropy}[contract],
    ):
        own = dtype if candidate is plain_matrix_entropy else None
        report = check(contract, candidate, dtype=dtype, computes_in=own, size=SIZE)
        require_no_alarm(report)


@pytest.mark.parametrize("convention", [name for name in CONVENTIONS if SIZE != "quick" or name != "paper"])
def test_the_reference_passes_its_own_contract(convention: str, request: pytest.FixtureRequest) -> None:
    if SIZE == "quick" and convention == "released":  # whose matrices are of heads, even where those are a thousand
        request.getfixturevalue("few_laws")
    report = check(
        "token_entropy",
        lambda queries: token_entropy(queries, CONVENTIONS[convention]),
        convention=convention,
        size=SIZE,
    )
    require_no_alarm(report)

"""The strategies of matrices produce what their names say, in every dtype."""

import math
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.oracle import CONTRACTS
from entropyprune_ref.oracle.inputs.case import Case, Setting
from entropyprune_ref.oracle.inputs.layouts import LAYOUTS, laid_out
from entropyprune_ref.oracle.inputs.matrices import FAMILIES, build, empty_batches, matrices, scale_bounds
from entropyprune_ref.oracle.inputs.sizes import LADDER, shapes, sizes
from entropyprune_ref.scoring import RELEASED

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FLOAT64 = Setting("matrix_entropy")


def centred(features: torch.Tensor) -> np.ndarray:
    exact = features.double().numpy()
    return exact - exact.mean(-2, keepdims=True)


def levels(features: torch.Tensor) -> np.ndarray:
    """Squared singular values, by numpy."""
    return np.linalg.svd(centred(features), compute_uv=False) ** 2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@hypothesis.settings(max_examples=10)
@given(data=st.data())
def test_every_family_is_finite_reproducible_and_of_the_shape_asked_for(
    family: str, dtype: torch.dtype, data: st.DataObject
) -> None:
    least = {"equal eigenvalues": 1, "near-degenerate": 2, "tail": 2, "twin rows": 1}.get(family, 0)
    case = data.draw(matrices(Setting("matrix_entropy", dtype=dtype), family, 1, least_rank=least))
    features = build(case, dtype)
    assert features.shape == (*case.numbers["batch"], case.numbers["rows"], case.numbers["columns"])
    assert features.dtype == dtype and bool(torch.isfinite(features).all())
    assert torch.equal(features, build(Case(case.family, dict(case.numbers)), dtype))


def test_sides_meet_one_row_one_column_and_more_of_either() -> None:
    seen = set()

    @given(shapes(0))
    def collect(shape: tuple[list[int], int, int]) -> None:
        _, rows, columns = shape
        seen.update({"row"} & {"row" if rows == 1 else ""}, {"column"} & {"column" if columns == 1 else ""})
        seen.add("tall" if rows > columns else "wide" if rows < columns else "square")
        seen.add("odd" if rows % 2 and columns % 2 else "even")

    collect()
    assert seen >= {"row", "column", "tall", "wide", "odd"}


@given(matrices(FLOAT64, "known spectrum", 0))
def test_known_spectrum_has_it(case: Case) -> None:
    features = build(case, torch.float64)
    rank = min(case.numbers["rows"] - 1, case.numbers["columns"])
    wanted = case.numbers["decay"] ** np.arange(rank)
    found = levels(features)
    assert np.allclose(found[..., :rank], wanted, rtol=0, atol=1e-13)  # of the largest, 1
    assert np.allclose(found[..., rank:], 0, atol=1e-13)
    assert np.allclose(features.sum(-2), 0, atol=1e-13)


@given(matrices(FLOAT64, "rank one", 0))
def test_rank_one_has_at_most_that(case: Case) -> None:
    assert np.all(levels(build(case, torch.float64))[..., 1:] <= 1e-25 * 81 * 1089)


@given(matrices(FLOAT64, "equal eigenvalues", 0, least_rank=1))
def test_equal_eigenvalues_are_equal_and_as_many_as_asked_for(case: Case) -> None:
    found = levels(build(case, torch.float64))
    assert np.allclose(found[..., : case.numbers["rank"]], 1, atol=1e-13)
    assert np.allclose(found[..., case.numbers["rank"] :], 0, atol=1e-13)


@given(matrices(FLOAT64, "near-degenerate", 0, least_rank=2))
def test_near_degenerate_eigenvalues_are_a_gap_apart(case: Case) -> None:
    rank, gap = case.numbers["rank"], case.numbers["gap"]
    steps = -np.diff(levels(build(case, torch.float64))[..., :rank], axis=-1)
    assert np.allclose(steps, gap, rtol=0, atol=1e-13)
    assert 0 < gap <= 1e-2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
def test_equal_rows_have_no_variance_whatever_the_way_to_the_mean(dtype: torch.dtype, data: st.DataObject) -> None:
    features = build(data.draw(matrices(Setting("matrix_entropy", dtype=dtype), "equal rows", 0)), dtype)
    rows = features.shape[-2]
    by_quotient = features.sum(-2, keepdim=True) / rows
    by_reciprocal = features.sum(-2, keepdim=True) * torch.tensor(1 / rows).to(dtype)
    assert not (features - by_quotient).any() and not (features - by_reciprocal).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(both=st.tuples(st.integers(1, 33), st.integers(1, 33)), seed=st.integers(0, 2**16))
def test_scale_bounds_leave_room_for_the_sum_of_squares(dtype: torch.dtype, both: tuple[int, int], seed: int) -> None:
    low, high = scale_bounds(Setting("matrix_entropy", dtype=dtype, claimed=dtype), *both)
    assert low <= 0 <= high
    for power in (low, high):
        case = Case("scaled", {"batch": [], "rows": both[0], "columns": both[1], "seed": seed, "power": power})
        squares = build(case, dtype).double().square()
        assert float(squares.sum()) < torch.finfo(dtype).max
        # a typical square is a normal number (a float16 of order one is not far from its smallest)
        if low < 0:
            assert float(squares.median()) > torch.finfo(dtype).tiny * 1e-6


def test_scale_spans_1e_minus_30_to_1e30_in_float64_and_what_squares_allow_elsewhere() -> None:
    assert scale_bounds(FLOAT64, 8, 8) == (-99, 99)
    assert 2.0**99 > 6e29
    low, high = scale_bounds(Setting("matrix_entropy", dtype=torch.float32), 8, 8)
    assert -60 < low < -50 and 55 < high < 64


def test_scale_of_float16_that_is_computed_in_float32_ends_where_its_numbers_do() -> None:
    low, high = scale_bounds(Setting("matrix_entropy", dtype=torch.float16), 8, 8)
    assert 8 * 2.0**high < torch.finfo(torch.float16).max < 32 * 2.0**high
    assert (2.0**high) ** 2 * 64 > torch.finfo(torch.float16).max  # so their squares overflow in 16 bits
    assert torch.finfo(torch.float16).tiny < 2.0**low < 2.0**-9


@given(matrices(FLOAT64, "shifted", 0))
def test_shifted_rows_share_a_large_vector(case: Case) -> None:
    features = build(case, torch.float64)
    assert 1e5 <= case.numbers["shift"] <= 1e6
    if features.numel() > 8:
        assert np.linalg.norm(features) > 100 * max(np.linalg.norm(centred(features)), 1e-300)


@given(matrices(Setting("token_entropy", dtype=torch.float64), "one huge", 1))
def test_one_huge_matrix_stands_among_small_ones(case: Case) -> None:
    stack = build(case, torch.float64).flatten(0, -3)
    small = build(Case("one huge", {**case.numbers, "power": 0}), torch.float64).flatten(0, -3)
    changed = [bool((one != other).any()) for one, other in zip(stack, small, strict=True)]
    assert sum(changed) == (case.numbers["power"] > 0)
    huge = stack[len(stack) // 2]
    assert torch.equal(huge, small[len(stack) // 2] * 2.0 ** case.numbers["power"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_subnormals_are_there(dtype: torch.dtype) -> None:
    case = Case("subnormals", {"batch": [4], "rows": 9, "columns": 9, "seed": 1})
    magnitude = build(case, dtype).double().abs()
    faint = (magnitude > 0) & (magnitude < torch.finfo(dtype).tiny)
    assert 0.15 < float(faint.double().mean()) < 0.45
    assert not bool(faint.all(-2).any())  # no column of nothing else
    assert float(magnitude.max()) > 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same_numbers_in_another_order_of_memory(layout: str) -> None:
    values = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    seen = laid_out(values, layout)
    assert seen.shape == values.shape and not seen.is_contiguous()
    assert torch.equal(seen, values[:1].expand_as(values) if layout == "expanded" else values)
    if layout not in ("transposed", "strided", "offset"):  # leading axes that cannot be made one without a copy
        with pytest.raises(RuntimeError, match="view"):
            seen.view(-1, 4, 5)


def test_every_rung_of_the_ladder_is_drawn_on_every_axis_and_small_sizes_most_often() -> None:
    drawn: list[tuple[list[int], int, int]] = []

    @hypothesis.settings(max_examples=900, database=None)
    @given(shapes(1))
    def collect(shape: tuple[list[int], int, int]) -> None:
        drawn.append(shape)

    collect()
    for axis in (lambda shape: max(shape[0]), lambda shape: shape[1], lambda shape: shape[2]):
        met = [axis(shape) for shape in drawn]
        assert len({rung for rung in LADDER if rung <= 1025} - set(met)) <= 12
        assert sum(size <= 9 for size in met) > len(met) / 2
    work = [min(r, c) ** 2 * max(r, c) for _, r, c in drawn]
    assert max(work) <= 2**22 and max(len(batch) for batch, _, _ in drawn) == 3


@given(sizes(least=4))
def test_sizes_are_no_smaller_than_asked_for(size: int) -> None:
    assert 4 <= size <= LADDER[-1]


@given(empty_batches(1))
def test_empty_batches_are_empty_before_the_axes_that_a_contract_needs(case: Case) -> None:
    features = build(case, torch.float32)
    assert features.numel() == 0 and features.ndim >= 4 and 0 not in features.shape[-3:]


@given(matrices(Setting("token_entropy", convention=RELEASED), "scaled", 1))
def test_an_entropy_that_grows_with_the_scale_is_tried_at_moderate_ones(case: Case) -> None:
    assert abs(case.numbers["power"]) <= 7
    assert math.isfinite(float(build(case, torch.float64).abs().max()))


def test_build_refuses_what_it_does_not_know() -> None:
    numbers = {"batch": [], "rows": 1, "columns": 1, "seed": 0}
    with pytest.raises(ValueError, match=r"family must be one of 'gaussian', .*, got 'nice'"):
        build(Case("nice", numbers), torch.float64)
    with pytest.raises(ValueError, match="numbers must be those of the family 'scaled'"):
        build(Case("scaled", numbers), torch.float64)
    with pytest.raises(ValueError, match="layout must be one of"):
        build(Case("gaussian", numbers | {"layout": "diagonal"}), torch.float64)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(9, 5), (5, 9)])
def test_a_tail_is_one_small_eigenvalue_or_all_but_the_largest(rows: int, columns: int, whole: bool) -> None:
    numbers = {"batch": [2], "rows": rows, "columns": columns, "seed": 3, "share": 1e-6, "whole": whole}
    rank = min(rows - 1, columns)
    for spectrum in levels(build(Case("tail", numbers), torch.float64)):
        small = spectrum[1 : rank if whole else 2] / spectrum[0]
        np.testing.assert_allclose(small, 1e-6, rtol=1e-6)  # singular values of 1e-3 to 1e-15 / 1e-3
        assert len(small) == (rank - 1 if whole else 1) and spectrum[len(small) + 1 :].sum() < 1e-20


def test_tails_of_both_kinds_are_drawn() -> None:
    seen = set()

    @given(matrices(Setting("matrix_entropy"), "tail", 0, least_rank=2))
    def collect(case: Case) -> None:
        seen.add(case.numbers["whole"])

    collect()
    assert seen == {True, False}


def test_the_guide_names_the_longest_side_of_a_matrix() -> None:
    settings = [Setting(name) for name in ("matrix_entropy", "token_entropy", "layer_entropy")]
    laws = [law for setting in settings for law in CONTRACTS[setting.contract].laws if law.name == "real sizes"]
    cases = [case.numbers for setting, law in zip(settings, laws, strict=True) for case in law.cases(setting)]
    longest = max(max(numbers["rows"], numbers["columns"]) for numbers in cases)
    guide = Path(__file__).parents[2] / "docs" / "guides" / "check-your-implementation.md"
    assert f"a side beyond {longest:,}" in guide.read_text()

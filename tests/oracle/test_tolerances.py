"""The bounds of the oracle: theorems hold on drawn cases, and are met where they can be met."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.oracle.plain.entropies import plain_matrix_entropy, plain_token_entropy
from entropyprune_ref.oracle.tolerances import (
    allowance,
    disputed,
    entropy_floor,
    fannes_audenaert,
    plain_factor,
    spectral_distance,
    token_entropy_floor,
)
from entropyprune_ref.scoring import PAPER, RELEASED, ROW_NORMALIZED, Convention, token_entropy


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def von_neumann(density: np.ndarray) -> float:
    return float(scipy.stats.entropy(np.linalg.eigvalsh(density).clip(0)))


@given(side=st.integers(2, 7), seed=st.integers(0, 2**16), mix=st.floats(0, 1))
def test_fannes_audenaert_bounds_drawn_pairs(side: int, seed: int, mix: float) -> None:
    first, other = (drawn((side, side), seed + offset).numpy() for offset in (0, 1))
    first, other = (matrix @ matrix.T / np.trace(matrix @ matrix.T) for matrix in (first, other))
    second = (1 - mix) * first + mix * other
    distance = 0.5 * np.abs(np.linalg.eigvalsh(first - second)).sum()
    bound = float(fannes_audenaert(torch.tensor(distance, dtype=torch.float64), side))
    assert abs(von_neumann(first) - von_neumann(second)) <= bound + 1e-12  # rounding of eigenvalues of order one


@given(side=st.integers(2, 9), distance=st.floats(0, 1))
def test_fannes_audenaert_is_met_by_the_extremal_pair(side: int, distance: float) -> None:
    """A pure state against one that spreads the distance evenly over the other directions (Audenaert, 2007)."""
    distance = min(distance, 1 - 1 / side)
    levels = np.array([1 - distance] + [distance / (side - 1)] * (side - 1))
    bound = float(fannes_audenaert(torch.tensor(distance, dtype=torch.float64), side))
    assert bound == pytest.approx(float(scipy.stats.entropy(levels)), abs=1e-12)


def test_fannes_audenaert_ends_at_the_logarithm_of_the_dimension() -> None:
    assert fannes_audenaert(torch.tensor([0.9, 1.0, 50.0]).double(), 5).tolist() == [
        pytest.approx(math.log(5), abs=1e-3),
        pytest.approx(math.log(5), abs=1e-15),
        pytest.approx(math.log(5), abs=1e-15),
    ]


@given(shift=st.floats(1, 1e6), seed=st.integers(0, 2**16))
def test_spectral_distance_grows_with_a_common_shift(shift: float, seed: int) -> None:
    features = drawn((5, 3), seed)
    near, far = (spectral_distance(features + offset, torch.float32) for offset in (0.0, 4 * shift))
    assert near <= far
    assert far >= min(1.0, 4 * torch.finfo(torch.float32).eps)


@pytest.mark.parametrize(("constant", "allowed"), [(1e-6, True), (1e-3, False)])
def test_the_guide_is_right_about_a_constant_under_the_logarithm_in_float32(constant: float, allowed: bool) -> None:
    """Of 32 heads of 128 features: the constant costs each eigenvalue as much, 32 of it in all."""
    queries = torch.randn(20, 32, 128, generator=torch.Generator().manual_seed(0))
    spectrum = np.linalg.svd((queries - queries.mean(1, keepdim=True)).double().numpy(), compute_uv=False) ** 2
    levels = spectrum / spectrum.sum(-1, keepdims=True)
    error = np.abs((levels * (np.log(levels + constant) - np.log(levels.clip(1e-300)))).sum(-1))
    floor = token_entropy_floor(queries.double(), PAPER, torch.float32).numpy()
    assert ((error < floor) == allowed).all()


def test_floors_are_small_in_float64_and_shrink_with_the_unit_of_rounding() -> None:
    features = drawn((16, 8), 0)
    floors = [float(entropy_floor(features, dtype)) for dtype in (torch.float64, torch.float32, torch.float16)]
    assert floors[0] < 1e-12
    assert floors == sorted(floors)


@pytest.mark.parametrize("convention", [PAPER, ROW_NORMALIZED, RELEASED], ids=lambda c: c.name)
@given(heads=st.integers(2, 12), head_dim=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_token_entropy_floor_holds_for_float32_eigenvalues(
    convention: Convention, heads: int, head_dim: int, seed: int
) -> None:
    """The bound alone, without the share of the plain formula's own error, holds for numpy in float32."""
    queries = drawn((3, heads, head_dim), seed).float()
    got = plain_token_entropy(queries, convention).double()
    exact = token_entropy(queries, convention)
    floor = token_entropy_floor(queries.double(), convention, torch.float32)
    assert bool(((got - exact).abs() <= floor).all())


def test_plain_formulas_compute_in_their_own_dtype() -> None:
    """In half precision they are visibly off, or the factor two would be of something else."""
    features = drawn((40, 30), 3)
    exact = float(plain_matrix_entropy(features))
    errors = [abs(float(plain_matrix_entropy(features.to(dtype))) - exact) for dtype in (torch.float16, torch.float32)]
    assert errors[0] > 1e-5 > errors[1] > 1e-9


def test_allowance_counts_the_plain_error_twice_and_thrice_in_16_bits() -> None:
    floor, exact = torch.tensor([0.5]), torch.tensor([1.0]).double()
    assert [plain_factor(dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)] == [
        2,
        2,
        3,
        3,
    ]
    assert allowance(floor, torch.tensor([1.25]), exact, torch.float32).item() == 1.0
    assert allowance(floor, torch.tensor([1.25]), exact, torch.float16).item() == 1.25
    assert allowance(floor, torch.tensor([torch.nan]), exact, torch.float32).item() == 0.5


scores_and_noise = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-8, 8), min_size=n, max_size=n),
        st.lists(st.integers(-4, 4), min_size=n, max_size=n),
        st.integers(0, n),
    )
)


@given(scores_and_noise)
def test_disputed_never_accuses_a_selection_by_scores_within_the_error(drawn: tuple[list[int], list[int], int]) -> None:
    """Integers, so that the bound is tried without rounding."""
    scores, noise, keep = drawn
    seen = sorted(range(len(scores)), key=lambda t: (-(scores[t] + noise[t]), t))[:keep]
    wrong = disputed(torch.tensor(scores).double(), torch.tensor(sorted(seen), dtype=torch.int64), keep, 4.0)
    assert not bool(wrong.any())


@given(st.integers(2, 12), st.integers(0, 2**16), st.data())
def test_disputed_accuses_a_swap_across_a_wide_gap(tokens: int, seed: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randperm(tokens, generator=generator).double()
    keep = data.draw(st.integers(1, tokens - 1))
    order = scores.argsort(descending=True)
    kept = torch.cat((order[: keep - 1], order[keep : keep + 1])).sort().values  # the next instead of the last
    wrong = disputed(scores, kept, keep, 0.4)  # gaps are 1 > 2 * 0.4
    assert sorted(torch.nonzero(wrong).flatten().tolist()) == sorted(order[keep - 1 : keep + 1].tolist())
    assert not bool(disputed(scores, kept, keep, 0.5).any())  # a gap of 2e may be bridged

r"""Section 1: matrix entropy, the Rényi family and the effective rank.

Entropies of a spectrum are compared with mpmath at 50 digits, to 1e-12 of themselves. Entropies of features pass
through an eigensolver and are compared to `entropy_rounding`, derived there.
"""

import math
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from entropyprune_ref.entropy import (
    effective_rank,
    matrix_entropy,
    renyi_entropy,
    spectrum_entropy,
    spectrum_renyi_entropy,
)
from entropyprune_ref.gram import centred, density_matrix, singular_spectrum, spectrum

EPS = torch.finfo(torch.float64).eps
Function = Callable[[Tensor], Tensor]
ORDERS = [0, 1e-3, 0.3, 0.5, 0.9, 1 - 1e-9, 1, 1 + 1e-9, 1.1, 1.5, 2, 3, 17.5, 1e6, 1e25, math.inf]

sizes = st.integers(2, 9)
seeds = st.integers(0, 2**32)
sides = st.sampled_from(["covariance", "gram"])
spectra = st.lists(
    st.one_of(st.floats(1e-12, 1.0), st.sampled_from([0.0, 1e-12, 1e-6, 1.0])), min_size=1, max_size=7
).filter(any)


def entropy_rounding(samples: int, dims: int) -> float:
    r"""How far rounding moves a matrix entropy: the Fannes-Audenaert bound at the trace distance of rounding.

    Two density matrices at trace distance T differ in entropy by at most T log(side - 1) - T log T - (1-T) log(1-T).
    Rounding (centring, product, backward stable eigensolver; see `trace_rounding` in test_gram.py) gives
    T = sqrt(side) (samples + dims + 6) eps / 2. The bound is absolute: it does not shrink near rank one, where H does.
    """
    side = max(samples, dims)
    distance = math.sqrt(side) * (samples + dims + 6) * EPS / 2
    return distance * (math.log(max(side - 1, 1)) - math.log(distance) + 1)


def gaussian(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_a_grid(*shape: int, seed: int) -> Tensor:
    """Integers: adding and subtracting them is exact in every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1000, 1001, shape, generator=generator).to(torch.float64)


def orthogonal(dims: int, seed: int) -> Tensor:
    return torch.linalg.qr(gaussian(dims, dims, seed=seed)).Q


def features_with_spectrum(eigenvalues: list[float], samples: int, dims: int, seed: int) -> Tensor:
    """Columns of U orthonormal and orthogonal to ones, so the features are centred: their spectrum is known."""
    rank = len(eigenvalues)
    ones = torch.ones(samples, 1, dtype=torch.float64)
    left = torch.linalg.qr(torch.cat([ones, gaussian(samples, rank, seed=seed)], 1)).Q[:, 1:]
    right = torch.linalg.qr(gaussian(dims, rank, seed=seed + 1)).Q
    return left * torch.tensor(eigenvalues, dtype=torch.float64).sqrt() @ right.mT


def mp_renyi(eigenvalues: list, alpha: float = 1) -> mpmath.mpf:
    """The definition, at 50 digits."""
    positive = [mpmath.mpf(x) for x in eigenvalues if x > 0]
    if not positive:
        return mpmath.mpf(0)
    weights = [x / mpmath.fsum(positive) for x in positive]
    if alpha == 1:
        return -mpmath.fsum(w * mpmath.log(w) for w in weights)
    if alpha == math.inf:
        return -mpmath.log(max(weights))
    alpha = mpmath.mpf(alpha)
    return mpmath.log(mpmath.fsum(w**alpha for w in weights)) / (1 - alpha)


def mp_matrix_entropy(features: Tensor) -> mpmath.mpf:
    """Matrix entropy of the very numbers in `features`, at 50 digits."""
    matrix = mpmath.matrix(features.tolist())
    samples, dims = matrix.rows, matrix.cols
    for j in range(dims):
        mean = mpmath.fsum(matrix[i, j] for i in range(samples)) / samples
        for i in range(samples):
            matrix[i, j] -= mean
    product = matrix.T * matrix if dims <= samples else matrix * matrix.T
    return mp_renyi([x if x > mpmath.mpf(10) ** -40 else 0 for x in mpmath.eigsy(product, eigvals_only=True)])


def relative_error(result: Tensor, exact: mpmath.mpf) -> float:
    error = abs(mpmath.mpf(result.item()) - exact)
    return float(error / exact) if exact else float(error)


@pytest.fixture(autouse=True, scope="module")
def fifty_digits() -> Iterator[None]:
    with mpmath.workdps(50):
        yield


# --- entropy of a spectrum


@pytest.mark.parametrize(
    ("eigenvalues", "expected"),
    [
        ([1.0], 0.0),
        ([5.0, 0.0, 0.0], 0.0),
        ([0.0, 0.0], 0.0),
        ([1.0, 1.0], math.log(2)),
        ([2.0, 1.0, 1.0], 1.5 * math.log(2)),  # 1/2 log 2 + 2 (1/4 log 4)
        ([3.0, 1.0], 2 * math.log(2) - 0.75 * math.log(3)),
        ([7.0] * 32, math.log(32)),
    ],
)
def test_spectrum_entropy_of_small_examples_by_hand(eigenvalues: list[float], expected: float) -> None:
    assert spectrum_entropy(torch.tensor(eigenvalues)).item() == pytest.approx(expected, rel=8 * EPS, abs=0)


@given(eigenvalues=spectra)
def test_spectrum_entropy_agrees_with_mpmath(eigenvalues: list[float]) -> None:
    result = spectrum_entropy(torch.tensor(eigenvalues, dtype=torch.float64))
    assert relative_error(result, mp_renyi(eigenvalues)) <= 1e-12


@pytest.mark.parametrize("tail", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 1e-17, 1e-30, 1e-300])
@pytest.mark.parametrize("count", [1, 3, 127])
def test_spectrum_entropy_agrees_with_mpmath_near_rank_one(tail: float, count: int) -> None:
    eigenvalues = [1.0] + [tail] * count
    result = spectrum_entropy(torch.tensor(eigenvalues, dtype=torch.float64))
    with mpmath.workdps(400):  # the definition adds the tail to 1
        exact = mp_renyi(eigenvalues)
    assert relative_error(result, exact) <= 1e-12


def test_spectrum_entropy_plain_formula_is_worse_near_rank_one() -> None:
    eigenvalues = torch.tensor([1.0, 1e-17], dtype=torch.float64)
    weights = eigenvalues / eigenvalues.sum()
    plain = -(weights * weights.log()).sum()
    assert relative_error(plain, mp_renyi(eigenvalues.tolist())) > 0.02
    assert relative_error(spectrum_entropy(eigenvalues), mp_renyi(eigenvalues.tolist())) < 1e-15


@given(eigenvalues=spectra)
def test_spectrum_entropy_agrees_with_scipy(eigenvalues: list[float]) -> None:
    weights = np.array(eigenvalues) / np.sum(eigenvalues)
    result = spectrum_entropy(torch.tensor(eigenvalues, dtype=torch.float64)).item()
    # scipy takes each weight with 2 roundings; -w log w moves by at most |log w| + 1 < 30 times that
    assert abs(result - scipy.stats.entropy(eigenvalues)) <= 60 * len(weights) * EPS
    assert abs(result - scipy.special.entr(weights).sum()) <= 60 * len(weights) * EPS


@given(share=st.floats(0, 1))
def test_spectrum_entropy_of_two_levels(share: float) -> None:
    result = spectrum_entropy(torch.tensor([share, 1 - share], dtype=torch.float64)).item()
    expected = scipy.special.entr(share) + scipy.special.entr(1 - share)
    assert result == pytest.approx(expected, rel=0, abs=8 * EPS)  # the reference rounds 1 - share and four values < 1


@given(ratio=st.floats(0.01, 0.95), length=st.integers(1, 40))
def test_spectrum_entropy_of_a_geometric_spectrum(ratio: float, length: int) -> None:
    powers = ratio ** torch.arange(length, dtype=torch.float64)
    total = (1 - ratio**length) / (1 - ratio)
    slope = sum(i * ratio**i for i in range(length)) / total
    expected = math.log(total) - slope * math.log(ratio)  # H = log sum - E[log weight]
    assert spectrum_entropy(powers).item() == pytest.approx(expected, rel=0, abs=100 * length * EPS)


@given(eigenvalues=spectra, scale=st.sampled_from([1e-290, 1e-30, 0.1, 3.0, 1e30, 1e300]))
def test_spectrum_entropy_ignores_scale(eigenvalues: list[float], scale: float) -> None:
    values = torch.tensor(eigenvalues, dtype=torch.float64)
    result, scaled = spectrum_entropy(values).item(), spectrum_entropy(values * scale).item()
    assert scaled == pytest.approx(result, rel=1e-13, abs=0)  # every term is positive and rounds relative to itself


@given(eigenvalues=spectra, data=st.data())
def test_spectrum_entropy_ignores_order(eigenvalues: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(eigenvalues), label="shuffled")
    left = spectrum_entropy(torch.tensor(eigenvalues, dtype=torch.float64))
    assert torch.equal(left, spectrum_entropy(torch.tensor(shuffled, dtype=torch.float64)))


@given(eigenvalues=spectra, zeros=st.integers(1, 4))
def test_spectrum_entropy_ignores_zeros(eigenvalues: list[float], zeros: int) -> None:
    positive = torch.tensor([x for x in eigenvalues if x > 0], dtype=torch.float64)
    extended = torch.cat([positive, torch.zeros(zeros, dtype=torch.float64)]).requires_grad_()
    result = spectrum_entropy(extended)
    # pairwise summation may group the same terms differently
    assert result.item() == pytest.approx(spectrum_entropy(positive).item(), rel=1e-14, abs=0)
    result.backward()
    assert extended.grad is not None
    assert torch.isfinite(extended.grad).all()
    assert (extended.grad[len(positive) :] == 0).all()


def test_spectrum_entropy_gradient_agrees_with_finite_differences() -> None:
    eigenvalues = torch.tensor([[0.5, 0.3, 0.2], [2.0, 7.0, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(spectrum_entropy, (eigenvalues,))
    for alpha in (0.5, 0.9, 1.1, 2, math.inf):
        assert torch.autograd.gradcheck(lambda x, a=alpha: spectrum_renyi_entropy(x, a), (eigenvalues,))


@given(eigenvalues=spectra, alpha=st.sampled_from(ORDERS))
def test_spectrum_renyi_entropy_agrees_with_mpmath(eigenvalues: list[float], alpha: float) -> None:
    result = spectrum_renyi_entropy(torch.tensor(eigenvalues, dtype=torch.float64), alpha)
    with mpmath.workdps(80):  # the definition itself cancels near order one
        exact = mp_renyi(eigenvalues, alpha)
    assert relative_error(result, exact) <= 1e-12


@pytest.mark.parametrize("alpha", ORDERS)
def test_spectrum_renyi_entropy_of_a_batch_agrees_with_mpmath(alpha: float) -> None:
    rows = [[0.5, 0.3, 0.2], [2.0, 7.0, 0.1], [1.0, 1e-6, 0.0], [1.0, 1.0, 1.0]]
    results = spectrum_renyi_entropy(torch.tensor([rows, rows[::-1]], dtype=torch.float64), alpha)
    assert results.shape == (2, 4)
    with mpmath.workdps(80):
        for result, row in zip(results.flatten(), [*rows, *rows[::-1]], strict=True):
            assert relative_error(result, mp_renyi(row, alpha)) <= 1e-12


@pytest.mark.parametrize("alpha", [2**9, 2**10 + 1, 5000.0, 2**20 + 1, 1e6, 1e9])
@pytest.mark.parametrize("eigenvalues", [[3.0, 2.0], [1.0, 1.0, 1.0], [1.0, 0.999, 0.5, 0.0], [1.0]])
def test_spectrum_renyi_entropy_of_large_orders_agrees_with_mpmath(eigenvalues: list[float], alpha: float) -> None:
    """Order a differs from its limit by a share of 1 / (a - 1), even at 1e9 a thousand times what is allowed."""
    result = spectrum_renyi_entropy(torch.tensor(eigenvalues, dtype=torch.float64), alpha)
    assert relative_error(result, mp_renyi(eigenvalues, alpha)) <= 1e-12


@pytest.mark.parametrize("alpha", [0, 0.3, 0.99, 1, 1.01, 1.4, 1.7, 2, 7, math.inf])
def test_renyi_entropy_is_never_negative_nor_minus_zero(alpha: float) -> None:
    """Rank one, where the purity rounds to one unit above 1 as often as to one below, and no variance."""
    seeds_tried = range(60)
    features = torch.stack([gaussian(6, 1, seed=seed) * gaussian(1, 5, seed=seed + 1) for seed in seeds_tried])
    assert (density_matrix(features).square().sum((-2, -1)) > 1).any()
    for values in (features, torch.ones(1, 4, 3)):
        entropies = [renyi_entropy(values, alpha), spectrum_renyi_entropy(spectrum(values)[:, :1], alpha)]
        for entropy in torch.cat(entropies).tolist():
            assert entropy >= 0 and math.copysign(1, entropy) == 1


@pytest.mark.parametrize("shape", [(6, 1500), (1500, 6)], ids=["wide", "tall"])
def test_renyi_entropy_of_order_zero_counts_what_exceeds_the_tolerance_of_numpy(shape: tuple[int, int]) -> None:
    """1500 eps = 3.3e-13 of the largest: one eigenvalue below, one above; the larger side counts, not the smaller."""
    threshold = 1500 * EPS
    for ratio, rank in ((threshold / 4, 3), (4 * threshold, 4), (100 * threshold, 4)):
        features = features_with_spectrum([1.0, 1.0, 1.0, ratio], *shape, seed=4)
        assert spectrum(features)[3].item() * 3 == pytest.approx(ratio, abs=20 * EPS)
        assert renyi_entropy(features, 0).exp().item() == pytest.approx(rank, rel=8 * EPS)


def test_renyi_entropy_of_order_zero_compares_with_the_largest_eigenvalue_not_with_the_trace() -> None:
    """Of 40 equal eigenvalues and one of 2.5 times the tolerance: 1/16 of the tolerance, were it of the trace."""
    features = features_with_spectrum([1.0] * 40 + [2.5 * 1500 * EPS], 60, 1500, seed=4)
    assert renyi_entropy(features, 0).exp().item() == pytest.approx(41, rel=8 * EPS)


@pytest.mark.parametrize("alpha", [1e17, 1e300, 1.7e308, 10**400], ids=["1e17", "1e300", "1.7e308", "1e400"])
def test_spectrum_renyi_entropy_of_huge_orders_is_min_entropy(alpha: int | float) -> None:
    eigenvalues = torch.cat([torch.ones(600), torch.full((50,), 0.5)])  # alpha times log 625 leaves float64
    expected = math.log(625)
    assert spectrum_renyi_entropy(eigenvalues, alpha).item() == pytest.approx(expected, rel=8 * EPS, abs=0)


# --- matrix entropy: worked by hand, and against other people's code


def test_matrix_entropy_of_a_small_example_by_hand() -> None:
    features = torch.tensor([[3.0, 7.0], [-3.0, 7.0], [0.0, 8.0], [0.0, 6.0]])  # eigenvalues 0.9 and 0.1
    expected = math.log(10) - 0.9 * math.log(9)
    for side in ("auto", "covariance", "gram"):
        assert abs(matrix_entropy(features, side=side).item() - expected) <= entropy_rounding(4, 2)


@given(samples=sizes, dims=sizes, seed=seeds)
def test_matrix_entropy_agrees_with_scipy_eigvalsh(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    plain = features.numpy() - features.numpy().mean(0)
    eigenvalues = scipy.linalg.eigvalsh(plain.T @ plain).clip(0)
    assert abs(matrix_entropy(features).item() - scipy.stats.entropy(eigenvalues)) <= entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, seed=seeds)
def test_matrix_entropy_agrees_with_scipy_svdvals(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    squares = scipy.linalg.svdvals(features.numpy() - features.numpy().mean(0)) ** 2
    expected = scipy.special.entr(squares / squares.sum()).sum()
    assert abs(matrix_entropy(features).item() - expected) <= entropy_rounding(samples, dims)


@given(dims=st.integers(2, 5), extra=st.integers(2, 5), seed=seeds)
def test_matrix_entropy_agrees_with_scipy_logm(dims: int, extra: int, seed: int) -> None:
    features = gaussian(dims + extra, dims, seed=seed)
    density = density_matrix(features).numpy()
    smallest = scipy.linalg.eigvalsh(density)[0]
    assume(smallest > 1e-6)  # the logarithm of a singular matrix does not exist
    expected = -np.trace(density @ scipy.linalg.logm(density)).real
    # logm is conditioned by 1 / smallest eigenvalue, and is multiplied by a density
    assert abs(matrix_entropy(features).item() - expected) <= 100 * dims * EPS / smallest


GEOMETRIC = [[10.0 ** (-12 * i / (rank - 1)) for i in range(rank)] for rank in (7, 9, 13)]


@pytest.mark.parametrize("eigenvalues", GEOMETRIC, ids=["7 levels", "9 levels", "13 levels"])
@pytest.mark.parametrize("side", ["covariance", "gram"])
@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_matrix_entropy_agrees_with_mpmath(eigenvalues: list[float], side: str, shape: str) -> None:
    rank = len(eigenvalues)
    samples, dims = (rank + 3, rank) if shape == "tall" else (rank + 1, rank + 3)
    features = features_with_spectrum(eigenvalues, samples, dims, seed=rank)
    exact = mp_matrix_entropy(features)
    assert exact > 0.03
    assert relative_error(matrix_entropy(features, side=side), exact) <= 1e-12


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_matrix_entropy_from_singular_values_agrees_with_mpmath(rank: int) -> None:
    eigenvalues = [10.0 ** (-12 * i / (rank - 1)) for i in range(rank)]  # steeper: H is 1e-5 for three levels
    features = features_with_spectrum(eigenvalues, rank + 3, rank, seed=rank)
    exact = mp_matrix_entropy(features)
    assert relative_error(spectrum_entropy(singular_spectrum(features)), exact) <= 1e-12
    assert abs(float(matrix_entropy(features).item() - exact)) <= entropy_rounding(rank + 3, rank)


@pytest.mark.parametrize("tail", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14, 0.0])
@pytest.mark.parametrize("side", ["covariance", "gram"])
@pytest.mark.parametrize(("samples", "dims"), [(6, 4), (5, 7)])
def test_matrix_entropy_near_rank_one_is_exact_to_the_stated_bound(
    tail: float, side: str, samples: int, dims: int
) -> None:
    for seed in range(3):
        features = features_with_spectrum([1.0, tail, tail], samples, dims, seed)
        error = abs(float(matrix_entropy(features, side=side).item() - mp_matrix_entropy(features)))
        assert error <= entropy_rounding(samples, dims)


@pytest.mark.parametrize("tail", [1e-4, 1e-8, 1e-12])
def test_matrix_entropy_near_rank_one_is_closer_from_singular_values(tail: float) -> None:
    for seed in range(3):
        features = features_with_spectrum([1.0, tail, tail], 6, 4, seed)
        exact = mp_matrix_entropy(features)
        closer = relative_error(spectrum_entropy(singular_spectrum(features)), exact)
        # singular values are exact to (samples + dims) eps of the largest, relative to their own size sqrt(tail)
        assert closer <= 4 * (6 + 4) * EPS / math.sqrt(tail)
        if tail < 1e-6:
            assert relative_error(matrix_entropy(features), exact) > closer


# --- laws


@given(samples=st.integers(1, 9), dims=st.integers(1, 9), seed=seeds, side=sides)
def test_matrix_entropy_lies_between_zero_and_log_rank(samples: int, dims: int, seed: int, side: str) -> None:
    features = gaussian(samples, dims, seed=seed)
    entropy = matrix_entropy(features, side=side).item()
    assert 0 <= entropy <= math.log(max(min(samples - 1, dims), 1)) + entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, rank=st.integers(1, 4), seed=seeds)
def test_matrix_entropy_is_at_most_log_rank_of_a_low_rank_product(
    samples: int, dims: int, rank: int, seed: int
) -> None:
    features = gaussian(samples, rank, seed=seed) @ gaussian(rank, dims, seed=seed + 1)
    numpy_rank = np.linalg.matrix_rank(centred(features).numpy())
    assert matrix_entropy(features).item() <= math.log(numpy_rank) + 2 * entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, seed=seeds, offset=st.sampled_from([0.0, 100.0]))
def test_matrix_entropy_is_zero_exactly_at_rank_one(samples: int, dims: int, seed: int, offset: float) -> None:
    steps = on_a_grid(samples, 1, seed=seed)
    assume(steps.unique().numel() > 1)
    line = steps * on_a_grid(1, dims, seed=seed + 1)
    assert matrix_entropy(line + offset).item() <= entropy_rounding(samples, dims)
    plane = features_with_spectrum([1.0, 0.01], samples + 1, dims, seed)
    assert matrix_entropy(plane).item() > 0.05  # two levels 100 : 1 have 0.0555


@given(rank=st.integers(1, 6), more_samples=st.integers(1, 4), more_dims=st.integers(0, 4), seed=seeds)
def test_matrix_entropy_is_log_rank_for_equal_eigenvalues(
    rank: int, more_samples: int, more_dims: int, seed: int
) -> None:
    samples, dims = rank + more_samples, rank + more_dims
    features = features_with_spectrum([1.0] * rank, samples, dims, seed)
    assert abs(matrix_entropy(features).item() - math.log(rank)) <= 4 * entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, rank=st.integers(2, 6), ratio=st.floats(0.05, 0.95), seed=seeds)
def test_matrix_entropy_below_log_rank_for_unequal_eigenvalues(
    samples: int, dims: int, rank: int, ratio: float, seed: int
) -> None:
    samples, dims = samples + rank, dims + rank
    eigenvalues = [ratio**i for i in range(rank)]
    entropy = matrix_entropy(features_with_spectrum(eigenvalues, samples, dims, seed)).item()
    # Pinsker: log r - H is a relative entropy, at least half the squared L1 distance from uniform
    distance = sum(abs(x / sum(eigenvalues) - 1 / rank) for x in eigenvalues)
    assert entropy <= math.log(rank) - distance**2 / 2 + entropy_rounding(samples, dims)


@given(samples=st.integers(1, 50), dims=sizes, value=st.floats(-1e300, 1e300), side=sides)
def test_matrix_entropy_is_zero_without_variance(samples: int, dims: int, value: float, side: str) -> None:
    features = torch.full((2, samples, dims), value, dtype=torch.float64)
    assert torch.equal(matrix_entropy(features, side=side), torch.zeros(2, dtype=torch.float64))
    assert torch.equal(effective_rank(features), torch.ones(2, dtype=torch.float64))
    for alpha in (0, 0.5, 0.9, 1.1, 2, 3, math.inf):
        assert torch.equal(renyi_entropy(features, alpha), torch.zeros(2, dtype=torch.float64))


@given(samples=sizes, dims=sizes, seed=seeds, scale=st.floats(1e-290, 1e290))
def test_matrix_entropy_ignores_scale(samples: int, dims: int, seed: int, scale: float) -> None:
    features = gaussian(samples, dims, seed=seed)
    difference = matrix_entropy(features * scale) - matrix_entropy(features)
    assert difference.abs().item() <= entropy_rounding(samples, dims)  # one more rounding of each entry


@given(samples=sizes, dims=sizes, seed=seeds, side=sides)
def test_matrix_entropy_ignores_a_common_shift(samples: int, dims: int, seed: int, side: str) -> None:
    features, shift = on_a_grid(samples, dims, seed=seed), 1e6 * on_a_grid(1, dims, seed=seed + 1)
    difference = matrix_entropy(features + shift, side=side) - matrix_entropy(features, side=side)
    assert difference.abs().item() <= entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, seed=seeds, side=sides)
def test_matrix_entropy_ignores_orthogonal_maps(samples: int, dims: int, seed: int, side: str) -> None:
    features = gaussian(samples, dims, seed=seed)
    features = features - features.mean(0)
    turned = features @ orthogonal(dims, seed + 1)
    difference = matrix_entropy(turned, side=side) - matrix_entropy(features, side=side)
    assert difference.abs().item() <= 4 * entropy_rounding(samples, dims)  # the map is orthogonal to rounding only


@given(samples=sizes, dims=sizes, seed=seeds, side=sides)
def test_matrix_entropy_ignores_the_order_of_rows(samples: int, dims: int, seed: int, side: str) -> None:
    features = gaussian(samples, dims, seed=seed)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    difference = matrix_entropy(features[order], side=side) - matrix_entropy(features, side=side)
    assert difference.abs().item() <= entropy_rounding(samples, dims)


@given(samples=sizes, dims=sizes, seed=seeds)
def test_matrix_entropy_changes_with_the_scale_of_one_column(samples: int, dims: int, seed: int) -> None:
    # the maps that leave it alone are the orthogonal ones: a non-trivial stretch must show
    features = features_with_spectrum([1.0, 1.0], samples + 1, 2, seed)
    stretched = matrix_entropy(features * torch.tensor([1.0, 3.0], dtype=torch.float64)).item()
    assert abs(stretched - spectrum_entropy(torch.tensor([9.0, 1.0])).item()) <= 40 * entropy_rounding(samples + 1, 2)


@given(samples=sizes, dims=sizes, seed=seeds)
def test_matrix_entropy_is_the_same_on_both_sides(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    left, right = matrix_entropy(features, side="covariance"), matrix_entropy(features, side="gram")
    assert (left - right).abs().item() <= entropy_rounding(samples, dims)
    assert torch.equal(matrix_entropy(features), right if samples < dims else left)


@pytest.mark.parametrize(("samples", "dims"), [(32, 128), (576, 64)])
def test_matrix_entropy_is_the_same_on_both_sides_at_real_sizes(samples: int, dims: int) -> None:
    features = gaussian(samples, dims, seed=0)
    left, right = matrix_entropy(features, side="covariance"), matrix_entropy(features, side="gram")
    assert (left - right).abs().item() <= entropy_rounding(samples, dims)
    assert left.item() <= math.log(min(samples - 1, dims))


@pytest.mark.parametrize("scale", [2.0**-1070, 1e-300, 1e-30, 1e30, 1e300])
def test_matrix_entropy_holds_over_the_whole_range_of_float64(scale: float) -> None:
    features = on_a_grid(6, 4, seed=2)  # integers: exact even as multiples of a subnormal number
    difference = matrix_entropy(features * scale) - matrix_entropy(features)
    assert difference.abs().item() <= entropy_rounding(6, 4)


# --- the Rényi family


@given(samples=sizes, dims=sizes, seed=seeds)
def test_renyi_entropy_falls_with_the_order(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    entropies = torch.stack([renyi_entropy(features, alpha) for alpha in (0, 0.5, 0.9, 1, 1.1, 2, 3, math.inf)])
    assert (entropies.diff() <= entropy_rounding(samples, dims)).all()


@given(eigenvalues=spectra)
def test_renyi_entropy_of_a_spectrum_falls_with_the_order(eigenvalues: list[float]) -> None:
    values = torch.tensor(eigenvalues, dtype=torch.float64)
    entropies = torch.stack([spectrum_renyi_entropy(values, alpha) for alpha in ORDERS])
    assert (entropies.diff() <= 1e-12 * entropies[:-1]).all()  # each is exact to 1e-12 of itself
    # and from infinity it is not far: S_inf <= S_alpha <= S_inf * alpha / (alpha - 1)
    assert entropies[ORDERS.index(2)] <= 2 * entropies[-1] * (1 + 1e-12)


@given(samples=sizes, dims=sizes, seed=seeds)
def test_renyi_entropy_of_order_one_is_matrix_entropy(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    assert torch.equal(renyi_entropy(features, 1), matrix_entropy(features))


@given(samples=sizes, dims=sizes, seed=seeds)
def test_renyi_entropy_tends_to_von_neumann(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    weights = spectrum(features)
    weights = weights[weights > 1e-14]
    variance = (weights * weights.log() ** 2).sum() - (weights * weights.log()).sum() ** 2
    for step in (1e-4, -1e-4, 1e-7, -1e-7):
        slope = (renyi_entropy(features, 1 + step) - matrix_entropy(features)) / step
        # dS/d(alpha) at 1 is -variance/2; the next term and rounding: step * log^3 and rounding / step
        slack = abs(step) * 30 + 2 * entropy_rounding(samples, dims) / abs(step)
        assert abs(slope + variance / 2) <= slack + 1e-9


@given(samples=sizes, dims=sizes, seed=seeds)
def test_renyi_entropy_of_order_two_is_minus_log_purity(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    entropy = renyi_entropy(features, 2).item()
    purity = np.linalg.norm(density_matrix(features).numpy()) ** 2
    assert abs(entropy + math.log(purity)) <= entropy_rounding(samples, dims)
    from_eigenvalues = spectrum_renyi_entropy(spectrum(features), 2).item()
    assert abs(entropy - from_eigenvalues) <= entropy_rounding(samples, dims) * (1 + 1 / purity)


@pytest.mark.parametrize("alpha", [0, 0.5, 0.9, 1, 1.1, 1.5, 2, 3, 17.5, math.inf])
def test_renyi_entropy_of_a_known_spectrum_agrees_with_mpmath(alpha: float) -> None:
    """Eigenvalues are off by less than 18 eps of the largest, a share of 72 eps of the least, 1.6e-14."""
    levels = [4.0, 2.0, 1.0]
    result = renyi_entropy(features_with_spectrum(levels, 7, 5, seed=3), alpha)
    assert relative_error(result, mp_renyi(levels, alpha)) <= 1e-13


def test_renyi_entropy_of_order_zero_has_the_same_tolerance_in_a_batch() -> None:
    """An eigenvalue of 1e-13 of the largest: 70 times what 4 samples may lose to rounding, not what 4096 may."""
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 10**-6.5], [0.0, -(10**-6.5)]]).double()
    assert renyi_entropy(features.expand(4096, 4, 2), 0).unique().item() == pytest.approx(math.log(2), rel=8 * EPS)


@given(samples=sizes, dims=sizes, rank=st.integers(1, 5), seed=seeds)
def test_renyi_entropy_of_order_zero_is_log_rank(samples: int, dims: int, rank: int, seed: int) -> None:
    rank = min(rank, samples - 1, dims)
    features = features_with_spectrum([0.5**i for i in range(rank)], samples, dims, seed)
    assert renyi_entropy(features, 0).exp().item() == pytest.approx(rank, rel=8 * EPS)
    assert np.linalg.matrix_rank(density_matrix(features).numpy(), hermitian=True) == rank


@given(samples=sizes, dims=sizes, seed=seeds)
def test_renyi_entropy_of_infinite_order_is_min_entropy(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    norm = np.linalg.norm(density_matrix(features).numpy(), ord=2)
    assert abs(renyi_entropy(features, math.inf).item() + math.log(norm)) <= entropy_rounding(samples, dims) / norm


def test_renyi_entropy_below_order_one_does_not_count_rounding() -> None:
    features = features_with_spectrum([1.0, 1.0], 9, 7, seed=0)
    assert (spectrum(features)[2:] > 0).any()  # zero but for rounding
    for alpha in (0, 0.01, 0.1, 0.5):
        assert renyi_entropy(features, alpha).item() == pytest.approx(math.log(2), rel=1e-13)
    assert spectrum_renyi_entropy(spectrum(features), 0.1).item() > math.log(2) + 0.01


# --- effective rank


@given(samples=sizes, dims=sizes, seed=seeds)
def test_effective_rank_lies_between_one_and_the_rank(samples: int, dims: int, seed: int) -> None:
    rank = effective_rank(gaussian(samples, dims, seed=seed)).item()
    assert 1 <= rank <= min(samples - 1, dims) * (1 + entropy_rounding(samples, dims))


@given(samples=sizes, dims=sizes, seed=seeds)
def test_effective_rank_is_the_exponential_of_scipy_entropy(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    squares = scipy.linalg.svdvals(features.numpy() - features.numpy().mean(0)) ** 2
    expected = math.exp(scipy.stats.entropy(squares))
    assert effective_rank(features).item() == pytest.approx(expected, rel=2 * entropy_rounding(samples, dims))


@given(rank=st.integers(1, 8), extra=st.integers(1, 5), seed=seeds)
def test_effective_rank_of_isotropic_features_is_their_dimension(rank: int, extra: int, seed: int) -> None:
    features = features_with_spectrum([1.0] * rank, rank + extra, rank, seed)
    result = effective_rank(features).item()
    assert result == pytest.approx(rank, rel=4 * entropy_rounding(rank + extra, rank))
    corners = torch.cat([torch.eye(rank), -torch.eye(rank)])
    assert effective_rank(corners).item() == pytest.approx(rank, rel=8 * EPS)


# --- batches, bits, dtypes, views


@given(batch=st.integers(0, 4), samples=sizes, dims=sizes, seed=seeds, side=sides)
def test_matrix_entropy_of_a_batch_equals_its_parts(batch: int, samples: int, dims: int, seed: int, side: str) -> None:
    features = gaussian(2, batch, samples, dims, seed=seed)
    whole = matrix_entropy(features, side=side)
    assert whole.shape == (2, batch)
    for i in range(2):
        for j in range(batch):
            part = matrix_entropy(features[i, j], side=side)
            assert (whole[i, j] - part).abs().item() <= entropy_rounding(samples, dims)


@given(seed=seeds, side=sides)
def test_matrix_entropy_gives_the_same_bits_every_time(seed: int, side: str) -> None:
    features = gaussian(5, 8, 6, seed=seed)
    assert torch.equal(matrix_entropy(features, side=side), matrix_entropy(features.clone(), side=side))


FUNCTIONS: list[Function] = [
    matrix_entropy,
    effective_rank,
    lambda features: renyi_entropy(features, 0.5),
    lambda features: renyi_entropy(features, 2),
]
NAMES = ["matrix_entropy", "effective_rank", "order 0.5", "order 2"]


@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_matrix_entropy_of_any_dtype_is_that_of_the_same_numbers_in_float64(
    function: Function, dtype: torch.dtype
) -> None:
    features = gaussian(3, 6, 4, seed=5).to(dtype)
    result = function(features)
    assert result.dtype == torch.float64
    assert torch.equal(result, function(features.to(torch.float64)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_spectrum_entropy_of_any_dtype_is_that_of_the_same_numbers_in_float64(dtype: torch.dtype) -> None:
    eigenvalues = gaussian(3, 6, seed=5).abs().to(dtype)
    for function in (spectrum_entropy, lambda x: spectrum_renyi_entropy(x, 0.7)):
        assert function(eigenvalues).dtype == torch.float64
        assert torch.equal(function(eigenvalues), function(eigenvalues.to(torch.float64)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
def test_matrix_entropy_takes_views_and_empty_batches(function: Function) -> None:
    view = gaussian(6, 4, 3, seed=6).transpose(0, 2)
    assert not view.is_contiguous()
    assert (function(view) - function(view.contiguous())).abs().max() <= 10 * entropy_rounding(4, 6)
    assert function(torch.ones(0, 3, 2)).shape == (0,)


# --- gradients


@pytest.mark.parametrize("side", ["covariance", "gram"])
def test_matrix_entropy_gradient_agrees_with_finite_differences(side: str) -> None:
    features = gaussian(2, 4, 3, seed=8)  # full rank on the covariance side; on the Gram side one zero, from centring
    assert torch.autograd.gradcheck(lambda x: matrix_entropy(x, side=side), (features.requires_grad_(),))


@pytest.mark.parametrize("alpha", [0.5, 0.9, 1, 1.1, 2, 3, math.inf])
def test_renyi_entropy_gradient_agrees_with_finite_differences(alpha: float) -> None:
    features = gaussian(2, 5, 3, seed=9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: renyi_entropy(x, alpha), (features,))


@given(samples=st.integers(4, 9), dims=sizes, seed=seeds)
def test_matrix_entropy_gradient_is_orthogonal_to_scale_and_shift(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed).requires_grad_()
    (gradient,) = torch.autograd.grad(matrix_entropy(features), features)
    # the derivative in a direction that does not change H is 0; gradients carry logs of up to 1/eps, so a factor 40
    slack = 40 * entropy_rounding(samples, dims) * (1 + gradient.abs().sum().item())
    assert abs((gradient * features).sum().item()) <= slack
    assert gradient.sum(0).abs().max().item() <= slack


@pytest.mark.parametrize(
    "features",
    [
        torch.ones(4, 3),
        torch.zeros(2, 5),
        torch.cat([torch.eye(3), -torch.eye(3)]),
        torch.arange(4.0)[:, None] * torch.ones(3),
        torch.ones(1, 2),
        torch.full((3, 2), 0.1, dtype=torch.float64),
        torch.stack([torch.ones(3, 2), torch.arange(6.0).reshape(3, 2)]),
    ],
    ids=["equal rows", "zeros", "repeated", "rank one", "one sample", "rounding mean", "batch"],
)
@pytest.mark.parametrize("alpha", [0, 0.5, 0.9, 1, 1.1, 2, 3, math.inf])
def test_matrix_entropy_has_finite_gradients(features: Tensor, alpha: float) -> None:
    calls = [lambda x: renyi_entropy(x, alpha)]
    if alpha == 1:
        calls += [lambda x: matrix_entropy(x, side="covariance"), lambda x: matrix_entropy(x, side="gram")]
    for call in calls:
        leaf = features.clone().requires_grad_()
        call(leaf).sum().backward()
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


# --- bad input


BAD_FEATURES = [
    (torch.ones(3), r"features must have shape \(\.\.\., samples, dims\), got 1 dimension\(s\): shape \(3,\)"),
    (torch.ones(0, 3), r"at least one entry on its axis 'samples' .* got shape \(0, 3\)"),
    (torch.ones(3, 0), r"at least one entry on its axis 'dims' .* got shape \(3, 0\)"),
    (torch.ones(2, 3, dtype=torch.int64), r"features must have a real floating dtype .* got torch\.int64"),
    (torch.ones(2, 3, dtype=torch.complex64), r"features must have a real floating dtype .* got torch\.complex64"),
    (torch.tensor([[1.0, math.nan]]), r"features must be finite, got nan at index \(0, 1\)"),
    (torch.tensor([[1.0], [-math.inf]]), r"features must be finite, got -inf at index \(1, 0\)"),
]
BAD_IDS = ["one axis", "no samples", "no dims", "integers", "complex", "nan", "infinity"]


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
@pytest.mark.parametrize(("features", "message"), BAD_FEATURES, ids=BAD_IDS)
def test_matrix_entropy_rejects_bad_features(function: Function, features: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(features)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
def test_matrix_entropy_rejects_what_is_not_a_tensor(function: Function) -> None:
    with pytest.raises(TypeError, match=r"features must be a torch\.Tensor, got ndarray"):
        function(np.ones((2, 2)))


@pytest.mark.usefixtures("own_checks")
def test_matrix_entropy_rejects_an_unknown_side() -> None:
    with pytest.raises(ValueError, match=r"side must be one of 'auto', 'covariance', 'gram', got 'smaller'"):
        matrix_entropy(torch.ones(2, 2), side="smaller")


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", [spectrum_entropy, lambda x: spectrum_renyi_entropy(x, 0.5)])
@pytest.mark.parametrize(
    ("eigenvalues", "message"),
    [
        (torch.tensor(1.0), r"eigenvalues must have shape \(\.\.\., eigenvalues\), got 0 dimension\(s\)"),
        (torch.ones(2, 0), r"at least one entry on its axis 'eigenvalues' .* got shape \(2, 0\)"),
        (torch.ones(2, dtype=torch.int32), r"eigenvalues must have a real floating dtype .* got torch\.int32"),
        (torch.tensor([0.5, math.nan]), r"eigenvalues must be finite, got nan at index \(1,\)"),
        (
            torch.tensor([[0.0, 0.5, -0.25], [-1.0, 0.0, 1.0]]),
            r"eigenvalues must be non-negative, got -0\.25 at index \(0, 2\)",
        ),
    ],
    ids=["scalar", "empty", "integers", "nan", "negative"],
)
def test_spectrum_entropy_rejects_bad_eigenvalues(function: Function, eigenvalues: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(eigenvalues)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", [spectrum_renyi_entropy, renyi_entropy])
@pytest.mark.parametrize(
    ("alpha", "error", "message"),
    [
        (-0.5, ValueError, r"alpha must be at least 0, got -0\.5"),
        (math.nan, ValueError, r"alpha must be at least 0, got nan"),
        ("2", TypeError, r"alpha must be an int or a float, got str '2'"),
        (True, TypeError, r"alpha must be an int or a float, got bool True"),
        (None, TypeError, r"alpha must be an int or a float, got NoneType None"),
    ],
)
def test_renyi_entropy_rejects_bad_orders(
    function: Callable[[Tensor, object], Tensor], alpha: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(torch.ones(2, 2), alpha)

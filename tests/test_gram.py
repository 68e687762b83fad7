r"""Section 2: the density matrix on both sides, and its spectrum.

Where a tolerance is not an equality of bits it is `trace_rounding`, derived there.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.gram import (
    centred,
    covariance_spectrum,
    density_matrix,
    gram_spectrum,
    singular_spectrum,
    spectrum,
)

Function = Callable[[torch.Tensor], torch.Tensor]
EPS = torch.finfo(torch.float64).eps
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32)
sides = st.sampled_from(["covariance", "gram"])


def trace_rounding(samples: int, dims: int) -> float:
    r"""How far rounding moves a density matrix (and so the list of its eigenvalues) in trace norm.

    With u = eps/2 and k the inner dimension of the product: centring moves Z by at most 3u in Frobenius norm, which
    moves ZZ' by 6u of its trace; the product adds k u |Z||Z'|, in trace norm at most sqrt(side) k u; a backward
    stable eigensolver adds side u in Frobenius norm, sqrt(side) side u in trace norm. The sum is below
    sqrt(side) (samples + dims + 6) u; two such results are compared, hence eps for u.
    """
    return math.sqrt(max(samples, dims)) * (samples + dims + 6) * EPS


def gaussian(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features_with_spectrum(eigenvalues: list[float], samples: int, dims: int, seed: int) -> torch.Tensor:
    """Columns of U orthonormal and orthogonal to ones, so the features are centred: their spectrum is known."""
    rank = len(eigenvalues)
    ones = torch.ones(samples, 1, dtype=torch.float64)
    left = torch.linalg.qr(torch.cat([ones, gaussian(samples, rank, seed=seed)], 1)).Q[:, 1:]
    right = torch.linalg.qr(gaussian(dims, rank, seed=seed + 1)).Q
    return left * torch.tensor(eigenvalues, dtype=torch.float64).sqrt() @ right.mT


def padded(eigenvalues: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(eigenvalues, (0, length - eigenvalues.shape[-1]))


# --- worked by hand


def test_density_matrix_of_a_small_example_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0], [2.0, -1.0]])  # centred: (-1,0) (1,0) (0,3) (0,-3)
    assert torch.equal(centred(features), torch.tensor([[-1.0, 0], [1, 0], [0, 3], [0, -3]], dtype=torch.float64))
    assert torch.equal(density_matrix(features), torch.tensor([[0.1, 0.0], [0.0, 0.9]], dtype=torch.float64))
    assert torch.equal(covariance_spectrum(features), torch.tensor([0.9, 0.1], dtype=torch.float64))
    torch.testing.assert_close(
        gram_spectrum(features), torch.tensor([0.9, 0.1, 0.0, 0.0], dtype=torch.float64), rtol=0, atol=8 * EPS
    )


# --- centring


@given(samples=sizes, dims=sizes, seed=seeds)
def test_centred_columns_sum_to_zero(samples: int, dims: int, seed: int) -> None:
    columns = centred(gaussian(samples, dims, seed=seed) + 1000.0)
    assert (columns.sum(-2).abs() <= samples * EPS * columns.abs().sum(-2)).all()


@given(samples=st.integers(1, 200), value=st.floats(allow_nan=False, allow_infinity=False))
def test_centred_of_equal_rows_is_exactly_zero(samples: int, value: float) -> None:
    features = torch.full((samples, 2), value, dtype=torch.float64)
    assert (centred(features) == 0).all()
    assert (density_matrix(features) == 0).all()


@pytest.mark.parametrize("exponents", [(1023, -1074), (1000, -1000), (-1074, 1023), (1023, -500), (0, -1074)])
def test_density_matrix_of_columns_that_lie_as_far_apart_as_float64_allows(exponents: tuple[int, int]) -> None:
    """2^2097 between them: the faint column counts for nothing, and no power of two leaves the range on the way."""
    columns = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    features = torch.stack([torch.ldexp(c, torch.tensor(e)) for c, e in zip(columns.T, exponents, strict=True)], 1)
    assert (features != 0).sum() == 4
    large = int(exponents[1] > exponents[0])
    expected = torch.zeros(2, 2, dtype=torch.float64)
    expected[large, large] = 1.0
    for side in ("covariance", "auto"):
        assert torch.equal(density_matrix(features, side=side), expected)
    assert centred(features).tolist() == features.tolist()
    assert spectrum(features).tolist() == [1.0, 0.0]


def test_centred_once_leaves_a_variance_that_is_not_there() -> None:
    features = torch.full((3, 1), 0.1, dtype=torch.float64)
    assert (features - features.mean(-2, keepdim=True)).abs().max() > 0
    assert centred(features).abs().max() == 0


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=7),
    offset=st.sampled_from([0.0, 1e6, -1e30]),
)
def test_centred_agrees_with_exact_arithmetic(values: list[float], offset: float) -> None:
    column = torch.tensor(values, dtype=torch.float64)[:, None] + offset
    exact = [Fraction(x) for x in column[:, 0].tolist()]
    mean = sum(exact) / len(exact)
    result = [Fraction(x) for x in centred(column)[:, 0].tolist()]
    largest = max(abs(x - mean) for x in exact)
    # each pass rounds a difference once (u of itself) and its mean n times; the mean cancels in the second pass
    bound = Fraction(EPS) * (len(values) + 3) * largest
    assert all(abs(x - mean - y) <= bound for x, y in zip(exact, result, strict=True))


# --- the density matrix


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds, side=sides)
def test_density_matrix_is_a_density_matrix(samples: int, dims: int, seed: int, side: str) -> None:
    density = density_matrix(gaussian(samples, dims, seed=seed), side=side)
    assert density.shape == ((dims, dims) if side == "covariance" else (samples, samples))
    assert density.dtype == torch.float64
    assert torch.equal(density, density.mT)
    assert abs(density.trace().item() - 1) <= density.shape[-1] * EPS
    assert scipy.linalg.eigvalsh(density.numpy()).min() >= -trace_rounding(samples, dims)


@given(samples=st.integers(2, 9), dims=st.integers(2, 9), seed=seeds)
def test_density_matrix_agrees_with_numpy_cov(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    covariance = np.cov(features.numpy(), rowvar=False, bias=True)
    bound = trace_rounding(samples, dims)
    np.testing.assert_allclose(density_matrix(features), covariance / np.trace(covariance), rtol=0, atol=bound)


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds, exponent=st.integers(-900, 900), side=sides)
def test_density_matrix_ignores_powers_of_two_exactly(
    samples: int, dims: int, seed: int, exponent: int, side: str
) -> None:
    features = gaussian(samples, dims, seed=seed)
    assert torch.equal(density_matrix(features * 2.0**exponent, side=side), density_matrix(features, side=side))


@given(samples=sizes, dims=sizes, value=st.floats(-1e300, 1e300), side=sides)
def test_density_matrix_without_variance_is_zero(samples: int, dims: int, value: float, side: str) -> None:
    features = torch.full((samples, dims), value, dtype=torch.float64)
    assert (density_matrix(features, side=side) == 0).all()
    assert (spectrum(features, side) == 0).all()
    assert (singular_spectrum(features) == 0).all()


@pytest.mark.parametrize("scale", [2.0**-1074, 1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_density_matrix_holds_over_the_whole_range_of_float64(scale: float) -> None:
    features = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64) * scale
    expected = torch.tensor([0.9, 0.1], dtype=torch.float64)
    torch.testing.assert_close(density_matrix(features), expected.diag(), rtol=8 * EPS, atol=0)  # 1e300 * 3 rounds
    torch.testing.assert_close(spectrum(features), expected, rtol=8 * EPS, atol=0)
    torch.testing.assert_close(singular_spectrum(features), expected, rtol=8 * EPS, atol=0)


def test_density_matrix_sees_a_small_variance_beside_a_huge_constant() -> None:
    features = torch.tensor([[1e300, 1e-300], [1e300, -1e-300]], dtype=torch.float64)
    assert torch.equal(density_matrix(features), torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64))


def test_density_matrix_at_the_ends_of_float64() -> None:
    largest = torch.finfo(torch.float64).max
    assert density_matrix(torch.tensor([[largest], [-largest], [0.0]], dtype=torch.float64)).item() == 1
    assert (centred(torch.full((7, 2), largest, dtype=torch.float64)) == 0).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_density_matrix_holds_over_the_range_of_float32(scale: float) -> None:
    features = gaussian(6, 4, seed=1).float() * scale
    reference = gaussian(6, 4, seed=1).float()
    # one float32 rounding of each entry by the scaling: relative 2^-24 in features, twice that in their products
    bound = 2 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(density_matrix(features), density_matrix(reference), rtol=0, atol=bound)


@pytest.mark.parametrize("side", ["auto", "covariance", "gram"])
def test_density_matrix_auto_takes_the_smaller_side(side: str) -> None:
    chosen = {"auto": 3, "covariance": 5, "gram": 3}[side]
    assert density_matrix(gaussian(3, 5, seed=0), side=side).shape == (chosen, chosen)
    assert spectrum(gaussian(3, 5, seed=0), side).shape == (chosen,)
    assert spectrum(gaussian(5, 3, seed=0)).shape == (3,)
    assert spectrum(gaussian(5, 3, seed=0), "gram").shape == (5,)


# --- the spectrum


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds, side=sides)
def test_spectrum_is_a_probability_vector_in_descending_order(samples: int, dims: int, seed: int, side: str) -> None:
    eigenvalues = spectrum(gaussian(samples, dims, seed=seed), side)
    assert (eigenvalues >= 0).all()
    assert (eigenvalues.diff() <= 0).all()
    assert abs(eigenvalues.sum().item() - 1) <= trace_rounding(samples, dims)


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_covariance_spectrum_agrees_with_scipy_eigvalsh(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    plain = features.numpy() - features.numpy().mean(0)
    expected = scipy.linalg.eigvalsh(plain.T @ plain / np.square(plain).sum())[::-1]
    error = np.abs(covariance_spectrum(features).numpy() - expected).sum()
    assert error <= trace_rounding(samples, dims)


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_gram_spectrum_agrees_with_scipy_svdvals(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    plain = features.numpy() - features.numpy().mean(0)
    squares = scipy.linalg.svdvals(plain) ** 2
    expected = padded(torch.tensor(squares / squares.sum()), samples)
    error = (gram_spectrum(features) - expected[:samples]).abs().sum()
    assert error <= trace_rounding(samples, dims)


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_gram_spectrum_has_one_zero_from_centring(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    assert gram_spectrum(features)[-1] <= trace_rounding(samples, dims)
    ones = torch.ones(samples, dtype=torch.float64)
    assert (density_matrix(features, side="gram") @ ones).abs().max() <= trace_rounding(samples, dims)


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_spectrum_is_the_same_on_both_sides_but_for_zeros(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    length = max(samples, dims)
    left, right = padded(gram_spectrum(features), length), padded(covariance_spectrum(features), length)
    assert (left - right).abs().sum() <= trace_rounding(samples, dims)
    assert (left[min(samples - 1, dims) :] <= trace_rounding(samples, dims)).all()  # beyond the rank: zeros


@given(multiplicity=st.integers(2, 4), extra=st.integers(0, 3), seed=seeds)
def test_spectrum_keeps_multiplicities_on_both_sides(multiplicity: int, extra: int, seed: int) -> None:
    eigenvalues = [0.25] * multiplicity + [0.0625] * 2
    samples, dims = multiplicity + 3, multiplicity + 2 + extra
    features = features_with_spectrum(eigenvalues, samples, dims, seed)
    expected = torch.tensor(eigenvalues, dtype=torch.float64) / sum(eigenvalues)
    for side, length in (("gram", samples), ("covariance", dims)):
        error = (spectrum(features, side) - padded(expected, length)).abs().sum()
        assert error <= 4 * trace_rounding(samples, dims)  # the construction (two QR, one product) rounds as well


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_spectrum_has_the_same_trace_on_both_sides(samples: int, dims: int, seed: int) -> None:
    """Of the matrices themselves, where the columns that were centred are multiplied up again by their norm."""
    features = gaussian(samples, dims, seed=seed)
    total = float(((features - features.mean(0)) ** 2).sum())
    for side in ("covariance", "gram"):
        scaled = spectrum(features, side) * total  # eigenvalues of the covariance and of the Gram matrix, times n
        expected = scipy.linalg.svdvals((features - features.mean(0)).numpy()) ** 2
        assert scaled.sum().item() == pytest.approx(expected.sum(), rel=samples * dims * 4 * EPS)
        bound = 2 * total * trace_rounding(samples, dims)
        assert np.abs(scaled.numpy()[: len(expected)] - expected).max() <= bound


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_spectrum_takes_the_smaller_side_and_the_covariance_of_a_square(shape: tuple[int, int]) -> None:
    """To the bit, where the two sides differ in their last bits."""
    features = gaussian(2, *shape, seed=1)
    chosen = "gram" if shape[0] < shape[1] else "covariance"
    assert torch.equal(spectrum(features), spectrum(features, chosen))
    assert torch.equal(density_matrix(features, side="auto"), density_matrix(features, side=chosen))
    assert shape != (4, 4) or not torch.equal(spectrum(features, "gram"), spectrum(features, "covariance"))


@given(batch=st.integers(1, 3), samples=st.integers(2, 6), dims=sizes, seed=seeds)
def test_singular_spectrum_of_a_batch_equals_its_parts(batch: int, samples: int, dims: int, seed: int) -> None:
    features = gaussian(batch, samples, dims, seed=seed)
    parts = torch.stack([singular_spectrum(part) for part in features])
    assert (singular_spectrum(features) - parts).abs().max() <= trace_rounding(samples, dims)
    assert (singular_spectrum(torch.cat([features, torch.ones(1, samples, dims)]))[-1] == 0).all()


@given(samples=st.integers(2, 9), dims=sizes, seed=seeds)
def test_singular_spectrum_equals_spectrum(samples: int, dims: int, seed: int) -> None:
    features = gaussian(samples, dims, seed=seed)
    assert (singular_spectrum(features) - spectrum(features)).abs().sum() <= trace_rounding(samples, dims)


@given(seed=seeds)
def test_spectrum_is_exact_relative_to_the_largest_eigenvalue_only(seed: int) -> None:
    features = features_with_spectrum([1.0, 1e-12], 6, 4, seed)
    small = spectrum(features)[1].item()
    assert abs(small - 1e-12) <= trace_rounding(6, 4)
    # singular values are exact to eps of the largest, so the square of the small one to 2 eps sqrt(1 * 1e-12)
    assert abs(singular_spectrum(features)[1].item() - 1e-12) <= 2 * trace_rounding(6, 4) * 1e-6


def test_spectrum_loses_what_singular_spectrum_keeps() -> None:
    features = features_with_spectrum([1.0, 1e-20], 6, 4, 0)
    assert abs(spectrum(features)[1].item() / 1e-20 - 1) > 1
    assert abs(singular_spectrum(features)[1].item() / 1e-20 - 1) < 1e-4


# --- batches, dtypes, views, gradients


@given(batch=st.integers(0, 4), samples=st.integers(2, 9), dims=sizes, seed=seeds, side=sides)
def test_spectrum_of_a_batch_equals_its_parts(batch: int, samples: int, dims: int, seed: int, side: str) -> None:
    features = gaussian(2, batch, samples, dims, seed=seed)
    whole = spectrum(features, side)
    assert whole.shape == (2, batch, samples if side == "gram" else dims)
    for i in range(2):
        for j in range(batch):
            assert (whole[i, j] - spectrum(features[i, j], side)).abs().sum() <= trace_rounding(samples, dims)


def test_spectrum_batch_entries_of_any_magnitude_do_not_disturb_each_other() -> None:
    features = gaussian(5, 3, seed=3)
    batch = torch.stack([features * 2.0**-900, features * 2.0**900, torch.zeros_like(features)])
    whole, alone = spectrum(batch), spectrum(features)
    assert (whole[:2] - alone).abs().sum(-1).max() <= trace_rounding(5, 3)
    assert (whole[2] == 0).all()


@given(seed=seeds, side=sides)
def test_spectrum_gives_the_same_bits_every_time(seed: int, side: str) -> None:
    features = gaussian(4, 7, 5, seed=seed)
    assert torch.equal(spectrum(features, side), spectrum(features.clone(), side))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("function", [centred, density_matrix, spectrum, singular_spectrum])
def test_spectrum_of_any_dtype_is_that_of_the_same_numbers_in_float64(function: Function, dtype: torch.dtype) -> None:
    features = gaussian(3, 6, 4, seed=5).to(dtype)
    result = function(features)
    assert result.dtype == torch.float64
    assert torch.equal(result, function(features.to(torch.float64)))


def test_spectrum_takes_views_that_are_not_contiguous() -> None:
    storage = gaussian(4, 10, 3, seed=6)
    for view in (storage.transpose(0, 2), storage[:, ::2], storage[..., :1].expand(4, 10, 5)):
        expected = spectrum(view.contiguous())
        assert not view.is_contiguous()
        assert (spectrum(view) - expected).abs().sum(-1).max() <= trace_rounding(*view.shape[-2:])


@pytest.mark.parametrize("function", [centred, density_matrix, covariance_spectrum, gram_spectrum, singular_spectrum])
def test_spectrum_leaves_its_input_alone(function: Function) -> None:
    features = gaussian(4, 3, seed=7)
    before = features.clone()
    function(features)
    assert torch.equal(features, before)


@pytest.mark.parametrize("function", [centred, density_matrix, covariance_spectrum, singular_spectrum])
def test_spectrum_gradient_agrees_with_finite_differences(function: Function) -> None:
    features = gaussian(6, 3, seed=8).requires_grad_()  # three distinct eigenvalues
    assert torch.autograd.gradcheck(function, (features,))


@pytest.mark.parametrize(
    "features",
    [
        torch.ones(4, 3),
        torch.cat([torch.eye(3), -torch.eye(3)]),
        torch.arange(4.0)[:, None] * torch.ones(3),
        torch.ones(1, 2),
        torch.full((3, 2), 1e300, dtype=torch.float64),
    ],
    ids=["zero variance", "repeated", "rank one", "one sample", "huge and equal"],
)
@pytest.mark.parametrize("function", [centred, density_matrix, covariance_spectrum, gram_spectrum, singular_spectrum])
def test_spectrum_has_finite_gradients(function: Function, features: torch.Tensor) -> None:
    leaf = features.clone().requires_grad_()
    result = function(leaf)
    weights = torch.arange(1.0, result.numel() + 1, dtype=torch.float64).reshape(result.shape)
    (result * weights).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()


# --- bad input


FUNCTIONS = [centred, density_matrix, covariance_spectrum, gram_spectrum, spectrum, singular_spectrum]


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(3), r"features must have shape \(\.\.\., samples, dims\), got 1 dimension\(s\): shape \(3,\)"),
        (torch.ones(0, 3), r"at least one entry on its axis 'samples' .* got shape \(0, 3\)"),
        (torch.ones(2, 3, 0), r"at least one entry on its axis 'dims' .* got shape \(2, 3, 0\)"),
        (torch.ones(2, 3, dtype=torch.int64), r"features must have a real floating dtype .* got torch\.int64"),
        (torch.ones(2, 3, dtype=torch.complex64), r"features must have a real floating dtype .* got torch\.complex64"),
        (torch.tensor([[1.0, math.nan]]), r"features must be finite, got nan at index \(0, 1\)"),
        (torch.tensor([[1.0], [math.inf]]), r"features must be finite, got inf at index \(1, 0\)"),
    ],
    ids=["one axis", "no samples", "no dims", "integers", "complex", "nan", "infinity"],
)
def test_gram_functions_reject_bad_features(function: Function, features: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(features)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gram_functions_reject_what_is_not_a_tensor(function: Function) -> None:
    with pytest.raises(TypeError, match=r"features must be a torch\.Tensor, got list"):
        function([[1.0, 2.0]])


@pytest.mark.usefixtures("own_checks")
def test_gram_functions_reject_an_unknown_side() -> None:
    for call in (lambda: density_matrix(torch.ones(2, 2), side="dual"), lambda: spectrum(torch.ones(2, 2), "dual")):
        with pytest.raises(ValueError, match=r"side must be one of 'auto', 'covariance', 'gram', got 'dual'"):
            call()

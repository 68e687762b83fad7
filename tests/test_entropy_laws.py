r"""Section 1: the laws of von Neumann entropy, held by `matrix_entropy` on features with a given density matrix.

A density matrix is R = W W'. With U orthonormal columns orthogonal to the vector of ones, the features U W' are centred
and have R as their covariance. States and partial traces are made by numpy, so nothing under test helps to make them.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from entropyprune_ref.entropy import matrix_entropy, renyi_entropy, spectrum_entropy
from entropyprune_ref.gram import density_matrix

Array = NDArray[np.float64]

# Realising a state as features rounds it by some 10 dims eps in trace norm; by Fannes-Audenaert the entropy of at
# most 27 dimensions then moves by T (log 26 - log T + 1), T = 6e-14: 2.1e-12. Up to four entropies enter a law.
SLACK = 1e-11

dims = st.integers(2, 5)
seeds = st.integers(0, 2**32)
shares = st.floats(0, 1)


def state(size: int, seed: int, rank: int | None = None) -> Array:
    """A random density matrix with eigenvalues spread over some orders of magnitude."""
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(size, rank or size)) * np.exp(generator.normal(size=rank or size))
    product = factor @ factor.T
    return product / np.trace(product)


def features_of(density: Array) -> torch.Tensor:
    """Features with one sample more than dims, whose covariance is `density`."""
    size = len(density)
    values, vectors = scipy.linalg.eigh(density)
    factor = vectors * np.sqrt(values.clip(0))
    plane = np.concatenate([np.ones((size + 1, 1)), np.eye(size + 1)[:, :size]], 1)
    return torch.from_numpy(np.linalg.qr(plane)[0][:, 1:] @ factor.T)


def entropy(density: Array) -> float:
    return matrix_entropy(features_of(density)).item()


def binary_entropy(share: float) -> float:
    return float(scipy.special.entr(share) + scipy.special.entr(1 - share))


def reduced(density: Array, sizes: tuple[int, ...], keep: tuple[int, ...]) -> Array:
    """Partial trace: the state of the subsystems in `keep`."""
    tensor = density.reshape(sizes * 2)
    for axis in reversed(range(len(sizes))):
        if axis not in keep:
            tensor = np.trace(tensor, axis1=axis, axis2=axis + tensor.ndim // 2)
    size = math.prod(sizes[axis] for axis in keep)
    return tensor.reshape(size, size)


def trace_distance(left: Array, right: Array) -> float:
    return float(np.abs(scipy.linalg.eigvalsh(left - right)).sum() / 2)


# --- the construction itself


@given(size=dims, seed=seeds)
def test_features_of_a_state_have_it_as_density_matrix(size: int, seed: int) -> None:
    density = state(size, seed)
    np.testing.assert_allclose(density_matrix(features_of(density)), density, rtol=0, atol=1e-14)
    assert abs(entropy(density) - spectrum_entropy(torch.tensor(scipy.linalg.eigvalsh(density)).clamp(0))) <= SLACK


@given(seed=seeds)
def test_reduced_states_of_a_product_are_its_factors(seed: int) -> None:
    left, middle, right = state(2, seed), state(3, seed + 1), state(2, seed + 2)
    whole = np.kron(np.kron(left, middle), right)
    np.testing.assert_allclose(reduced(whole, (2, 3, 2), (1,)), middle, rtol=0, atol=1e-14)
    np.testing.assert_allclose(reduced(whole, (2, 3, 2), (0, 2)), np.kron(left, right), rtol=0, atol=1e-14)


# --- one system


@given(size=dims, seed=seeds, share=shares)
def test_matrix_entropy_is_concave(size: int, seed: int, share: float) -> None:
    left, right = state(size, seed), state(size, seed + 1, rank=1)
    mixture = entropy(share * left + (1 - share) * right)
    mean = share * entropy(left) + (1 - share) * entropy(right)
    assert mean - SLACK <= mixture <= mean + binary_entropy(share) + SLACK  # concave, and by no more than the choice


@given(size=dims, seed=seeds)
def test_matrix_entropy_is_strictly_concave(size: int, seed: int) -> None:
    left, right = state(size, seed), state(size, seed + 1)
    gap = entropy((left + right) / 2) - (entropy(left) + entropy(right)) / 2
    # the gap is a mean of two relative entropies to the mixture, each at least 2 T^2 of its distance (Pinsker)
    assert gap >= trace_distance(left, right) ** 2 / 2 - SLACK


@given(size=dims, seed=seeds)
def test_matrix_entropy_is_largest_at_the_maximally_mixed_state(size: int, seed: int) -> None:
    assert abs(entropy(np.eye(size) / size) - math.log(size)) <= SLACK
    density = state(size, seed)
    distance = trace_distance(density, np.eye(size) / size)
    assert entropy(density) <= math.log(size) - 2 * distance**2 + SLACK  # Pinsker


@given(size=dims, seed=seeds)
def test_matrix_entropy_of_a_pure_state_is_zero(size: int, seed: int) -> None:
    assert 0 <= entropy(state(size, seed, rank=1)) <= SLACK


@given(size=dims, seed=seeds)
def test_matrix_entropy_rises_when_coherences_are_dropped(size: int, seed: int) -> None:
    density = state(size, seed)
    assert entropy(density) <= entropy(np.diag(np.diag(density))) + SLACK


@given(size=dims, seed=seeds)
def test_matrix_entropy_obeys_kleins_inequality(size: int, seed: int) -> None:
    left, right = state(size, seed), state(size, seed + 1)
    assume(scipy.linalg.eigvalsh(right)[0] > 1e-8)  # log of a singular matrix does not exist
    cross = -np.trace(left @ scipy.linalg.logm(right)).real
    # logm is conditioned by the inverse of the smallest eigenvalue: 1e8 * eps
    assert entropy(left) <= cross - 2 * trace_distance(left, right) ** 2 + 1e-7


@given(size=dims, seed=seeds, share=shares)
def test_matrix_entropy_obeys_fannes_audenaert(size: int, seed: int, share: float) -> None:
    left = state(size, seed)
    right = (1 - share) * left + share * state(size, seed + 1, rank=1)
    distance = min(trace_distance(left, right), 1.0)
    bound = distance * math.log(size - 1) + binary_entropy(distance)
    assert abs(entropy(left) - entropy(right)) <= bound + SLACK


@given(size=dims, seed=seeds, share=shares)
def test_matrix_entropy_attains_fannes_audenaert(size: int, seed: int, share: float) -> None:
    distance = share * (1 - 1 / size)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    pure = turn @ np.diag([1.0] + [0.0] * (size - 1)) @ turn.T
    spread = turn @ np.diag([1 - distance] + [distance / (size - 1)] * (size - 1)) @ turn.T
    bound = distance * math.log(size - 1) + binary_entropy(distance)
    assert abs(entropy(spread) - entropy(pure) - bound) <= SLACK


# --- two and three systems


@given(left=dims, right=dims, seed=seeds)
def test_matrix_entropy_is_additive_on_kronecker_products(left: int, right: int, seed: int) -> None:
    one, other = state(left, seed), state(right, seed + 1)
    assert abs(entropy(np.kron(one, other)) - entropy(one) - entropy(other)) <= SLACK


@given(left=dims, right=dims, seed=seeds)
def test_matrix_entropy_of_features_is_additive_on_kronecker_products(left: int, right: int, seed: int) -> None:
    one, other = features_of(state(left, seed)), features_of(state(right, seed + 1))
    product = torch.kron(one, other)  # centred, since its factors are
    expected = matrix_entropy(one) + matrix_entropy(other)
    assert (matrix_entropy(product) - expected).abs().item() <= SLACK


@given(left=dims, right=dims, rank=st.integers(1, 6), seed=seeds)
def test_matrix_entropy_is_subadditive(left: int, right: int, rank: int, seed: int) -> None:
    whole = state(left * right, seed, rank=rank)
    one, other = (entropy(reduced(whole, (left, right), (axis,))) for axis in (0, 1))
    assert entropy(whole) <= one + other + SLACK
    assert entropy(whole) >= abs(one - other) - SLACK  # Araki and Lieb


@given(left=dims, right=dims, seed=seeds)
def test_matrix_entropy_of_both_halves_of_a_pure_state_is_the_same(left: int, right: int, seed: int) -> None:
    pure = state(left * right, seed, rank=1)
    one, other = (entropy(reduced(pure, (left, right), (axis,))) for axis in (0, 1))
    assert abs(one - other) <= SLACK


@given(sizes=st.sampled_from([(2, 2, 2), (2, 3, 2), (3, 2, 3), (3, 3, 3)]), rank=st.integers(1, 8), seed=seeds)
def test_matrix_entropy_is_strongly_subadditive(sizes: tuple[int, int, int], rank: int, seed: int) -> None:
    whole = state(math.prod(sizes), seed, rank=rank)
    pairs = entropy(reduced(whole, sizes, (0, 1))) + entropy(reduced(whole, sizes, (1, 2)))
    assert entropy(whole) + entropy(reduced(whole, sizes, (1,))) <= pairs + SLACK


@given(seed=seeds)
def test_matrix_entropy_strong_subadditivity_is_an_equality_for_markov_states(seed: int) -> None:
    whole = np.kron(state(2, seed), state(6, seed + 1))  # the first system apart from the other two
    sizes = (2, 3, 2)
    pairs = entropy(reduced(whole, sizes, (0, 1))) + entropy(reduced(whole, sizes, (1, 2)))
    assert abs(entropy(whole) + entropy(reduced(whole, sizes, (1,))) - pairs) <= SLACK


# --- the Rényi family


@given(size=dims, seed=seeds)
def test_renyi_entropy_of_states_falls_with_the_order(size: int, seed: int) -> None:
    features = features_of(state(size, seed))
    values = [renyi_entropy(features, alpha).item() for alpha in (0, 0.25, 0.5, 0.9, 1, 1.1, 2, 3, 10, math.inf)]
    assert all(after <= before + SLACK for before, after in pairwise(values))
    assert values[0] <= math.log(size) + SLACK


@given(size=dims, seed=seeds)
def test_renyi_entropy_of_order_two_is_minus_log_of_the_squared_norm(size: int, seed: int) -> None:
    density = state(size, seed)
    assert abs(renyi_entropy(features_of(density), 2).item() + 2 * math.log(np.linalg.norm(density))) <= SLACK


@given(left=dims, right=dims, seed=seeds, alpha=st.sampled_from([0.5, 1, 1.3, 2, 3, math.inf]))
def test_renyi_entropy_is_additive_on_kronecker_products(left: int, right: int, seed: int, alpha: float) -> None:
    one, other = state(left, seed), state(right, seed + 1)
    assume(min(scipy.linalg.eigvalsh(one)[0], scipy.linalg.eigvalsh(other)[0]) > 1e-6)  # else order 1/2 sees rounding
    parts = renyi_entropy(features_of(one), alpha) + renyi_entropy(features_of(other), alpha)
    # the derivative in an eigenvalue is at most alpha x^(alpha - 1) / (1 - alpha): 1e6 at order 1/2 and x = 1e-12
    tolerance = 1e6 * 1e-14 if alpha < 1 else SLACK
    assert abs(renyi_entropy(features_of(np.kron(one, other)), alpha) - parts).item() <= tolerance


def test_renyi_entropy_of_order_two_is_not_subadditive() -> None:
    # why von Neumann: two bits, each 1 with probability 0.2, that are both 1 less often than by chance
    joint = np.diag([0.62, 0.18, 0.18, 0.02])
    halves = [reduced(joint, (2, 2), (axis,)) for axis in (0, 1)]
    whole, left, right = (renyi_entropy(features_of(density), 2).item() for density in (joint, *halves))
    assert whole == pytest.approx(-math.log(0.4496), abs=SLACK)
    assert left + right == pytest.approx(-2 * math.log(0.68), abs=SLACK)
    assert whole > left + right
    assert entropy(joint) < entropy(halves[0]) + entropy(halves[1])

r"""Section 3: token entropy in its three conventions.

Tolerances: `rounding` bounds, in the units of the score, how far rounding moves one result, from how far it moves the
matrix in trace norm; the derivations are in its docstring. Two rounded results differ by at most twice that.
"""

import itertools
import math
import threading

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from entropyprune_ref._numerics.chunks import CHUNK, in_chunks
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView
from entropyprune_ref.scoring import CONVENTIONS, PAPER, RELEASED, ROW_NORMALIZED, Convention, token_entropy

EPS = torch.finfo(torch.float64).eps
ZERO_TERM = 1e-10 * math.log(1e10)  # what an eigenvalue at the clamp adds under RELEASED, before the division
THREE = pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS.keys())
TRACED = pytest.mark.parametrize("convention", [PAPER, ROW_NORMALIZED], ids=["paper", "row_normalized"])
conventions = st.sampled_from(list(CONVENTIONS.values()))
seeds = st.integers(0, 2**32)
heads_and_dims = st.sampled_from([(2, 2), (2, 7), (7, 2), (3, 3), (4, 16), (16, 4), (8, 12), (12, 8), (5, 1)])


def gaussian(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_score(queries: torch.Tensor, convention: Convention) -> np.ndarray:
    """The formulas by numpy and scipy, one token at a time, on the Gram side."""
    scores = []
    for token in queries.to(torch.float64).reshape(-1, *queries.shape[-2:]).numpy():
        rows = token - token.mean(0)
        if convention.row_normalized:
            rows = np.array([row / np.linalg.norm(row) if np.linalg.norm(row) > 1e-12 else 0 * row for row in rows])
        matrix = rows @ rows.T / (np.trace(rows @ rows.T) if convention.trace_normalized else len(rows))
        eigenvalues = scipy.linalg.eigvalsh(matrix)
        eigenvalues = np.maximum(eigenvalues, 0.0 if convention.clamp is None else convention.clamp)
        scores.append(scipy.special.entr(eigenvalues).sum() / (math.log(len(rows)) if convention.log_heads else 1))
    return np.array(scores).reshape(queries.shape[:-2])


def rounding(queries: torch.Tensor, convention: Convention) -> torch.Tensor:
    r"""Bound of the rounding error of the score of each token, `(..., tokens)`.

    Centring leaves in each row an error of (heads + 1) eps/2 times the largest query; forming the matrix and its
    eigenvalues adds sqrt(side) (heads + head_dim + 6) eps/2 of its trace in trace norm (backward stability). With
    `worst`, the norm of the largest queries over that of the smallest row that is normalised, t bounds the trace norm
    of the error relative to the trace. Normalised by the trace, Fannes-Audenaert bounds the entropy by
    t log side + h2(t); if not, -x log x has a slope of at most 1 + |log x| from the clamp up, on errors of
    t times the trace in total.
    """
    heads, head_dim = queries.shape[-2:]
    wide = queries.to(torch.float64)
    rows = wide - wide.mean(-2, keepdim=True)
    norms = rows.norm(dim=-1)
    smallest = norms.masked_fill(norms < 1e-12, math.inf).amin(-1) if convention.row_normalized else norms.amax(-1)
    worst = wide.abs().amax((-2, -1)) * math.sqrt(head_dim) / smallest.clamp(min=1e-300)
    side = max(heads, head_dim)
    t = math.sqrt(side) * (heads + head_dim + 6) * (1 + 2 * worst) * EPS / 2
    if convention.trace_normalized and convention.clamp is None:
        return (t * math.log(side) + t * (1 - t.log())).clamp(min=EPS)
    energy = rows.square().sum((-2, -1)) / heads
    trace = torch.ones_like(energy) if convention.trace_normalized or convention.row_normalized else energy
    slope = 1 + trace.log().abs().clamp(min=abs(math.log(convention.clamp or 1e-300)))
    return t * trace * slope / (math.log(heads) if convention.log_heads else 1) + EPS


def assert_same(one: torch.Tensor, other: torch.Tensor, queries: torch.Tensor, convention: Convention) -> None:
    assert one.dtype == other.dtype == torch.float64
    bound = 2 * rounding(queries, convention)
    assert ((one - other).abs() <= bound).all(), f"{(one - other).abs().max()} exceeds {bound.min()}"


# By hand, and by other people's code


def test_token_entropy_of_four_heads_on_two_axes() -> None:
    """Covariance diag(1/2, 1/2) for PAPER; rows have norm 2, so ROW is the same; RELEASED adds two clamped zeros."""
    cross = 2 * torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
    assert token_entropy(cross).item() == pytest.approx(math.log(2), abs=4 * EPS)
    assert token_entropy(cross, ROW_NORMALIZED).item() == pytest.approx(math.log(2), abs=4 * EPS)
    released = (2 * -2 * math.log(2) + 2 * ZERO_TERM) / math.log(4)  # eigenvalues 8 / 4 = 2, twice
    assert token_entropy(cross, RELEASED).item() == pytest.approx(released, abs=20 * EPS)


@given(seeds, heads_and_dims, st.sampled_from([1e-3, 1.0, 30.0]), st.sampled_from(["auto", "gram"]))
@pytest.mark.parametrize(
    "switches", list(itertools.product([False, True], [False, True], [None, 1e-10], [False, True]))
)
def test_token_entropy_agrees_with_numpy_and_scipy(
    switches: tuple[bool, bool, float | None, bool], seed: int, shape: tuple[int, int], scale: float, side: str
) -> None:
    """All sixteen conventions that the type can express, the three named ones among them."""
    convention = Convention("any", *switches)
    queries = scale * gaussian(3, *shape, seed=seed)
    ours = token_entropy(queries, convention, side=side)  # type: ignore[arg-type]
    assert_same(ours, torch.from_numpy(plain_score(queries, convention)), queries, convention)


def test_conventions_are_the_three_of_the_method() -> None:
    assert CONVENTIONS == {"paper": PAPER, "row_normalized": ROW_NORMALIZED, "released": RELEASED}
    assert [(c.row_normalized, c.trace_normalized, c.clamp, c.log_heads) for c in CONVENTIONS.values()] == [
        (False, True, None, False),
        (True, True, None, False),
        (False, False, 1e-10, True),
    ]


@THREE
@pytest.mark.parametrize(
    "token",
    [
        [[3, 1], [0, 2], [-1, 5]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]],
        [[7, -2, 4, 1], [0, 3, 3, -8]],
        [[1, 2], [3, 4], [5, 6], [7, 8], [2, 0]],
    ],
)
def test_token_entropy_agrees_with_mpmath(token: list[list[int]], convention: Convention) -> None:
    with mpmath.workdps(50):
        rows = mpmath.matrix(token)
        heads, dims = rows.rows, rows.cols
        for j in range(dims):
            mean = mpmath.fsum(rows[i, j] for i in range(heads)) / heads
            for i in range(heads):
                rows[i, j] -= mean
        if convention.row_normalized:
            for i in range(heads):
                norm = mpmath.sqrt(mpmath.fsum(rows[i, j] ** 2 for j in range(dims)))
                for j in range(dims):
                    rows[i, j] = rows[i, j] / norm if norm else mpmath.mpf(0)
        matrix = rows * rows.T
        trace = mpmath.fsum(matrix[i, i] for i in range(heads))
        levels = mpmath.eigsy(matrix / (trace if convention.trace_normalized else heads), eigvals_only=True)
        if convention.clamp:
            levels = [max(level, mpmath.mpf(convention.clamp)) for level in levels]
        exact = mpmath.fsum(-level * mpmath.log(level) for level in levels if level > 1e-40)
        exact /= mpmath.log(heads) if convention.log_heads else 1
    queries = torch.tensor([token], dtype=torch.float64)
    assert_same(
        token_entropy(queries, convention), torch.tensor([float(exact)], dtype=torch.float64), queries, convention
    )


# Laws


@given(seeds, heads_and_dims, conventions)
def test_token_entropy_ignores_an_orthogonal_map_of_all_heads(
    seed: int, shape: tuple[int, int], convention: Convention
) -> None:
    queries = gaussian(4, *shape, seed=seed)
    maps = torch.linalg.qr(gaussian(4, shape[1], shape[1], seed=seed + 1)).Q  # one for each token
    # the mapped queries carry rounding of head_dim terms, which `rounding` has too
    assert_same(token_entropy(queries @ maps, convention), token_entropy(queries, convention), queries, convention)


@given(seeds, conventions, st.booleans())
def test_token_entropy_is_the_same_before_and_after_rotary_embedding(
    seed: int, convention: Convention, interleaved: bool
) -> None:
    """Pairs of coordinates turn by position times frequency, alike for all heads; pairs are neighbours or halves."""
    tokens, heads, head_dim = 6, 8, 16
    queries = gaussian(tokens, heads, head_dim, seed=seed)
    angles = torch.arange(100, 100 + tokens).double()[:, None] * 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]  # (tokens, 1, head_dim / 2)
    halves = queries.unflatten(-1, (-1, 2) if interleaved else (2, -1)).movedim(-1 if interleaved else -2, -1)
    turned = torch.view_as_real(torch.view_as_complex(halves.contiguous()) * turn)
    rotated = (turned if interleaved else turned.movedim(-1, -2)).flatten(-2)
    assert (rotated - queries).abs().max() > 0.5
    assert_same(token_entropy(rotated, convention), token_entropy(queries, convention), queries, convention)


@given(seeds, conventions, st.booleans(), st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)))
def test_token_entropy_is_the_same_before_and_after_rotary_embedding_in_three_axes(
    seed: int, convention: Convention, interleaved: bool, sections: tuple[int, int, int]
) -> None:
    """Each pair of coordinates turns by the time, the height or the width of its token: a stretch of pairs for each
    axis, as in Qwen2-VL, or the axes in turn, as in Qwen3-VL. The axis depends on the pair, not on the head."""
    heads, pairs = 8, sum(sections)
    queries = gaussian(2 * 3 * 4, heads, 2 * pairs, seed=seed)
    grid = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(4), indexing="ij")).flatten(1)
    axis_of = [axis for axis, count in enumerate(sections) for _ in range(count)]
    if interleaved:
        axis_of = [axis for _, axis in sorted((axis_of[:pair].count(axis), axis) for pair, axis in enumerate(axis_of))]
    positions = (50 * grid + 3)[axis_of].T.double()  # (tokens, pairs)
    angles = (positions * 10000.0 ** (-torch.arange(pairs) / pairs))[:, None]
    first, second = queries.chunk(2, dim=-1)
    rotated = torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )
    assert (rotated - queries).abs().max() > 0.5
    assert_same(token_entropy(rotated, convention), token_entropy(queries, convention), queries, convention)


@given(seeds, heads_and_dims, conventions)
def test_token_entropy_ignores_the_order_of_heads(seed: int, shape: tuple[int, int], convention: Convention) -> None:
    queries = gaussian(4, *shape, seed=seed)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(seed))
    assert_same(token_entropy(queries[:, order], convention), token_entropy(queries, convention), queries, convention)


@given(seeds, heads_and_dims, conventions, st.sampled_from([1.0, 1e4]))
def test_token_entropy_ignores_a_vector_added_to_all_heads(
    seed: int, shape: tuple[int, int], convention: Convention, size: float
) -> None:
    queries = gaussian(4, *shape, seed=seed)
    moved = queries + size * gaussian(4, 1, shape[1], seed=seed + 1)
    assert_same(token_entropy(moved, convention), token_entropy(queries, convention), moved, convention)


@given(seeds, heads_and_dims, st.sampled_from([1e-6, 0.3, 7.0, 1e5]))
def test_token_entropy_ignores_scale_unless_released(seed: int, shape: tuple[int, int], factor: float) -> None:
    queries = gaussian(4, *shape, seed=seed)
    for convention in (PAPER, ROW_NORMALIZED):
        assert_same(
            token_entropy(factor * queries, convention), token_entropy(queries, convention), queries, convention
        )
    difference = (token_entropy(factor * queries, RELEASED) - token_entropy(queries, RELEASED)).abs()
    assert (difference > 1e-3).sum() >= 3  # -x log x comes by every value twice, so one token may be the same by chance


@given(seeds, heads_and_dims, st.sampled_from([0.1, 1.0, 20.0]))
def test_token_entropy_released_is_the_paper_entropy_and_the_energy(
    seed: int, shape: tuple[int, int], scale: float
) -> None:
    """Eq. 3.4, plus what the clamp makes of each eigenvalue that is zero exactly."""
    heads, head_dim = shape
    queries = scale * gaussian(4, heads, head_dim, seed=seed)
    centred = queries - queries.mean(-2, keepdim=True)
    s = centred.square().sum((-2, -1)) / heads
    zeros = heads - min(heads - 1, head_dim)
    expected = (s * token_entropy(queries) - s * s.log() + zeros * ZERO_TERM) / math.log(heads)
    # an eigenvalue that is not zero but below the clamp would add up to ZERO_TERM: not with these shapes and scales
    bound = rounding(queries, RELEASED) + s * rounding(queries, PAPER) / math.log(heads) + 8 * EPS * (s * s.log()).abs()
    assert ((token_entropy(queries, RELEASED) - expected).abs() <= bound).all()


def test_token_entropy_released_orders_by_low_energy() -> None:
    """Log-normal token scales, energies well above 1: a decreasing function of energy, and no more of the entropy.

    The derivative of s H - s log s to s changes sign at s = exp(H - 1), here about 10, far below these energies.
    """
    scales = 30 * gaussian(576, 1, 1, seed=1).exp()
    queries = scales * gaussian(576, 32, 128, seed=2)
    energy = (queries - queries.mean(-2, keepdim=True)).square().sum((-2, -1))
    released, paper = token_entropy(queries, RELEASED), token_entropy(queries, PAPER)
    assert scipy.stats.spearmanr(released, energy).statistic < -0.999
    # 576 independent pairs have a rank correlation with standard deviation 1 / sqrt(575) = 0.042
    assert abs(scipy.stats.spearmanr(released, paper).statistic) < 5 * 0.042
    assert abs(scipy.stats.spearmanr(paper, energy).statistic) < 5 * 0.042


@given(seeds, heads_and_dims, conventions)
def test_token_entropy_is_the_same_on_both_sides(seed: int, shape: tuple[int, int], convention: Convention) -> None:
    """Under RELEASED up to the clamped zeros, of which the sides have different numbers."""
    heads, head_dim = shape
    queries = gaussian(4, heads, head_dim, seed=seed)
    gram = token_entropy(queries, convention, side="gram")
    covariance = token_entropy(queries, convention, side="covariance")
    more_zeros = (head_dim - heads) * ZERO_TERM / math.log(heads) if convention == RELEASED else 0.0
    assert_same(gram + more_zeros, covariance, queries, convention)
    smaller = gram if convention == RELEASED or heads < head_dim else covariance
    assert torch.equal(token_entropy(queries, convention), smaller)


def test_token_entropy_released_sides_differ_by_their_clamped_zeros_at_the_size_of_the_paper() -> None:
    """The covariance side has 128 - 32 zero eigenvalues more, each raised to 1e-10; the sum is divided by log heads."""
    queries = gaussian(4, 32, 128, seed=3)
    gram, covariance = (token_entropy(queries, RELEASED, side=side) for side in ("gram", "covariance"))
    zeros = 96 * 1e-10 * math.log(1e10) / math.log(32)
    assert ((covariance - gram - zeros).abs() < 1e-3 * zeros).all()  # what rounding leaves of scores near 100


@TRACED
@given(seed=seeds, shape=heads_and_dims)
def test_token_entropy_lies_between_zero_and_the_log_of_the_rank(
    convention: Convention, seed: int, shape: tuple[int, int]
) -> None:
    queries = gaussian(8, *shape, seed=seed) * gaussian(8, 1, shape[1], seed=seed + 1)
    scores, bound = token_entropy(queries, convention), rounding(queries, convention)
    assert (scores >= 0).all()
    assert (scores <= math.log(min(shape[0] - 1, shape[1])) + bound).all()


@TRACED
@pytest.mark.parametrize("dims", [3, 8])
def test_token_entropy_reaches_the_log_of_the_rank(convention: Convention, dims: int) -> None:
    """Heads at plus and minus each axis: all eigenvalues of the covariance equal."""
    axes = torch.eye(dims)
    scores = token_entropy(torch.cat([axes, -axes])[None], convention)
    assert scores.item() == pytest.approx(math.log(dims), abs=8 * EPS)


# Tokens without variance, extremes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("heads", [2, 3, 7, 32])
def test_token_entropy_without_variance(heads: int, dtype: torch.dtype) -> None:
    """Equal heads, also such that their mean rounds (0.1, three times), beside a token that has variance."""
    equal = torch.tensor([[0.1, -7.3, 1e4, 0.0], [0.0] * 4, [3e-5] * 4]).to(dtype)[:, None].expand(3, heads, 4)
    queries = torch.cat([equal, gaussian(1, heads, 4, seed=0, dtype=dtype)])
    for convention in (PAPER, ROW_NORMALIZED):
        scores = token_entropy(queries, convention)
        assert scores[:3].tolist() == [0.0, 0.0, 0.0]
        assert heads == 2 or scores[3] > 0.1
    released = token_entropy(queries, RELEASED)[:3]
    assert released.numpy() == pytest.approx(heads * ZERO_TERM / math.log(heads), rel=1e-12)


@TRACED
def test_token_entropy_of_one_head_is_zero(convention: Convention) -> None:
    assert token_entropy(gaussian(5, 1, 4, seed=0), convention).tolist() == [0.0] * 5


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 1.0), (torch.float64, 1.0), (torch.float64, 0.1)])
def test_token_entropy_row_normalized_leaves_a_zero_row_at_zero(dtype: torch.dtype, unit: float) -> None:
    """A head at the mean of the others is rounding after centring: normalised, it would count as much as they do.

    Whole numbers, so that it is the mean exactly; times 0.1, so that it is the mean to rounding.
    """
    v, a, b = (gaussian(3, 50, 1, 6, seed=5) * 100).round().to(dtype)
    queries = unit * torch.cat([v + a, v - a, v, v + b, v - b, v], 1)
    expected = plain_score(torch.cat([a, -a, b, -b], 1), ROW_NORMALIZED)
    assert_same(token_entropy(queries, ROW_NORMALIZED), torch.from_numpy(expected), queries, ROW_NORMALIZED)


def test_token_entropy_row_normalized_keeps_a_short_row_that_is_none() -> None:
    """Heads at plus and minus two directions, one 2^-40 as long: exactly centred, so the short rows are no rounding.

    2^-40 = 9e-13 lies between (heads + head_dim) 2^-52 = 2e-15, below which a row counts as zero, and a thousand
    times that.
    """
    a, b = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    queries = torch.stack([a, -a, b * 2**-40, -b * 2**-40])[None]
    assert token_entropy(queries, ROW_NORMALIZED).item() == pytest.approx(math.log(2), abs=8 * EPS)
    assert token_entropy(queries, PAPER).item() < 1e-20


def test_token_entropy_of_a_convention_that_traces_and_clamps_without_variance() -> None:
    """No trace to divide by: every eigenvalue stands at the clamp, as under RELEASED."""
    convention = Convention("mine", row_normalized=False, trace_normalized=True, clamp=1e-10, log_heads=False)
    queries = torch.stack([torch.full((5, 3), 0.1), gaussian(5, 3, seed=0, dtype=torch.float32)])
    scores = token_entropy(queries, convention)
    assert scores[0].item() == pytest.approx(5 * ZERO_TERM, rel=1e-12)
    assert scores[1] > 0.1


@TRACED
@pytest.mark.parametrize("exponent", [-1060, -900, -300, 300, 900, 1000])
def test_token_entropy_holds_over_the_whole_range_of_float64(exponent: int, convention: Convention) -> None:
    queries = (gaussian(4, 6, 5, seed=6) * 16).round()  # whole numbers survive subnormal scales
    scaled = torch.ldexp(torch.ldexp(queries, torch.tensor(exponent // 2)), torch.tensor(exponent - exponent // 2))
    assert_same(token_entropy(scaled, convention), token_entropy(queries, convention), queries, convention)


@TRACED
@pytest.mark.parametrize("exponent", [-140, -60, 60, 120])
def test_token_entropy_holds_over_the_whole_range_of_float32(exponent: int, convention: Convention) -> None:
    queries = (gaussian(4, 6, 5, seed=6) * 16).round().to(torch.float32)
    scaled = (queries.double() * 2.0**exponent).to(torch.float32)
    assert_same(token_entropy(scaled, convention), token_entropy(queries, convention), queries, convention)


# Types, batches, threads


@THREE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_token_entropy_reads_every_dtype_as_the_numbers_that_it_holds(
    dtype: torch.dtype, convention: Convention
) -> None:
    queries = gaussian(5, 6, 9, seed=7, dtype=dtype)
    assert_same(token_entropy(queries, convention), token_entropy(queries.double(), convention), queries, convention)


@given(seeds, conventions, st.sampled_from([(4,), (1, 3), (2, 3), (2, 1, 2)]), st.sampled_from([(3, 8), (8, 3)]))
def test_token_entropy_of_a_batch_equals_its_parts(
    seed: int, convention: Convention, batch: tuple[int, ...], shape: tuple[int, int]
) -> None:
    queries = gaussian(*batch, *shape, seed=seed)
    whole = token_entropy(queries, convention)
    parts = [token_entropy(token[None], convention) for token in queries.reshape(-1, *shape)]
    assert whole.shape == batch
    assert_same(whole, torch.cat(parts).reshape(batch), queries, convention)


@THREE
@pytest.mark.parametrize("tokens", [511, 512, 513, 1025])
def test_token_entropy_is_right_on_both_sides_of_a_chunk_boundary(tokens: int, convention: Convention) -> None:
    """2**18 numbers are 512 tokens of 8 x 64."""
    queries = gaussian(tokens, 8, 64, seed=8, dtype=torch.float32)
    at = [0, 1, 510, *range(511, min(tokens, 514)), tokens - 1]
    scores = token_entropy(queries, convention)
    assert scores.shape == (tokens,)
    assert_same(scores[at], torch.from_numpy(plain_score(queries[at], convention)), queries[at], convention)


@THREE
def test_token_entropy_has_the_same_bits_for_any_number_of_threads(convention: Convention) -> None:
    queries = gaussian(1500, 8, 64, seed=9, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 1, 2):
            torch.set_num_threads(threads)
            results.append(token_entropy(queries, convention))
            with torch.inference_mode():
                results.append(token_entropy(queries, convention).clone())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@THREE
@pytest.mark.parametrize(("heads", "head_dim"), [(32, 128), (40, 128), (28, 128), (8, 32), (4, 6), (2, 2)])
def test_token_entropy_of_equal_tokens_has_equal_bits(heads: int, head_dim: int, convention: Convention) -> None:
    """Wherever they stand and in whatever chunk: ties must be ties, or the earlier token does not win them."""
    chunk = 2**18 // (heads * max(heads, head_dim))
    distinct = gaussian(5, heads, head_dim, seed=12, dtype=torch.float32)
    tokens = min(2 * chunk, 600) + 1  # the last chunk holds one token
    scores = token_entropy(distinct[torch.arange(tokens) % 5], convention)
    assert torch.equal(scores, scores[:5][torch.arange(tokens) % 5])


def test_in_chunks_works_on_as_many_threads_as_torch_has() -> None:
    """Each of two chunks waits for the other: one after the other they would wait for ever."""
    together = threading.Barrier(2)

    def meet(part: torch.Tensor) -> torch.Tensor:
        together.wait(timeout=60)
        return part[:, 0, 0].double()

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        numbers = torch.arange(CHUNK + 1).float().reshape(-1, 1, 1)
        assert torch.equal(in_chunks(meet, numbers), numbers[:, 0, 0].double())
    finally:
        torch.set_num_threads(before)


@THREE
def test_token_entropy_over_several_chunks_and_threads_keeps_the_gradient(convention: Convention) -> None:
    """1100 tokens of 8 x 64 are three chunks; worker threads know nothing of the caller's grad mode."""
    queries = gaussian(1100, 8, 64, seed=11)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        watched = queries.clone().requires_grad_()
        token_entropy(watched, convention).sum().backward()
        with torch.no_grad():
            assert not token_entropy(watched, convention).requires_grad
        with torch.inference_mode():
            assert token_entropy(queries, convention).is_inference()
        assert not token_entropy(queries, convention).requires_grad
    finally:
        torch.set_num_threads(before)
    for first in (0, 500, 1090):
        part = queries[first : first + 10].clone().requires_grad_()
        token_entropy(part, convention).sum().backward()
        assert watched.grad is not None and part.grad is not None
        torch.testing.assert_close(watched.grad[first : first + 10], part.grad, rtol=1e-10, atol=1e-12)


@THREE
def test_token_entropy_with_gradients_is_the_same_to_rounding(convention: Convention) -> None:
    """Not to the bit: for a gradient torch needs eigenvectors, and takes another solver."""
    queries = gaussian(5, 8, 64, seed=9, dtype=torch.float32)
    watched = token_entropy(queries.clone().requires_grad_(), convention)
    assert watched.requires_grad
    assert_same(watched.detach(), token_entropy(queries, convention), queries, convention)


def test_token_entropy_is_seen_whole_by_a_flop_counter() -> None:
    """Products of 2 * heads**2 * head_dim FLOPs for each token, whatever the number of threads."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with FlopCounterMode(display=False) as counter:
                token_entropy(gaussian(1100, 8, 64, seed=0))
            assert counter.get_total_flops() == 1100 * 2 * 8 * 8 * 64
    finally:
        torch.set_num_threads(before)


class _Largest(TorchDispatchMode):
    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not func.is_view:
            self.numbers = max(self.numbers, result.numel())
        return result


@THREE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_token_entropy_makes_no_tensor_that_grows_with_the_tokens(convention: Convention, dtype: torch.dtype) -> None:
    """Every intermediate result is bounded by the size of a chunk."""
    queries = gaussian(2600, 8, 64, seed=0, dtype=dtype)
    with _Largest() as largest:
        token_entropy(queries, convention)
    assert largest.numbers <= 2**18


def test_token_entropy_of_an_empty_batch_is_empty() -> None:
    for convention in CONVENTIONS.values():
        assert token_entropy(torch.zeros(0, 5, 4, 8), convention).shape == (0, 5)
        assert token_entropy(torch.zeros(2, 0, 5, 4, 8, dtype=torch.float64), convention).shape == (2, 0, 5)


def test_token_entropy_gives_shapes_on_the_meta_device() -> None:
    for convention in CONVENTIONS.values():
        for dtype in (torch.float32, torch.float64):
            scores = token_entropy(torch.empty(2, 700, 32, 128, device="meta", dtype=dtype), convention)
            assert (scores.shape, scores.dtype, scores.is_meta) == ((2, 700), torch.float64, True)


# Gradients


@THREE
@pytest.mark.parametrize(("shape", "side"), [((2, 3, 5), "gram"), ((2, 5, 3), "covariance"), ((2, 4, 4), "gram")])
def test_token_entropy_gradient_is_right(shape: tuple[int, ...], side: str, convention: Convention) -> None:
    queries = gaussian(*shape, seed=10).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: token_entropy(q, convention, side=side), (queries,))


@THREE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_token_entropy_gradient_is_finite_without_variance(convention: Convention, dtype: torch.dtype) -> None:
    """Equal heads, zeros, repeated eigenvalues, rank one, a zero row."""
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    line = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [0.0, 0.0]])
    queries = torch.stack([torch.full((4, 2), 0.1), torch.zeros(4, 2), cross, line]).to(dtype).requires_grad_()
    token_entropy(queries, convention).sum().backward()
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()
    assert not queries.grad[:2].any()


# The scorer


def view_of(queries: torch.Tensor, image_index: torch.Tensor) -> LayerView:
    hidden = torch.zeros(*image_index.shape, 8, device=queries.device)
    return LayerView(hidden, queries, queries, image_index, torch.ones_like(image_index, dtype=torch.bool))


@given(seeds, conventions, st.sampled_from([torch.float32, torch.float64]))
def test_entropy_scorer_is_token_entropy_at_visual_positions(
    seed: int, convention: Convention, dtype: torch.dtype
) -> None:
    queries = gaussian(3, 4, 10, 6, seed=seed, dtype=dtype)  # (batch, heads, sequence, head_dim)
    image_index = torch.randint(-1, 3, (3, 10), generator=torch.Generator().manual_seed(seed))
    view = view_of(queries, image_index)
    assert torch.equal(view.visual, image_index != -1)
    scores = EntropyScorer(convention)(view)
    tokens = queries.transpose(1, 2)  # (batch, sequence, heads, head_dim)
    assert_same(scores, token_entropy(tokens, convention) * view.visual, tokens, convention)
    assert not scores[~view.visual].any()


def test_entropy_scorer_without_visual_tokens_scores_zero() -> None:
    scores = EntropyScorer()(view_of(torch.ones(2, 4, 3, 6), torch.full((2, 3), -1)))
    assert torch.equal(scores, torch.zeros(2, 3, dtype=torch.float64))


def test_entropy_scorer_gives_shapes_on_the_meta_device() -> None:
    image_index = torch.tensor([[-1, 0, 0, -1], [0, 0, 0, -1]])
    scores = EntropyScorer()(view_of(torch.empty(2, 4, 4, 6, device="meta"), image_index))
    assert (scores.shape, scores.is_meta) == ((2, 4), True)


# Bad input

QUERIES = torch.ones(2, 3, 4)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (torch.ones(3, 4), r"queries must have shape \(\.\.\., tokens, heads, head_dim\), got 2 dimension"),
        (torch.ones(2, 0, 4), r"at least one entry on its axis 'heads' .* got shape \(2, 0, 4\)"),
        (torch.ones(2, 3, 0), r"at least one entry on its axis 'head_dim'"),
        (torch.ones(0, 3, 4), r"at least one entry on its axis 'tokens'"),
        (torch.ones(2, 3, 4, dtype=torch.int64), r"queries must have a real floating dtype .* got torch.int64"),
        (torch.ones(2, 3, 4, dtype=torch.complex64), r"queries must have a real floating dtype .* got torch.complex64"),
        (QUERIES.clone().index_fill_(0, torch.tensor(1), math.nan), r"queries must be finite, got nan at index \(1, 0"),
        (QUERIES.clone().index_fill_(0, torch.tensor(0), -math.inf), r"queries must be finite, got -inf at index"),
    ],
)
def test_token_entropy_rejects_bad_queries(queries: torch.Tensor, message: str) -> None:
    for convention in CONVENTIONS.values():
        with pytest.raises(ValueError, match=message):
            token_entropy(queries, convention)


@pytest.mark.usefixtures("own_checks")
def test_token_entropy_rejects_what_is_not_a_tensor_or_a_convention() -> None:
    with pytest.raises(TypeError, match=r"queries must be a torch\.Tensor, got list"):
        token_entropy([[[1.0]]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"convention must be a Convention, got str 'paper'"):
        token_entropy(QUERIES, "paper")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"side must be one of 'auto', 'covariance', 'gram', got 'dual'"):
        token_entropy(QUERIES, side="dual")  # type: ignore[arg-type]


def test_token_entropy_released_rejects_one_head() -> None:
    with pytest.raises(ValueError, match=r"queries must have at least 2 heads, since released divides by log heads"):
        token_entropy(torch.ones(2, 1, 4), RELEASED)


def test_token_entropy_released_rejects_queries_whose_energy_overflows() -> None:
    for sign in (1, -1):
        queries = gaussian(1, 2, 2, seed=0)
        queries[0, 1, 0] = sign * 1e150
        with pytest.raises(ValueError, match=r"queries must not exceed 1e\+140 under released, got 1e\+150"):
            token_entropy(queries, RELEASED)


def test_token_entropy_released_takes_the_largest_queries_that_it_names() -> None:
    """Two heads at plus and minus 1e140: one eigenvalue, 1e280, and one at the clamp, which adds nothing to that."""
    queries = torch.tensor([[[1e140], [-1e140]]], dtype=torch.float64)
    expected = -1e280 * math.log(1e280) / math.log(2)
    assert token_entropy(queries, RELEASED).item() == pytest.approx(expected, rel=20 * EPS)


@pytest.mark.parametrize("clamp", [0.0, -1e-10, 1.0, math.nan])
def test_convention_rejects_a_clamp_out_of_range(clamp: float) -> None:
    with pytest.raises(ValueError, match=r"clamp must be None or lie strictly between 0 and 1, got"):
        Convention("mine", False, False, clamp, False)

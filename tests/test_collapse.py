r"""Section 4: the entropy curve over layers and the Entropy Collapse Layer."""

import inspect
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.collapse import (
    Collapse,
    collapse_layer,
    layer_entropy,
    other_definitions,
    random_sharpness,
    smooth_sharpness,
)

EPS = torch.finfo(torch.float64).eps
seeds = st.integers(0, 2**32)
rises = st.lists(st.integers(0, 5), min_size=1, max_size=9)


def gaussian(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def curve_with(drops: list[float], *, start: float = 20.0) -> torch.Tensor:
    """The curve that begins at `start` and falls by `drops`."""
    return start - torch.tensor([0.0, *drops], dtype=torch.float64).cumsum(0)


# Layer entropy


def rounding(tokens: int, dims: int) -> float:
    r"""How far two rounded entropies of one state may differ: twice Fannes-Audenaert at the error of the matrix.

    t = sqrt(side) (tokens + dims + 6) eps/2 bounds the trace norm of what rounding does to a density matrix, the
    entropy moves by at most t log side + h2(t) <= t (log side + 1 - log t).
    """
    t = math.sqrt(max(tokens, dims)) * (tokens + dims + 6) * EPS / 2
    return 2 * t * (math.log(max(tokens, dims)) + 1 - math.log(t))


@given(seeds, st.sampled_from([(6, 4), (4, 6), (5, 5), (2, 3)]), st.sampled_from([(), (2,)]))
def test_layer_entropy_is_the_entropy_of_each_state(seed: int, shape: tuple[int, int], batch: tuple[int, ...]) -> None:
    states = gaussian(*batch, 3, *shape, seed=seed)
    expected = []
    for state in states.reshape(-1, *shape).numpy():
        covariance = np.atleast_2d(np.cov(state.T, bias=True))
        eigenvalues = scipy.linalg.eigvalsh(covariance / np.trace(covariance))
        expected.append(scipy.special.entr(np.maximum(eigenvalues, 0)).sum())
    ours = layer_entropy(states)
    assert ours.shape == (*batch, 3)
    assert ours.dtype == torch.float64
    assert ours.flatten().numpy() == pytest.approx(np.array(expected), rel=0, abs=rounding(*shape))


@given(seeds)
def test_layer_entropy_ignores_similarities_of_each_state(seed: int) -> None:
    """Hence the collapse does not depend on the norm of the hidden states, which grows from layer to layer."""
    states = gaussian(4, 7, 5, seed=seed)
    maps = torch.linalg.qr(gaussian(4, 5, 5, seed=seed + 1)).Q * torch.tensor([0.01, 1.0, 3.0, 1e3])[:, None, None]
    moved = states @ maps + gaussian(4, 1, 5, seed=seed + 2)
    # the mapped states carry rounding of their own, no more than that of centring: of the size of the shift
    assert (layer_entropy(moved) - layer_entropy(states)).abs().max() < 1000 * rounding(7, 5)


# The rule


@given(st.integers(1, 12), st.integers(0, 11), st.floats(0.01, 10))
def test_collapse_layer_names_the_state_after_the_drop(layers: int, place: int, height: float) -> None:
    """Entropies of states 0 to i-1 are high and from state i on low: the answer is i, the first layer to run pruned."""
    layer = place % layers + 1
    curve = torch.full((layers + 1,), 3.0, dtype=torch.float64)
    curve[:layer] += height
    found = collapse_layer(curve)
    assert found.found
    assert found.layer == layer
    assert found.layers == layers
    assert found.drop == pytest.approx(height, abs=20 * EPS)
    assert found.prunable == (layer < layers)
    assert found.sharpness == math.inf  # the others have no spread
    assert (found.consistency, found.interval) == (1.0, None)


@given(rises, st.floats(0, 100), st.integers(1, 5))
def test_collapse_layer_finds_none_in_a_flat_or_rising_curve(steps: list[int], start: float, samples: int) -> None:
    rising = torch.tensor([0, *steps], dtype=torch.float64).cumsum(0) * 0.1 + start
    for curves in (rising, rising.expand(samples, -1), torch.full_like(rising, start)):
        found = collapse_layer(curves)
        assert not found.found
        assert not found.prunable
        assert (found.layer, found.interval, found.sharpness, found.consistency) == (None, None, 0.0, 1.0)
        assert found.drop <= 2**10 * EPS * (start + 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_collapse_layer_does_not_take_rounding_for_a_drop(dtype: torch.dtype) -> None:
    """A flat curve whose entries differ in their last digit, which is worth 4 eps at 5."""
    flat = torch.tensor([5.0, 5.0 + 4 * torch.finfo(dtype).eps, 5.0, 5.0], dtype=dtype)
    assert flat[1] > flat[2]
    assert not collapse_layer(flat).found
    assert collapse_layer(flat - torch.tensor([0, 0, 1, 1], dtype=dtype)).layer == 2


@pytest.mark.parametrize(("dtype", "units"), [(torch.float64, 2**10), (torch.float32, 2 * 2**29)])
@pytest.mark.parametrize("largest", [1.0, 4.0, 256.0])
def test_collapse_layer_draws_the_line_at_the_stated_multiple_of_rounding(
    dtype: torch.dtype, units: int, largest: float
) -> None:
    """1024 units of float64, 2 of a narrower dtype (2^29 of float64's each), times the largest entropy.

    All numbers are multiples of a quarter of that below a power of two, so that each is exact in the dtype.
    """
    line = units * EPS * largest
    for quarters, found in ((2, False), (4, False), (5, True), (6, True)):
        curve = torch.tensor([largest, largest, largest - quarters * line / 4], dtype=dtype)
        assert curve[2].item() == largest - quarters * line / 4
        assert collapse_layer(curve).found == found


def test_collapse_layer_takes_a_spread_within_rounding_for_none() -> None:
    """The other drops differ by less than 1024 units: there is no scale to hold the largest against."""
    noise = 100 * EPS * 8
    found = collapse_layer(curve_with([noise, 2.0, 0.0, -noise], start=8.0))
    assert (found.layer, found.sharpness) == (2, math.inf)
    spread = collapse_layer(curve_with([1e-9, 2.0, 0.0, -1e-9], start=8.0))
    assert spread.sharpness == pytest.approx(2.0 / (1e-9 * math.sqrt(2 / 3)), rel=1e-6)


def test_collapse_layer_finds_none_among_states_of_equal_entropy() -> None:
    """States that differ by a rotation have one entropy, but not to the last bit."""
    state = gaussian(12, 9, seed=0)
    maps = torch.linalg.qr(gaussian(8, 9, 9, seed=1)).Q
    curve = layer_entropy(state @ maps)
    assert curve.unique().numel() > 1
    assert not collapse_layer(curve).found


def test_collapse_layer_takes_the_largest_drop() -> None:
    assert collapse_layer(curve_with([1, 0, 0, 2, 0])).layer == 4
    assert collapse_layer(curve_with([2, 0, 0, 1, 0])).layer == 1
    assert collapse_layer(curve_with([-3, 1, -2, 0.5])).layer == 2


@given(st.integers(2, 9), st.sampled_from([0.1, 0.7, 1.0]))
def test_collapse_layer_gives_ties_to_the_earliest(layers: int, height: float) -> None:
    """A straight line falls alike everywhere; differences of decimals are equal only to rounding."""
    found = collapse_layer(curve_with([height] * layers))
    assert found.layer == 1
    assert found.sharpness == 0.0
    assert collapse_layer(curve_with([0.0, height, 0.0, height])).layer == 2


def test_collapse_layer_of_a_mean_over_samples() -> None:
    """One sample with a huge drop outweighs two with small ones elsewhere; consistency tells."""
    curves = torch.stack([curve_with([9, 0, 0]), curve_with([0, 1, 0]), curve_with([0, 1, 0])])
    found = collapse_layer(curves)
    assert (found.layer, found.drop) == (1, 3.0)
    assert found.consistency == pytest.approx(1 / 3)


def test_collapse_layer_of_a_single_layer() -> None:
    found = collapse_layer(torch.tensor([2.0, 1.5]))
    assert (found.layer, found.drop, found.sharpness, found.prunable) == (1, 0.5, math.inf, False)
    assert collapse_layer(torch.tensor([1.5, 2.0])).layer is None


@given(seeds, st.integers(1, 4), st.sampled_from([0.25, 3.0]), st.sampled_from([-2.0, 0.0, 7.0]))
def test_collapse_layer_ignores_an_affine_map_of_the_curves(
    seed: int, samples: int, factor: float, constant: float
) -> None:
    curves = gaussian(samples, 6, seed=seed)
    one, other = collapse_layer(curves, bootstrap=50), collapse_layer(factor * curves + constant, bootstrap=50)
    assert (one.layer, one.consistency, one.interval) == (other.layer, other.consistency, other.interval)
    assert other.drop == pytest.approx(factor * one.drop, rel=1e-9, abs=1e-9)
    assert other.sharpness == pytest.approx(one.sharpness, rel=1e-9)


@given(seeds, st.integers(1, 5), st.integers(2, 8))
def test_collapse_layer_sharpness_agrees_with_numpy(seed: int, samples: int, layers: int) -> None:
    curves = gaussian(samples, layers + 1, seed=seed)
    drops = -np.diff(curves.numpy(), axis=1).mean(0)
    found = collapse_layer(curves, bootstrap=10)
    if drops.max() <= 0:
        assert found.layer is None
        return
    assert found.layer == drops.argmax() + 1
    assert found.drop == pytest.approx(drops.max())
    others = np.delete(drops, drops.argmax())
    expected = (drops.max() - others.mean()) / np.std(others) if layers > 2 else math.inf
    assert found.sharpness == pytest.approx(expected, rel=1e-9)


@given(seeds)
def test_collapse_layer_ignores_the_order_of_samples(seed: int) -> None:
    curves = gaussian(7, 5, seed=seed)
    one = collapse_layer(curves, bootstrap=10)
    other = collapse_layer(curves[torch.randperm(7, generator=torch.Generator().manual_seed(seed))], bootstrap=10)
    assert (one.layer, one.consistency) == (other.layer, other.consistency)
    assert other.drop == pytest.approx(one.drop, rel=1e-12)
    assert other.sharpness == pytest.approx(one.sharpness, rel=1e-9)


# How far to trust it


@given(st.integers(0, 10), st.integers(0, 10))
def test_collapse_layer_consistency_counts_samples(at_two: int, at_four: int) -> None:
    if at_two == at_four == 0:
        return
    curves = torch.stack([curve_with([0, 2, 0, 0])] * at_two + [curve_with([0, 0, 0, 2])] * at_four)
    found = collapse_layer(curves, bootstrap=10)
    assert found.layer == (2 if at_two >= at_four else 4)
    assert found.consistency == pytest.approx(max(at_two, at_four) / (at_two + at_four))


def test_collapse_layer_consistency_counts_samples_without_a_drop() -> None:
    """Against a collapse, and where none is found, for none."""
    curves = torch.stack([curve_with([0, 2, 0])] * 3 + [curve_with([-0.1, -0.1, -0.1])])
    assert collapse_layer(curves).consistency == 0.75
    none = collapse_layer(torch.stack([curve_with([-1, 0.5])] + [curve_with([-1, -1])] * 3))
    assert (none.layer, none.consistency) == (None, 0.75)


def test_collapse_layer_interval_covers_the_split_of_the_samples() -> None:
    """Half of the samples at 2, half at 4: resamples favour either; all at 3: no doubt."""
    halves = torch.stack([curve_with([0, 2, 0, 0, 0])] * 10 + [curve_with([0, 0, 0, 2, 0])] * 10)
    assert collapse_layer(halves).interval == (2, 4)
    for layer, samples in ((3, 10), (1, 10), (3, 2)):
        same = curve_with([2.0 if i == layer else 0.0 for i in range(1, 6)]).expand(samples, -1)
        assert collapse_layer(same).interval == (layer, layer)
    assert collapse_layer(same[:1]).interval is None


def test_collapse_layer_interval_narrows_with_confidence() -> None:
    """Twelve samples at 2 against eight at 4: 4 wins about one resample in seven, as the binomial law has it."""
    curves = torch.stack([curve_with([0, 2, 0, 0])] * 12 + [curve_with([0, 0, 0, 2])] * 8)
    # of 20 draws with probability 0.4, more than 10 hit: 0.1275; a tie goes to 2
    assert 1 - scipy.stats.binom.cdf(10, 20, 0.4) == pytest.approx(0.1275, abs=1e-4)
    # a share of 5000 resamples is off by 0.005 (one deviation); 80 % leaves out 0.1 at each end, 70 % leaves out 0.15
    for confidence, interval in ((0.95, (2, 4)), (0.80, (2, 4)), (0.70, (2, 2)), (0.60, (2, 2))):
        assert collapse_layer(curves, bootstrap=5000, confidence=confidence).interval == interval


def test_collapse_layer_interval_rounds_outwards() -> None:
    """Of two resamples nearly full confidence takes the lower and the higher one, each of which is one resample.

    The drawing is row by row, so that the first of two resamples is the only one of a bootstrap of one.
    """
    curves = torch.stack([curve_with([0, 2, 0, 0])] * 10 + [curve_with([0, 0, 0, 2])] * 10)
    intervals = {collapse_layer(curves, bootstrap=2, confidence=0.999, seed=seed).interval for seed in range(12)}
    assert (2, 4) in intervals and intervals <= {(2, 2), (2, 4), (4, 4)}
    for seed in range(12):
        first = collapse_layer(curves, bootstrap=1, seed=seed).interval
        both = collapse_layer(curves, bootstrap=2, confidence=0.999, seed=seed).interval
        assert first is not None and both is not None
        assert first[0] == first[1] and first[0] in both


def test_collapse_layer_interval_leaves_out_resamples_without_a_collapse() -> None:
    """One steep fall among two rises: a resample without it, as 8 of 27 are, finds none and says nothing of where."""
    curves = torch.stack([curve_with([0, 10, 0]), curve_with([-4, -4, -4]), curve_with([-4, -4, -4])])
    found = collapse_layer(curves)
    assert (found.layer, found.interval) == (2, (2, 2))
    assert found.consistency == pytest.approx(1 / 3)


def test_collapse_layer_interval_leaves_out_resamples_that_fall_by_rounding() -> None:
    """At a height of 20 rounding may make 4.5e-12: a resample without the steep fall, 2e-12, says nothing of where."""
    curves = torch.stack([curve_with([0, 10, 0]), curve_with([0, 0, 2e-12]), curve_with([0, 0, 2e-12])])
    assert collapse_layer(curves).interval == (2, 2)


def test_collapse_layer_resamples_a_thousand_times_at_95_percent_from_seed_0_by_default() -> None:
    assert inspect.signature(collapse_layer).parameters["bootstrap"].default == 1000  # one more would rarely show
    for seed in range(20):
        curves = gaussian(9, 7, seed=seed) - torch.arange(7) * 0.1
        assert collapse_layer(curves) == collapse_layer(curves, bootstrap=1000, confidence=0.95, seed=0)


def test_collapse_layer_interval_depends_on_the_seed_alone() -> None:
    curves = gaussian(9, 7, seed=3) - torch.arange(7) * 0.1
    intervals = [collapse_layer(curves, bootstrap=7, confidence=0.5, seed=seed).interval for seed in range(30)]
    again = [collapse_layer(curves, bootstrap=7, confidence=0.5, seed=seed).interval for seed in range(30)]
    assert intervals == again
    assert len(set(intervals)) > 1


def test_collapse_describes_itself() -> None:
    found = str(collapse_layer(torch.stack([curve_with([0, 2, -1, 0])] * 4)))
    assert "at layer 2 of 4: the entropy falls by 2 nats from state 1 to state 2" in found
    assert "100% of samples agree, bootstrap interval 2 to 2" in found
    halves = torch.stack([curve_with([0, 2, 0, 0, 0])] * 10 + [curve_with([0, 0, 0, 2, 0])] * 10)
    assert "50% of samples agree, bootstrap interval 2 to 4" in str(collapse_layer(halves))
    last = str(collapse_layer(curve_with([0, 0, 2])))
    assert last.endswith("output of the last layer, so no layer is left to prune at")
    none = str(collapse_layer(curve_with([-1, -2])))
    assert none == "no entropy collapse found: the largest mean drop over 2 layers is -1 nats; 100% of samples agree"
    with pytest.raises(AttributeError):
        Collapse(1, 1.0, 1.0, 1.0, None, 2).layer = 2  # type: ignore[misc]


# Other definitions


@given(st.integers(1, 9), st.integers(0, 8), st.integers(1, 3))
def test_other_definitions_agree_on_a_single_step(layers: int, place: int, samples: int) -> None:
    layer = place % layers + 1
    curves = curve_with([2.0 if i == layer else 0.0 for i in range(1, layers + 1)]).expand(samples, -1)
    assert set(other_definitions(curves).values()) == {layer} == {collapse_layer(curves).layer}


@given(rises, st.integers(1, 3))
def test_other_definitions_find_none_in_a_flat_or_rising_curve(steps: list[int], samples: int) -> None:
    rising = torch.tensor([0, *steps], dtype=torch.float64).cumsum(0).expand(samples, -1)
    for curves in (rising, torch.zeros_like(rising), torch.ones_like(rising)):
        assert set(other_definitions(curves).values()) == {None}


def test_other_definitions_part_where_they_should() -> None:
    """Relative: a late fall from little. First: an early one of half the range. Mode: the majority."""
    late = torch.tensor([10.0, 10.0, 7.0, 7.0, 1.0, 0.5, 0.1])
    assert collapse_layer(late).layer == 4
    assert other_definitions(late) == {"relative_drop": 4, "first_drop": 4, "change_point": 4, "mode": 4}
    assert other_definitions(late, share=0.3)["first_drop"] == 2
    little = torch.tensor([10.0, 10.0, 7.0, 7.0, 2.0, 1.0, 0.1])
    assert (collapse_layer(little).layer, other_definitions(little)["relative_drop"]) == (4, 6)

    curves = torch.stack([curve_with([9, 0, 0]), curve_with([0, 1, 0]), curve_with([0, 1, 0])])
    assert (collapse_layer(curves).layer, other_definitions(curves)["mode"]) == (1, 2)
    no_majority = torch.stack([curve_with([9.0, 0])] * 2 + [curve_with([-1.0, -1])] * 3)
    assert (collapse_layer(no_majority).layer, other_definitions(no_majority)["mode"]) == (1, None)

    tie = torch.stack([curve_with([0.0, 9])] * 2 + [curve_with([-1.0, -1])] * 2)
    assert other_definitions(tie)["mode"] == 2  # as many find a layer as find none
    assert [other_definitions(curve_with(drops), share=1.0)["first_drop"] for drops in ([0, 2], [1, 1])] == [2, None]

    slide = curve_with([0, 0, 1, 1, 1.1, 0, 0])  # the middle of the slide splits best, not its steepest step
    assert (collapse_layer(slide).layer, other_definitions(slide)["change_point"]) == (5, 4)


def test_other_definitions_draw_the_line_at_the_same_multiple_of_rounding() -> None:
    """At a height of a million rounding may make 2.3e-7, whether a drop is divided by that height or not."""
    for drop, layer in ((1e-5, 2), (1e-7, None)):
        curve = curve_with([0, drop, 0], start=1e6)
        assert set(other_definitions(curve).values()) == {layer} == {collapse_layer(curve).layer}


def test_other_definitions_take_no_relative_drop_from_nothing() -> None:
    """Two samples keep all until they lose nine tenths at layer 3; one has nothing left to lose there."""
    curves = torch.tensor([[1.0, 1.0, 1.0, 0.1], [1.0, 1.0, 1.0, 0.1], [1.0, 0.4, 0.0, 0.0]])
    assert other_definitions(curves)["relative_drop"] == 3  # means 0.2, 1/3 and 0.6


# Chance


@pytest.mark.parametrize("layers", [3, 4, 9])
def test_random_sharpness_is_that_of_curves_of_independent_normal_drops(layers: int) -> None:
    generator = torch.Generator().manual_seed(7)
    drops = torch.randn(40, layers, generator=generator, dtype=torch.float64)
    found = [collapse_layer(curve_with(row.tolist(), start=0.0)) for row in drops]
    expected = sorted(one.sharpness for one in found if one.found)
    assert random_sharpness(layers, draws=40, seed=7).tolist() == pytest.approx(expected, rel=1e-9)
    assert layers > 3 or len(expected) < 40  # one curve of three drops in eight never falls


def test_random_sharpness_draws_ten_thousand_curves_from_seed_0_by_default() -> None:
    assert torch.equal(random_sharpness(3), random_sharpness(3, draws=10_000, seed=0))
    assert len(random_sharpness(3, draws=1)) <= 1


@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("layers", [3, 6])
def test_smooth_sharpness_is_that_of_a_geometric_decay(layers: int, ratio: float) -> None:
    found = collapse_layer(curve_with([ratio**i for i in range(layers)]))
    assert found.layer == 1
    assert smooth_sharpness(layers, ratio) == pytest.approx(found.sharpness, rel=1e-9)
    assert smooth_sharpness(layers, 1e-300) == math.inf  # the spread of the other drops is below the least float64


@pytest.mark.usefixtures("own_checks")
def test_chance_rejects_bad_settings() -> None:
    for function in (random_sharpness, lambda layers: smooth_sharpness(layers, 0.5)):
        with pytest.raises(ValueError, match="layers must be at least 3, got 2"):
            function(2)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        random_sharpness(3, draws=0)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed must be between 0 and {2**64 - 1}, got {seed}"):
            random_sharpness(3, seed=seed)
    for ratio in (0, 1, -0.5, 1.5, math.nan):
        with pytest.raises(ValueError, match="ratio must lie strictly between 0 and 1, got"):
            smooth_sharpness(3, ratio)
    for wrong in (True, "0.5"):
        with pytest.raises(TypeError, match="ratio must be an int or a float, got"):
            smooth_sharpness(3, wrong)  # type: ignore[arg-type]


# Bad input


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("function", [collapse_layer, other_definitions])
@pytest.mark.parametrize(
    ("curves", "message"),
    [
        (torch.tensor(1.0), r"curves must have shape \(\.\.\., states\), got 0 dimension"),
        (torch.ones(1), r"at least one sample and two states, got shape \(1,\)"),
        (torch.ones(2, 2, 3), r"curves must have shape \(states,\) or \(samples, states\) .* got shape \(2, 2, 3\)"),
        (torch.ones(0, 3), r"at least one sample and two states, got shape \(0, 3\)"),
        (torch.ones(2, 0), r"at least one entry on its axis 'states'"),
        (torch.ones(3, dtype=torch.int64), r"curves must have a real floating dtype .* got torch\.int64"),
        (torch.tensor([1.0, math.nan]), r"curves must be finite, got nan at index \(1,\)"),
    ],
)
def test_collapse_functions_reject_bad_curves(function, curves: torch.Tensor, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        function(curves)


@pytest.mark.usefixtures("own_checks")
def test_collapse_layer_rejects_bad_settings() -> None:
    curve = curve_with([1.0, 0.0])
    with pytest.raises(TypeError, match=r"curves must be a torch\.Tensor, got list"):
        collapse_layer([1.0, 2.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bootstrap must be at least 1, got 0"):
        collapse_layer(curve, bootstrap=0)
    with pytest.raises(TypeError, match="bootstrap must be an int, got float"):
        collapse_layer(curve, bootstrap=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed must be between 0 and 18446744073709551615, got -1"):
        collapse_layer(curve, seed=-1)
    for confidence in (0.0, 1.0, 95, math.nan):
        with pytest.raises(ValueError, match="confidence must lie strictly between 0 and 1, got"):
            collapse_layer(curve, confidence=confidence)
    with pytest.raises(TypeError, match=r"confidence must be an int or a float, got str '0\.9'"):
        collapse_layer(curve, confidence="0.9")  # type: ignore[arg-type]
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share must be above 0 and at most 1, got"):
            other_definitions(curve, share=share)
    with pytest.raises(TypeError, match="share must be an int or a float, got str"):
        other_definitions(curve, share="half")  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("states", "message"),
    [
        (torch.ones(3, 4), r"states must have shape \(\.\.\., states, tokens, dims\), got 2 dimension"),
        (torch.ones(3, 0, 4), r"at least one entry on its axis 'tokens'"),
        (torch.full((2, 3, 4), math.inf), r"states must be finite, got inf at index \(0, 0, 0\)"),
        (torch.ones(3, 4, 2, dtype=torch.complex64), r"states must have a real floating dtype"),
    ],
)
def test_layer_entropy_rejects_bad_states(states: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_entropy(states)


@pytest.mark.usefixtures("own_checks")
def test_layer_entropy_rejects_what_is_not_a_tensor() -> None:
    with pytest.raises(TypeError, match=r"states must be a torch\.Tensor, got list"):
        layer_entropy([[[1.0]]])  # type: ignore[arg-type]


def test_chance_does_not_depend_on_the_default_device() -> None:
    expected = random_sharpness(6, draws=9), smooth_sharpness(6, 0.5)
    with torch.device("meta"):
        found = random_sharpness(6, draws=9), smooth_sharpness(6, 0.5)
    assert torch.equal(found[0], expected[0]) and found[1] == expected[1]

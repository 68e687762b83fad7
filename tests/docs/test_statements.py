"""Statements of the pages about results, held against every committed evaluation, however many seeds there are."""

import json
from pathlib import Path
from typing import Any

import pytest

RESULTS = [json.loads(path.read_text()) for path in sorted((Path(__file__).parents[2] / "results").glob("seed-*.json"))]
KEEPS = RESULTS[0]["plan"]["keeps"]
EACH = pytest.mark.parametrize("result", RESULTS, ids=lambda result: f"seed {result['seed']}")


def cell(result: dict[str, Any], scorer: str, layer: int, keep: int) -> dict[str, Any]:
    (found,) = [c for c in result["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    return dict(found)


def mean(scorer: str, layer: int, keep: int, kind: str | None = None) -> float:
    cells = [cell(result, scorer, layer, keep) for result in RESULTS]
    return sum((c["kinds"][kind] if kind else c["accuracy"])[0] for c in cells) / len(cells)


def test_lowest_entropy_at_layer_1_is_no_better_than_keeping_nothing() -> None:
    floor = mean("none kept", 1, 0)
    assert all(mean("lowest-entropy", 1, keep) < floor + 0.03 for keep in KEEPS)


@EACH
def test_counting_fails_although_every_object_is_kept(result: dict[str, Any]) -> None:
    """With the ground truth, 16 tokens hold every patch that matters, and the count is worse than with none at all."""
    for keep in (32, 16):
        truth = cell(result, "ground-truth", 1, keep)
        assert truth["recall"] > 0.999
        assert truth["kinds"]["count"][0] < 0.6
    nothing = cell(result, "none kept", 1, 0)
    assert cell(result, "ground-truth", 1, 16)["kinds"]["count"][0] < nothing["kinds"]["count"][0]


def test_released_does_much_as_low_query_norm_does_at_layer_1() -> None:
    for keep in KEEPS:
        assert abs(mean("token-entropy-released", 1, keep) - mean("query-norm-low", 1, keep)) < 0.025


def test_simpler_rivals_reach_the_ground_truth_at_layer_1() -> None:
    for keep in (32, 16, 8):
        truth = mean("ground-truth", 1, keep)
        for name in ("last-token-attention", "max-min-diversity"):
            assert abs(mean(name, 1, keep) - truth) < 0.01
        assert mean("token-entropy-row_normalized", 1, keep) < mean("token-entropy-paper", 1, keep) < truth


def test_ground_truth_is_no_upper_bound() -> None:
    """In some seed, keeping nothing at layer 2 beats the ground truth with 8 tokens."""
    gaps = [
        cell(result, "none kept", 2, 0)["accuracy"][0] - cell(result, "ground-truth", 2, 8)["accuracy"][0]
        for result in RESULTS
    ]
    assert max(gaps) > 0.05


def test_at_layer_2_seeds_differ_more_than_good_scorers() -> None:
    scorers = ("ground-truth", "token-entropy-paper", "last-token-attention", "max-min-diversity")
    for keep in (16, 8):
        by_seed = [cell(result, "token-entropy-paper", 2, keep)["accuracy"][0] for result in RESULTS]
        by_scorer = [mean(scorer, 2, keep) for scorer in scorers]
        assert max(by_seed) - min(by_seed) > max(by_scorer) - min(by_scorer)


@EACH
def test_random_weights_have_a_drop_on_which_all_images_agree(result: dict[str, Any]) -> None:
    assert result["collapse"]["untrained"]["consistency"] == 1


def test_the_layer_of_random_weights_depends_on_the_draw() -> None:
    assert len({result["collapse"]["untrained"]["layer"] for result in RESULTS}) > 1


def test_all_trained_seeds_name_one_layer() -> None:
    """The page says so where it is so; this sees when it is not."""
    assert len({result["collapse"]["trained"]["layer"] for result in RESULTS}) == 1

"""What the score sees: the measures are right, the controls do what they say, the page says what was measured."""

import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, spearmanr

from entropyprune_ref.evaluation import counting, heads
from entropyprune_ref.evaluation.counting import Condition
from entropyprune_ref.evaluation.head_controls import mixed, strangers, turned
from entropyprune_ref.evaluation.heads_tables import auc_table, control_table, counting_table, values
from entropyprune_ref.evaluation.ranking import auc, residual, spearman
from entropyprune_ref.gram import gram_spectrum
from entropyprune_ref.llava import Llava
from entropyprune_ref.scoring import CONVENTIONS, PAPER, RELEASED, token_entropy
from entropyprune_ref.world.questions import WORDS

FOLDER = Path(__file__).parents[2] / "results"
SEEDS = json.loads((FOLDER / "heads.json").read_text())
COUNTING = json.loads((FOLDER / "counting.json").read_text())


@given(st.integers(0, 1000))
def test_auc_and_spearman_are_those_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, other = random.integers(0, 6, 30).astype(float), random.random(30)  # with ties, and without
    on = random.random(30) < 0.3
    on[0], on[1] = True, False
    expected = mannwhitneyu(scores[on], scores[~on]).statistic / (on.sum() * (~on).sum())
    assert auc(scores, on) == pytest.approx(expected, abs=1e-12)
    assert spearman(scores, other) == pytest.approx(spearmanr(scores, other).statistic, abs=1e-12)


def test_spearman_with_what_does_not_vary_is_zero() -> None:
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_residual_leaves_nothing_of_what_explains_it() -> None:
    random = np.random.default_rng(0)
    energy, rest = random.random(200), random.random(200)
    assert abs(spearman(residual(np.exp(energy), energy[None]), energy)) < 1e-6
    left = residual(energy + rest, energy[None])
    assert abs(np.corrcoef(left, energy)[0, 1]) < 0.1 and np.corrcoef(left, rest)[0, 1] > 0.9


def queries(seed: int = 0) -> torch.Tensor:
    return torch.randn(40, 8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mixed_keeps_the_span_of_the_heads() -> None:
    """The Gram matrix over features is unchanged by an orthogonal map of the heads: 16 terms, 1e-12."""
    before, after = queries(), mixed(queries(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(before.mT @ before, after.mT @ after, rtol=0, atol=1e-12)
    assert not torch.allclose(before, after)


def test_strangers_are_the_same_heads_of_other_tokens() -> None:
    before, after = queries(), strangers(queries(), torch.Generator().manual_seed(1))
    for head in range(8):
        assert {tuple(row) for row in before[:, head].tolist()} == {tuple(row) for row in after[:, head].tolist()}
    assert (before != after).any(dim=(1, 2)).double().mean() > 0.9


def test_turned_keeps_spectra_and_so_the_scores_that_read_only_them() -> None:
    before, after = queries(), turned(queries(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(gram_spectrum(before), gram_spectrum(after), rtol=0, atol=1e-12)
    for convention in (PAPER, RELEASED):
        torch.testing.assert_close(
            token_entropy(before, convention), token_entropy(after, convention), rtol=1e-9, atol=1e-9
        )
    assert not torch.allclose(before - before.mean(1, keepdim=True), after)


def test_heads_of_the_bundled_model_are_measured_as_published() -> None:
    """Two images, the earliest layer; the names and the order of magnitude are those of the committed results."""
    found = heads.run(Llava.from_pretrained(), 3, 2)["layers"]["1"]
    assert {name: set(rows) for name, rows in found.items()} == {
        name: set(rows) for name, rows in SEEDS[3]["layers"]["1"].items()
    }
    for name in ("released", "query energy", "distance from the mean state"):
        assert abs(found[name]["AUC"][0] - SEEDS[3]["layers"]["1"][name]["AUC"][0]) < 0.05


def mean(layer: int, score: str, name: str = "AUC") -> float:
    return fmean(values(SEEDS, layer, score, name))


def test_page_is_right_that_scores_mark_things_early_and_not_late() -> None:
    for convention in CONVENTIONS:
        assert min(values(SEEDS, 1, convention, "AUC")) > 0.7
        for layer in (4, 5):
            assert min(values(SEEDS, layer, convention, "AUC")) < 0.55
    assert min(values(SEEDS, 2, "row_normalized", "AUC")) < 0.4


def test_page_is_right_about_the_hypotheses() -> None:
    begin = "rank correlation with "
    for convention in CONVENTIONS:
        assert -0.3 < mean(1, convention, f"{begin}disagreement of heads") < 0.1
        assert abs(mean(1, convention, f"{begin}distance from the mean state")) < 0.4
    assert mean(1, "disagreement of heads") < 0.35
    assert max(values(SEEDS, 1, "released", f"{begin}query energy")) < -0.96
    assert mean(1, "released", "AUC left after query energy") < 0.65 < 0.98 < mean(1, "released") + 0.01
    for convention in ("paper", "row_normalized"):
        assert mean(1, convention, "AUC left after query energy") > 0.74
    assert abs(mean(1, "place in reading order") - 0.5) < 0.03
    assert min(values(SEEDS, 1, "paper", "AUC left after all explanations")) > 0.55


def test_page_is_right_that_distance_from_the_mean_finds_things_better() -> None:
    for layer in range(1, 6):
        distance = values(SEEDS, layer, "distance from the mean state", "AUC")
        assert min(distance) > 0.96 and max(values(SEEDS, layer, "likeness to neighbours", "AUC")) < 0.01
        for convention in CONVENTIONS:
            pairs = zip(distance, values(SEEDS, layer, convention, "AUC"), strict=True)
            assert all(ours > theirs - 0.005 for ours, theirs in pairs)


def test_page_is_right_about_the_controls() -> None:
    for convention in CONVENTIONS:
        for layer in (1, 2):
            assert abs(mean(layer, convention, "AUC, heads of different tokens") - 0.5) < 0.03
            assert abs(mean(layer, convention, "AUC, random weights") - 0.5) < 0.03
        assert mean(1, convention, "AUC, heads mixed by a random rotation") > mean(1, convention) - 0.07
        spread = values(SEEDS, 1, convention, "AUC, random query weights, trained states")
        assert min(spread) < 0.45 and max(spread) > 0.9
    for convention in ("paper", "released"):
        for layer in range(1, 6):
            redrawn = "AUC, spectra kept, eigenvectors drawn anew"
            kept = zip(values(SEEDS, layer, convention, "AUC"), values(SEEDS, layer, convention, redrawn), strict=True)
            assert all(abs(one - other) < 1e-3 for one, other in kept)


def test_tables_of_heads_show_the_numbers() -> None:
    found = values(SEEDS, 1, "paper", "AUC")
    shown = f"{fmean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"
    assert f"| **PAPER** | {shown} |" in auc_table(SEEDS) and f"| as it is | {shown} |" in control_table(SEEDS, 1)


def test_counted_fills_as_its_condition_says() -> None:
    """Whole image: every slot once. Copies: as many slots as the whole image has, of one background token besides."""
    objects = np.zeros(144, dtype=bool)
    objects[[5, 77]] = True
    whole = list(counting._slots(objects, Condition(1, 144), 3))
    assert whole == list(range(144))
    copied = list(counting._slots(objects, Condition(1, 1, copied=True), 3))
    assert len(copied) == 144 and len(set(copied)) == 3 and {5, 77} <= set(copied)
    filled = list(counting._slots(objects, Condition(1, 8), 3))
    assert len(filled) == len(set(filled)) == 10 and sorted(filled) == filled
    assert set(filled) < set(counting._slots(objects, Condition(1, 16), 3))
    assert list(counting._slots(objects, Condition(2, 0), 3)) == [5, 5, 77, 77]


def test_counted_of_the_whole_image_is_the_model_and_summarised_by_hand() -> None:
    tried = [Condition(1, 0), Condition(1, 144)]
    said, things = counting.counted(Llava.from_pretrained(), 1, range(6), tried)
    assert (said[1] == [WORDS.index(word) for word in np.array(["", "", "two", "three", "four", "five"])[things]]).all()
    bare, whole = counting.summarise(said, things, tried)
    assert whole["right"][0] == 1 and whole["too many"][0] == 0 and bare["too many"][0] > 0
    assert sum(sum(row.values()) for row in bare["said"].values()) == 6


def row(result: dict[str, Any], objects: int, background: int, copied: bool = False) -> dict[str, Any]:
    rows = result["layers"]["1"]
    (found,) = [r for r in rows if (r["objects"], r["background"], r["copied"]) == (objects, background, copied)]
    return dict(found)


def test_page_is_right_about_why_counting_fails() -> None:
    """Copies of one background token, which show nothing new, restore the count; doubled objects raise it."""
    for result in COUNTING:
        bare, whole = row(result, 1, 0), row(result, 1, 144)
        assert whole["right"][0] > 0.99 and bare["right"][0] < 0.3 and bare["too many"][0] > 0.7
        assert row(result, 1, 1, copied=True)["right"][0] > 0.85
        assert row(result, 1, 4, copied=True)["right"][0] > 0.97
        assert row(result, 1, 4)["right"][0] < 0.3
        assert row(result, 2, 144)["too many"][0] > 0.25
        filled = [row(result, 1, number)["too many"][0] for number in counting.FILLED]
        assert all(later <= sooner + 0.02 for sooner, later in pairwise(filled))
    assert "| the whole image | 99.9 [" in counting_table(COUNTING, 1)

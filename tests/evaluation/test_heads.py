"""What the score sees: the measures are right, the controls do what they say, the page says what was measured."""

import json
import math
from dataclasses import FrozenInstanceError
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, spearmanr

from entropyprune_ref.evaluation import counting, heads
from entropyprune_ref.evaluation.counting import Condition
from entropyprune_ref.evaluation.head_controls import _orthogonal, mixed, strangers, turned
from entropyprune_ref.evaluation.heads_tables import auc_table, control_table, counting_table, values
from entropyprune_ref.evaluation.plan import HELD_OUT
from entropyprune_ref.evaluation.ranking import auc, residual, spearman
from entropyprune_ref.evaluation.reading import Asked
from entropyprune_ref.gram import gram_spectrum
from entropyprune_ref.llava import Llava, pixels
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers import GivenTokens
from entropyprune_ref.scoring import CONVENTIONS, PAPER, RELEASED, token_entropy
from entropyprune_ref.world.questions import WORDS, ask
from entropyprune_ref.world.scenes import draw_scene

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
    assert abs(left.mean()) < 1e-6 and (left == left.round(9)).all()
    assert abs(np.corrcoef(left, energy)[0, 1]) < 0.1 and np.corrcoef(left, rest)[0, 1] > 0.9


def queries(seed: int = 0) -> torch.Tensor:
    return torch.randn(40, 8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mixed_keeps_the_span_of_the_heads() -> None:
    """The Gram matrix over features is unchanged by an orthogonal map of the heads: 16 terms, 1e-12."""
    before, after = queries(), mixed(queries(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(before.mT @ before, after.mT @ after, rtol=0, atol=1e-12)
    assert not torch.allclose(before, after)


def test_mixed_is_one_rotation_for_all_tokens() -> None:
    twice = queries()[:1].expand(5, -1, -1)
    rows = mixed(twice, torch.Generator().manual_seed(1))
    torch.testing.assert_close(rows, rows[:1].expand_as(rows), rtol=0, atol=1e-12)


def test_rotations_are_drawn_evenly() -> None:
    """A corner of a 2 x 2 rotation is the cosine of an even angle: mean 0, deviation sqrt(1/2); five of these."""
    corners = _orthogonal(4000, 2, torch.Generator().manual_seed(0))[:, 0, 0]
    assert abs(corners.mean()) < 5 * (0.5 / 4000) ** 0.5
    assert corners.square().mean() == pytest.approx(0.5, abs=0.05)


def test_strangers_of_two_heads_are_of_two_tokens() -> None:
    before, after = queries(), strangers(queries(), torch.Generator().manual_seed(1))
    whole = {tuple(row) for row in before.flatten(1).tolist()}
    assert sum(tuple(row) in whole for row in after.flatten(1).tolist()) < 4


def test_turned_draws_anew_for_every_token() -> None:
    rows = turned(queries()[:1].expand(5, -1, -1), torch.Generator().manual_seed(1))
    assert all(not torch.allclose(one, other) for one, other in pairwise(rows))


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


def test_disagreement_is_the_divergence_of_the_heads_weights() -> None:
    """By definition, token by token: the entropy of the mean less the mean of the entropies, over those before."""
    generator = torch.Generator().manual_seed(2)
    query, key = (torch.randn(3, 6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    found = heads._disagreement(query, key)
    for token in range(6):
        logits = [[float(query[h, token] @ key[h, i]) / 5**0.5 for i in range(token + 1)] for h in range(3)]
        weights = scipy.special.softmax(logits, axis=1)
        expected = scipy.stats.entropy(weights.mean(0)) - scipy.stats.entropy(weights, axis=1).mean()
        assert float(found[token]) == pytest.approx(expected, abs=1e-12)


IMAGES, LAYER = 2, 2


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Everything that `measure` reads and says, of two images at layer 2."""
    model = Llava.from_pretrained()
    torch.manual_seed(7)
    blank = Llava(model.config).eval()
    scenes = [draw_scene(HELD_OUT, index) for index in range(IMAGES)]
    questions = [ask(scene, HELD_OUT, index, ("count",)) for index, scene in enumerate(scenes)]
    asked, unknown = (Asked(each, [scene.image for scene in scenes], questions) for each in (model, blank))
    found = heads.measure(model, blank, scenes, asked, unknown, LAYER)
    return {"model": model, "blank": blank, "scenes": scenes, "asked": asked, "found": found}


def traced(model: Llava, scene: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """State 1 and what layer 1 projects of it, of the visual tokens of one image, by a plain run of the model."""
    image = pixels(torch.from_numpy(scene.image[None]))
    with torch.no_grad():
        out = model(image, ["how many things are there"], keep_trace=True)
    visual = out.prompt.image_index[0] >= 0
    return out.states[LAYER - 1][0, visual], out.queries[LAYER - 1][0][:, visual].transpose(0, 1), visual


def test_explanations_are_what_their_names_say(measured: dict[str, Any]) -> None:
    """Float32 through two layers, summed in another order: a part in ten thousand."""
    for image, scene in enumerate(measured["scenes"]):
        state, query, _ = traced(measured["model"], scene)
        found = heads.explanations(measured["asked"], image, LAYER)
        energy = np.array([np.cov(one.numpy().T, bias=True).trace() * len(one) for one in query])
        directions = torch.nn.functional.normalize(state, dim=-1).reshape(12, 12, -1)
        like = [[_likeness(directions, row, column) for column in range(12)] for row in range(12)]
        expected = {
            "query energy": energy,
            "query norm": [float(one.square().sum()) for one in query],
            "hidden norm": [float(one.norm()) for one in state],
            "distance from the mean state": [float((one - state.mean(0)).norm()) for one in state],
            "likeness to neighbours": np.ravel(like),
            "place in reading order": range(144),
            "distance from the centre": [math.dist(divmod(place, 12), (5.5, 5.5)) for place in range(144)],
        }
        assert set(found) == {*expected, "disagreement of heads"}
        for name, wanted in expected.items():
            np.testing.assert_allclose(found[name], np.array(wanted, dtype=float), rtol=1e-4, atol=1e-4)


def _likeness(directions: torch.Tensor, row: int, column: int) -> float:
    """The mean cosine with the four neighbours, the last row and column beside the first."""
    steps = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return fmean(float(directions[row, column] @ directions[r % 12, c % 12]) for r, c in steps)


def test_measure_scores_what_its_names_say(measured: dict[str, Any]) -> None:
    for image, scene in enumerate(measured["scenes"]):
        on = scene.patches_of(scene.things)
        others = heads.explanations(measured["asked"], image, LAYER)
        state, query, _ = traced(measured["model"], scene)
        with torch.no_grad():
            normed = measured["model"].decoder.layers[LAYER - 1].input_layernorm(state)
            projected = measured["blank"].decoder.layers[LAYER - 1].self_attn.q_proj(normed)
        random = traced(measured["blank"], scene)[1]
        for convention, formula in CONVENTIONS.items():
            scores = token_entropy(query, formula).numpy()
            found = {name: values[image] for name, values in measured["found"][convention].items()}
            unrotated = token_entropy(projected.unflatten(-1, query.shape[1:]), formula).numpy()
            expected = {
                "AUC": auc(scores, on),
                "AUC left after query energy": auc(residual(scores, others["query energy"][None]), on),
                "AUC left after all explanations": auc(residual(scores, np.stack(list(others.values()))), on),
                "AUC, random weights": auc(token_entropy(random, formula).numpy(), on),
                "AUC, random query weights, trained states": auc(unrotated, on),
            }
            for name, value in expected.items():
                assert found[name] == pytest.approx(value, abs=0.01), name  # near ties in float32
        for name, other in others.items():
            assert measured["found"][name]["AUC"][image] == auc(other, on)


def test_measure_draws_anew_for_every_image_and_layer(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def note(queries: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn.append(float(torch.rand(1, generator=generator)))
        return queries

    monkeypatch.setattr(heads, "CONTROLS", {"none": note})
    asked = measured["asked"]
    for layer in (1, 2):
        heads.measure(measured["model"], measured["blank"], measured["scenes"], asked, asked, layer)
    assert len(drawn) == len(set(drawn)) == 2 * IMAGES * 3


def test_run_compares_with_random_weights_of_its_seed_and_leaves_the_generator_alone() -> None:
    model, before = Llava.from_pretrained(), torch.get_rng_state()
    found = [heads.run(model, seed, 1)["layers"]["1"]["paper"]["AUC, random weights"][0] for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    done: list[tuple[int, int]] = []
    assert list(heads.run(model, 3, 1, lambda *layers: done.append(layers))["layers"]) == ["1", "2", "3", "4", "5"]
    assert done == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert torch.equal(torch.get_rng_state(), before)


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
    uneven = list(counting._slots(objects, Condition(1, 4, copied=True), 3))  # 142 = 2 x 36 + 2 x 35
    assert sorted(uneven.count(slot) for slot in set(uneven)) == [1, 1, 35, 35, 36, 36]
    assert list(counting._slots(objects, Condition(2, 0), 3)) == [5, 5, 77, 77]


def test_conditions_give_the_background_back_in_three_ways() -> None:
    filled = [(1, 0), (1, 4), (1, 8), (1, 16), (1, 32), (1, 64), (1, 96)]
    copied = [(1, 1, True), (1, 4, True), (1, 16, True)]
    others = [(0, 0), (0, 32), (0, 144), (2, 144), (3, 144), (1, 144)]
    assert counting.conditions() == [Condition(*condition) for condition in (*filled, *copied, *others)]


def test_conditions_are_values() -> None:
    assert len({Condition(1, 4), Condition(1, 4), Condition(1, 8)}) == 2
    with pytest.raises(FrozenInstanceError):
        Condition(1, 4).background = 5  # type: ignore[misc]


def test_rows_of_a_condition_are_filled_up_in_front_with_what_nothing_reads(measured: dict[str, Any]) -> None:
    rows = [[0, 1, 5, 5], [0, 1]]
    prompt = counting._of(measured["asked"].before(2), rows).prompt
    assert prompt.attended.tolist() == [[True] * 4, [False, False, True, True]]
    assert prompt.positions[:, 2:].tolist() == [[5, 5], [0, 1]]


def test_counting_reports_the_images_of_every_layer() -> None:
    done: list[tuple[int, int]] = []
    found = counting.run(Llava.from_pretrained(), 3, lambda *images: done.append(images), batch=2)
    assert done == [(2, 9), (3, 9), (5, 9), (6, 9), (8, 9), (9, 9)]
    assert found["images"] == 3 and list(found["layers"]) == ["1", "2", "3"]
    for rows in found["layers"].values():
        assert sum(sum(said.values()) for said in rows[-1]["said"].values()) == 3


def test_counted_of_the_whole_image_is_the_model_and_summarised_by_hand() -> None:
    tried = [Condition(1, 0), Condition(1, 144)]
    said, things = counting.counted(Llava.from_pretrained(), 1, range(6), tried)
    assert (said[1] == [WORDS.index(word) for word in np.array(["", "", "two", "three", "four", "five"])[things]]).all()
    bare, whole = counting.summarise(said, things, tried)
    assert whole["right"][0] == 1 and whole["too many"][0] == 0 and bare["too many"][0] > 0
    assert sum(sum(row.values()) for row in bare["said"].values()) == 6


def test_counted_of_the_objects_alone_is_the_model_that_is_given_these_tokens() -> None:
    """At layer 2, image by image: rows of different lengths are filled up, and the filler is not read."""
    model = Llava.from_pretrained()
    said, _ = counting.counted(model, 2, range(20, 26), [Condition(1, 0)])
    for place, index in enumerate(range(20, 26)):
        scene = draw_scene(HELD_OUT, index)
        objects = torch.from_numpy(scene.patches_of(scene.things))
        text = ask(scene, HELD_OUT, index, ("count",))[0].text
        before, behind = (torch.zeros(1, length, dtype=torch.bool) for length in (2, len(text.split()) + 1))
        given = GivenTokens(torch.cat([before, objects[None], behind], dim=1))
        pruner = EntropyPrune(2, keep=int(objects.sum()), scorer=given)
        answer = model.generate(pixels(torch.from_numpy(scene.image[None])), [text], pruner=pruner, max_new_tokens=1)
        assert said[0, place] == answer.tokens[0, 0]


def test_counted_draws_another_background_for_every_image() -> None:
    objects = np.zeros(144, dtype=bool)
    assert list(counting._slots(objects, Condition(1, 8), 3)) != list(counting._slots(objects, Condition(1, 8), 4))


def test_counts_that_are_no_number_are_wrong_and_neither_too_many_nor_too_few() -> None:
    three, red = WORDS.index("three"), WORDS.index("red")
    (found,) = counting.summarise(np.array([[three, red, three]]), np.array([2, 2, 3]), [Condition(1, 0)])
    assert found["right"][0] == pytest.approx(1 / 3) and found["too many"][0] == 0.5
    assert found["said"] == {"2": {"0": 1, "3": 1}, "3": {"3": 1}}


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

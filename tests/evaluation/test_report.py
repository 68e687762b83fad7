"""From outcomes to numbers: accuracy, paired differences, recall, tables, the card; on outcomes made by hand."""

import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from entropyprune_ref.evaluation.card import margin, model_card, shipped
from entropyprune_ref.evaluation.plan import GROUND_TRUTH, Cell, Plan
from entropyprune_ref.evaluation.run import Outcome
from entropyprune_ref.evaluation.summary import cell_rows, chance, summarise
from entropyprune_ref.evaluation.tables import (
    accuracy_by_kind,
    accuracy_by_scorer,
    collapse_table,
    drop_everything,
    percent,
)
from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig
from entropyprune_ref.world.questions import ask
from entropyprune_ref.world.scenes import draw_scene

KINDS = ("color", "count")
IMAGES = 50


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """Ground truth right on 40 images of 50, random on 10 of these; recall 1 and 1/4, unknown on the first image."""
    cells = [Cell("unpruned", 3, 144), Cell(GROUND_TRUTH, 1, 16), Cell("random", 1, 16), Cell("none kept", 1, 0)]
    right = np.zeros((4, IMAGES, 2), dtype=bool)
    right[0], right[1, :40], right[2, :10] = True, True, True
    right[0, :5, 1] = False
    recall = np.broadcast_to(np.array([1.0, 1.0, 0.25, 0.0])[:, None, None], right.shape).astype(np.float32).copy()
    recall[:, 0] = np.nan
    noise = 0.01 * np.random.default_rng(0).standard_normal((IMAGES, 4))
    return Outcome(cells, KINDS, right, recall, np.array([2.0, 1.0, 1.1, 1.2]) + noise)


@pytest.fixture(scope="module")
def summary(outcome: Outcome) -> dict:
    decoder = DecoderConfig(hidden=8, layers=3, heads=2, kv_heads=2, head_dim=4, mlp=8, vocabulary=8)
    model = Llava(LlavaConfig(vision=VisionConfig(hidden=8, layers=2, heads=2, mlp=8), decoder=decoder))
    plan = Plan(images=IMAGES, kinds=KINDS, layers=(1,), averages=(72, 48, 32), keeps=(16,))
    untrained = np.tile([1.0, 1.5, 2.0, 2.5], (IMAGES, 1))
    return {"seed": 0, **summarise(model, plan, outcome, untrained)}


def cell(summary: dict, scorer: str) -> dict:
    (found,) = [row for row in summary["cells"] if row["scorer"] == scorer]
    return found


def test_summarise_gives_accuracy_by_type_and_over_all(summary: dict) -> None:
    unpruned = cell(summary, "unpruned")
    assert unpruned["accuracy"][0] == pytest.approx(0.95)
    assert (unpruned["kinds"]["color"][0], unpruned["kinds"]["count"][0]) == (1.0, 0.9)
    images = np.array([0.5] * 5 + [1.0] * 45)  # an image is the unit, not a kind of question
    assert unpruned["accuracy"][1:] == pytest.approx(scipy.stats.norm.interval(0.95, 0.95, scipy.stats.sem(images)))
    low, high = scipy.stats.binomtest(45, 50).proportion_ci(method="wilson")
    assert unpruned["kinds"]["count"][1:] == pytest.approx((low, high))
    assert summary["questions"] == 100


def test_summarise_pairs_scorers_by_image(summary: dict) -> None:
    """Right on 30 images of 50 where random is wrong, never the other way: by scipy, the interval of that mean."""
    gain = np.array([0.0] * 10 + [1.0] * 30 + [0.0] * 10)
    interval = scipy.stats.norm.interval(0.95, gain.mean(), scipy.stats.sem(gain))
    assert cell(summary, GROUND_TRUTH)["minus random"] == pytest.approx((0.6, *interval))
    assert "minus random" not in cell(summary, "random")
    assert margin(summary) == (1, pytest.approx(0.6))


def test_summarise_leaves_questions_without_relevant_patches_out_of_recall(summary: dict) -> None:
    assert cell(summary, GROUND_TRUTH)["recall"] == 1.0
    assert cell(summary, "random")["recall"] == 0.25


def test_summarise_marks_infeasible_averages_and_gives_the_others(summary: dict) -> None:
    """Three layers, K = 1: an average of 72 leaves (216 - 144) / 2 = 36, of 48 none, of 32 cannot be."""
    assert [summary["feasible"][f"average {a}"]["K=1"] for a in (72, 48, 32)] == [36, 0, None]
    assert cell(summary, "random")["average"] == pytest.approx((144 + 2 * 16) / 3)


def test_summarise_finds_the_collapse_of_the_curves(summary: dict) -> None:
    assert summary["collapse"]["trained"]["layer"] == 1
    assert summary["collapse"]["untrained"]["layer"] is None


def test_tables_show_the_numbers(summary: dict) -> None:
    assert "| count | 90.0 (78.6–95.7) |" in accuracy_by_kind(summary)
    assert "| ground-truth | 80.0 |" in accuracy_by_scorer([summary], 1)
    assert "| random | 20.0 [20.0–20.0] |" in accuracy_by_scorer([summary, summary], 1)
    assert "| 1 | 0.0 | 0.0 |" in drop_everything([summary])
    assert "| 0 | untrained | none found |" in collapse_table([summary])


def test_model_card_states_accuracy_and_margin(summary: dict) -> None:
    recipe = {"seed": 0, "vision_steps": 1, "vision_batch": 2, "decoder_steps": 3, "batch": 4, "asked": list(KINDS)}
    trained = {**summary["collapse"]["trained"], "consistency": 0.875}
    summary = {**summary, "collapse": {"trained": trained}}
    text = " ".join(model_card({"recipe": recipe, "hours": 0.5, "device": "abacus"}, summary).split())
    assert "| mean | 95.0 (" in text and "beats random selection by 60.0 points" in text
    assert "3 steps of 4 images with 2 questions each (8 questions a step)" in text
    assert "abacus, 30.0 minutes" in text and "layer 1, sharpness" in text and "87.5 % of the images agree" in text


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_seed_that_the_rule_names_is_bundled(
    summary: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two seeds that answer well, the sharper one's weights, their hash and its card, whatever stood there."""
    recipe = {"vision_steps": 1, "vision_batch": 2, "decoder_steps": 3, "batch": 4, "asked": list(KINDS)}
    good = {kind: (1.0, 1.0, 1.0) for kind in KINDS}
    cells = [{**row, "kinds": good} if row["scorer"] == "unpruned" else row for row in summary["cells"]]
    for seed, sharpness in ((0, 2.0), (1, 3.0)):
        collapse = {**summary["collapse"], "trained": {**summary["collapse"]["trained"], "sharpness": sharpness}}
        for folder in ("runs", "results"):
            (tmp_path / folder / f"seed-{seed}").mkdir(parents=True)
        run = tmp_path / "runs" / f"seed-{seed}"
        (run / "model.safetensors").write_bytes(b"weights of seed %d" % seed)
        (run / "training.json").write_text(
            json.dumps({"recipe": {**recipe, "seed": seed}, "hours": 0.5, "device": "abacus"})
        )
        results = {**summary, "seed": seed, "cells": cells, "collapse": collapse}
        (tmp_path / "results" / f"seed-{seed}.json").write_text(json.dumps(results))
    bundled = tmp_path / "bundled"
    monkeypatch.setattr("entropyprune_ref.llava.weights.BUNDLED", bundled)
    monkeypatch.setattr("sys.argv", ["card", str(tmp_path / "runs"), str(tmp_path / "results")])
    for _ in range(2):
        runpy.run_module("entropyprune_ref.evaluation.card", run_name="__main__")
    assert (bundled / "model.safetensors").read_bytes() == b"weights of seed 1"
    record = json.loads((bundled / "model.json").read_text())
    assert record["sha256"] == hashlib.sha256(b"weights of seed 1").hexdigest()
    assert record["training"]["recipe"]["seed"] == 1
    assert (bundled / "model.json").read_text().startswith('{\n  "sha256": "')
    assert "`entropyprune-ref train --seed 1`" in (bundled / "MODEL_CARD.md").read_text()


def test_tables_show_the_floors(summary: dict) -> None:
    """With nothing kept all is wrong here; the best blind answer is right as often as its answer is frequent."""
    shown = accuracy_by_scorer([summary], 1)
    assert "| *none kept* | 0.0 |" in shown
    answers = [ask(draw_scene(42, index), 42, index, KINDS) for index in range(IMAGES)]
    most = [
        max(row.count(value) for value in row) for row in zip(*[[q.answer for q in a] for a in answers], strict=True)
    ]
    assert summary["chance"] == {kind: count / IMAGES for kind, count in zip(KINDS, most, strict=True)}
    assert f"| *chance* | {100 * sum(most) / IMAGES / 2:.1f} |" in shown


def test_summarise_keeps_single_verdicts(summary: dict, outcome: Outcome) -> None:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(summary["verdicts"]["random 1 16"]), dtype=np.uint8))
    assert (bits[: 2 * IMAGES].reshape(IMAGES, 2) == outcome.correct[2]).all()


def test_summarise_gives_mean_and_deviation_of_the_curves(summary: dict, outcome: Outcome) -> None:
    shown = summary["curves"]["trained"]
    assert shown["mean"] == pytest.approx(outcome.curves.mean(0)) and shown["sd"] == pytest.approx(
        scipy.stats.tstd(outcome.curves, axis=0)
    )


def test_cells_are_paired_with_cells_of_their_own_layer(summary: dict) -> None:
    """Of 4 images, at layers 1 and 2: the ground truth is right on 3 and 2, random on 1 and 0, nothing on 0 and 1."""
    cells = [Cell(scorer, layer, 16) for scorer in (GROUND_TRUTH, "random") for layer in (1, 2)]
    cells += [Cell("none kept", layer, 0) for layer in (1, 2)]
    right = np.zeros((6, 4, 2), dtype=bool)
    for row, count in enumerate((3, 2, 1, 0, 0, 1)):
        right[row, :count] = True
    rows = cell_rows(Outcome(cells, KINDS, right, np.ones(right.shape), np.ones((4, 4))), 144, 3, ("random",))
    assert [row["minus random"][0] for row in rows[:2]] == [0.5, 0.5]
    assert rows[1]["average"] == pytest.approx((2 * 144 + 16) / 3)
    seed = {**summary, "cells": [summary["cells"][0], *rows]}
    assert "| *none kept* | 25.0 |" in accuracy_by_scorer([seed], 2)
    rows[1]["minus random"] = (0.75, 0.7, 0.8)
    assert margin({**summary, "cells": rows}) == (2, 0.75)
    rows[0]["minus random"] = (0.74, 0.73, 0.75)  # surer, and less
    assert margin({**summary, "cells": rows}) == (2, 0.75)


def test_percent_stays_between_none_and_all() -> None:
    assert percent((1.0, 0.9, 1.1)) == "100.0 (90.0–100.0)" and percent((0.0, -0.1, 0.1)) == "0.0 (0.0–10.0)"


def test_shipped_is_the_sharpest_of_the_good_ones(summary: dict) -> None:
    """The rule reads types of question and sharpness; a better scorer changes nothing."""

    def seed(number: int, sharpness: float | None, count: float) -> dict:
        kinds = {"color": [1.0, 1.0, 1.0], "count": [count, count, count]}
        cells = [{**cell(summary, "unpruned"), "layer": 3, "keep": 144, "kinds": kinds}]
        return {**summary, "seed": number, "cells": cells, "collapse": {"trained": {"sharpness": sharpness}}}

    assert shipped([seed(0, 2.0, 0.98), seed(1, 3.0, 0.99), seed(2, 9.0, 0.979)])["seed"] == 1
    assert shipped([seed(0, 4.0, 0.98), seed(1, 3.0, 0.99)])["seed"] == 0
    assert shipped([seed(0, None, 0.98), seed(1, 0.5, 0.99)])["seed"] == 1  # one without a collapse at all
    with pytest.raises(ValueError, match="at least 98% on every question type"):
        shipped([seed(2, 9.0, 0.97)])


def test_chance_is_the_share_of_the_most_frequent_answer() -> None:
    """Yes and no are balanced, so that blind guessing is right about half the time: four deviations are 0.14."""
    assert abs(chance(Plan(images=200, kinds=("exist",)))["exist"] - 0.5) < 0.14

"""What README and model card publish is what the committed results say, and the results are what the model does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from entropyprune_ref.evaluation.card import accuracy_by_scorer, collapse_table, drop_everything, model_card
from entropyprune_ref.evaluation.cells import HELD_OUT, Batch, Cell, Plan
from entropyprune_ref.llava import Llava, weights

ROOT = Path(__file__).parents[1]
SEEDS = [json.loads((ROOT / "results" / f"seed-{seed}.json").read_text()) for seed in range(3)]
RESULTS = SEEDS[0]
"""Of the bundled model."""


def test_model_card_is_written_from_the_results() -> None:
    training = json.loads((weights.BUNDLED / "model.json").read_text())["training"]
    assert (weights.BUNDLED / "MODEL_CARD.md").read_text() == model_card(training, RESULTS)


@pytest.mark.parametrize(
    "table",
    [accuracy_by_scorer(SEEDS, 1), accuracy_by_scorer(SEEDS, 2), drop_everything(SEEDS), collapse_table(SEEDS)],
    ids=["layer 1", "layer 2", "none kept", "collapse"],
)  # fmt: skip
def test_readme_shows_the_results(table: str) -> None:
    assert table in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("scorer", "layer", "keep"), [("unpruned", 6, 144), ("none kept", 1, 0), ("none kept", 2, 0)])
def test_results_are_what_the_bundled_model_does(scorer: str, layer: int, keep: int) -> None:
    """All 500 images again, for cells that cost little; a rare near-tie may fall otherwise on another machine."""
    (published,) = [c for c in RESULTS["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    plan, model = Plan(), Llava.from_pretrained()
    assert RESULTS["plan"]["images"] == plan.images and HELD_OUT == 42
    right = []
    for first in range(0, plan.images, 100):
        batch = Batch(model, plan, range(first, first + 100))
        right.append(torch.from_numpy(batch._cell(Cell(scorer, layer, keep), torch.zeros(100, 144))[0]))
    share = float(torch.cat(right).double().mean())
    assert abs(share - published["accuracy"][0]) <= 2 / 2000


def mean_share(results: list[dict[str, Any]], scorer: str, layer: int, keep: int, kind: str | None = None) -> float:
    cells = [c for r in results for c in r["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    assert len(cells) == len(results)
    return sum((cell["kinds"][kind] if kind else cell["accuracy"])[0] for cell in cells) / len(cells)


@pytest.mark.parametrize("seed", range(3))
def test_results_are_of_one_plan_and_named_by_their_seed(seed: int) -> None:
    assert SEEDS[seed]["seed"] == seed
    assert SEEDS[seed]["plan"] == RESULTS["plan"] and SEEDS[seed]["questions"] == 2000


@pytest.mark.parametrize("results", SEEDS, ids=lambda results: f"seed {results['seed']}")
def test_results_show_that_the_world_discriminates(results: dict[str, Any]) -> None:
    (truth,) = [c for c in results["cells"] if (c["scorer"], c["layer"], c["keep"]) == ("ground-truth", 1, 16)]
    _, low, _ = truth["minus random"]
    assert low >= 0.20


@pytest.mark.parametrize("results", SEEDS, ids=lambda results: f"seed {results['seed']}")
def test_results_reach_95_percent_on_every_type_that_ships(results: dict[str, Any]) -> None:
    unpruned = results["cells"][0]
    assert unpruned["scorer"] == "unpruned"
    assert all(share >= 0.95 for share, _, _ in unpruned["kinds"].values())


KEEPS = (72, 48, 32, 16, 8)


@pytest.mark.parametrize("results", SEEDS, ids=lambda results: f"seed {results['seed']}")
@pytest.mark.parametrize("convention", ["paper", "row_normalized", "released"])
def test_readme_is_right_that_every_convention_beats_random_at_layer_1(
    convention: str, results: dict[str, Any]
) -> None:
    for keep in KEEPS:
        entropy = mean_share([results], f"token-entropy-{convention}", 1, keep)
        assert entropy > mean_share([results], "random", 1, keep)


def test_readme_is_right_about_the_order_of_scorers_at_layer_1() -> None:
    for keep in KEEPS:
        names = {cell["scorer"] for cell in RESULTS["cells"]} - {"unpruned", "none kept"}
        at = {name: mean_share(SEEDS, name, 1, keep) for name in names}
        assert at["lowest-entropy"] < at["random"]
        assert at["token-entropy-row_normalized"] < at["token-entropy-paper"] < at["token-entropy-released"]
        assert abs(at["token-entropy-released"] - at["query-norm-low"]) < 0.01
        if keep <= 32:
            assert at["token-entropy-paper"] < at["query-norm-low"]
            assert abs(at["last-token-attention"] - at["ground-truth"]) < 0.01
            assert abs(at["max-min-diversity"] - at["ground-truth"]) < 0.01
        if keep in (32, 16):
            assert abs(at["duplication"] - at["ground-truth"]) < 0.01


def test_readme_is_right_about_layer_2() -> None:
    names = ("token-entropy-paper", "ground-truth", "last-token-attention", "hidden-norm-low")
    shares = [mean_share(SEEDS, name, 2, 16) for name in names]
    assert max(shares) - min(shares) < 0.01 and min(shares) > mean_share(SEEDS, "random", 2, 16)
    for kind in ("color", "shape", "exist"):
        assert mean_share(SEEDS, "ground-truth", 2, 16, kind) > 0.985
    assert mean_share(SEEDS, "ground-truth", 2, 16, "count") < 0.65
    assert all(mean_share([r], "none kept", 4, 0) > mean_share([r], "unpruned", 6, 144) - 0.005 for r in SEEDS)


def test_readme_is_right_about_the_collapse() -> None:
    for results in SEEDS:
        trained, untrained = results["collapse"]["trained"], results["collapse"]["untrained"]
        assert trained["layer"] == 2 and trained["consistency"] > 0.5
        assert untrained["layer"] > 2 and untrained["consistency"] == 1
        assert untrained["sharpness"] < trained["sharpness"]


def test_readme_is_right_about_the_averages_that_are_feasible() -> None:
    feasible = {
        int(average.split()[1]): {int(layer[2:]) for layer, keep in layers.items() if keep}
        for average, layers in RESULTS["feasible"].items()
    }
    assert feasible == {72: {1, 2}, 48: {1}, 32: {1}, 16: set(), 8: set()}
    assert RESULTS["feasible"]["average 48"]["K=2"] == 0  # feasible, with nothing left

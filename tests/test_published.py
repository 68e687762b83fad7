"""What README and model card publish is what the committed results say, and the results are what the model does."""

import json
from pathlib import Path

import pytest
import torch

from entropyprune_ref.llava import Llava, weights
from entropyprune_ref.shapes.card import accuracy_by_scorer, collapse_table, drop_everything, model_card
from entropyprune_ref.shapes.evaluation import HELD_OUT, Batch, Cell, Plan

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "results" / "seed-0.json").read_text())


def test_model_card_is_written_from_the_results() -> None:
    training = json.loads((weights.BUNDLED / "model.json").read_text())["training"]
    assert (weights.BUNDLED / "MODEL_CARD.md").read_text() == model_card(training, RESULTS)


@pytest.mark.parametrize(
    "table",
    [accuracy_by_scorer([RESULTS], 1), accuracy_by_scorer([RESULTS], 2), drop_everything([RESULTS]),
     collapse_table([RESULTS])],
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


def test_results_show_that_the_world_discriminates() -> None:
    (truth,) = [c for c in RESULTS["cells"] if (c["scorer"], c["layer"], c["keep"]) == ("ground-truth", 1, 16)]
    _, low, _ = truth["minus random"]
    assert low >= 0.20


def test_results_reach_95_percent_on_every_type_that_ships() -> None:
    unpruned = RESULTS["cells"][0]
    assert unpruned["scorer"] == "unpruned"
    assert all(share >= 0.95 for share, _, _ in unpruned["kinds"].values())

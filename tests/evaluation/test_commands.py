"""`train` and `evaluate` from the command line, on a model of two layers that nobody trained."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from entropyprune_ref.cli.commands import commands
from entropyprune_ref.llava import Llava


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    made = run("train", "--out", folder, "--vision-steps", 0, "--decoder-steps", 0, "--layers", 3, "--seed", 4)
    assert made.exit_code == 0
    return folder / "model.safetensors"


def test_train_takes_the_number_of_layers(weights: Path) -> None:
    assert Llava.from_pretrained(weights).config.decoder.layers == 3
    record = json.loads((weights.parent / "training.json").read_text())
    assert record["recipe"]["layers"] == 3 and record["device"] == "cpu"


@pytest.mark.parametrize(
    ("flag", "keys"),
    [
        ("--equal-cost", {"budgets", "cells", "collapse", "chance", "curve"}),
        ("--heads", {"layers", "images"}),
        ("--counting", {"layers", "images"}),
    ],
)
def test_evaluate_measures_what_it_is_asked(flag: str, keys: set[str], weights: Path, tmp_path: Path) -> None:
    done = run("evaluate", "--out", tmp_path, "--weights", weights, "--images", 2, "--seed", 4, flag, "--json")
    assert done.exit_code == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["seed"] == 4 and set(found) >= keys and found["images"] == 2
    assert json.loads(done.stdout) == found


def test_evaluate_measures_one_thing_at_a_time(tmp_path: Path) -> None:
    refused = run("evaluate", "--out", tmp_path, "--heads", "--counting")
    assert refused.exit_code == 2 and "only one of --equal-cost, --heads and --counting" in refused.stderr

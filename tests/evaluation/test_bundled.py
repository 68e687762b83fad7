"""The bundled model: whole, accurate on images it never saw, and a fair stage for comparing scorers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from entropyprune_ref.collapse import collapse_layer
from entropyprune_ref.demo.where import entropy_curves
from entropyprune_ref.evaluation.cells import Batch
from entropyprune_ref.evaluation.plan import GROUND_TRUTH, HELD_OUT, Cell, Plan
from entropyprune_ref.llava import Llava, weights
from entropyprune_ref.world.scenes import draw_scene

IMAGES = 40


@pytest.fixture(scope="module")
def model() -> Llava:
    return Llava.from_pretrained()


@pytest.fixture(scope="module")
def batch(model: Llava) -> Batch:
    return Batch(model, Plan(), range(100_000, 100_000 + IMAGES))


def share_right(batch: Batch, cell: Cell) -> np.ndarray:
    return batch.cell(cell, *batch.scores(cell.scorer, cell.layer))[0].mean(axis=0)


def test_bundled_has_the_architecture_of_llava(model: Llava) -> None:
    assert model.config.decoder.head_dim == 4 * model.config.decoder.heads
    assert model.config.vision.patches == 144
    assert not model.training


def test_bundled_weights_fit_in_eight_megabytes() -> None:
    assert (weights.BUNDLED / "model.safetensors").stat().st_size <= 8_000_000


def test_bundled_answers_held_out_questions(batch: Batch) -> None:
    """At the 95 % that every type must reach, fewer than 33 of 40 are right once in 300 times; the draw is fixed."""
    unpruned = Cell("unpruned", batch.depth, 144)
    assert (share_right(batch, unpruned) >= 33 / 40).all()


def test_bundled_world_discriminates(batch: Batch) -> None:
    """At 11.1 % of the tokens the patches that matter beat a random choice by at least 20 points."""
    truth, random = (share_right(batch, Cell(name, 1, 16)).mean() for name in (GROUND_TRUTH, "random"))
    assert truth - random >= 0.20


def test_bundled_entropy_falls_more_sharply_than_that_of_random_weights(model: Llava) -> None:
    """Random weights have a drop too, on which all images agree: only its sharpness tells it from the trained one."""
    images = np.stack([draw_scene(HELD_OUT, 200_000 + index).image for index in range(16)])
    torch.manual_seed(0)
    trained, untrained = (collapse_layer(entropy_curves(each, images)) for each in (model, Llava(model.config).eval()))
    assert trained.found and trained.prunable
    assert trained.sharpness > untrained.sharpness
    assert trained.consistency > 0.5


def bundled_copy(folder: Path) -> Path:
    for name in ("model.safetensors", "model.json"):
        shutil.copyfile(weights.BUNDLED / name, folder / name)
    return folder


def test_from_pretrained_refuses_altered_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bundled_copy(tmp_path) / "model.safetensors"
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(bytes(changed))
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    with pytest.raises(ValueError, match=r"must have SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}: the file is damaged"):
        Llava.from_pretrained()


def test_from_pretrained_says_which_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors, which does not exist"):
        Llava.from_pretrained()


def test_bundled_record_names_its_recipe_and_its_device() -> None:
    training = json.loads((weights.BUNDLED / "model.json").read_text())["training"]
    assert training["recipe"]["seed"] in range(5) and training["recipe"]["layers"] == 6
    assert training["hours"] > 0 and training["device"]

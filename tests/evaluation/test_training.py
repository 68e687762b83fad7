"""Training: the same weights however it is interrupted and whoever draws; the tower first, then frozen; Muon."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropyprune_ref.llava.model import Llava
from entropyprune_ref.training import run as training
from entropyprune_ref.training.batches import DECODER_IMAGES, DecoderBatch, DecoderDraw, VisionDraw, drawn
from entropyprune_ref.training.muon import orthogonalised
from entropyprune_ref.training.recipe import DEEPER, TRAIN_STREAM, Recipe
from entropyprune_ref.world.questions import DEEPER_WORDS, SHIPPED
from entropyprune_ref.world.scenes import draw_scene


def tiny_recipe() -> Recipe:
    return Recipe(vision_steps=2, decoder_steps=3, vision_batch=2, batch=2, asked=SHIPPED, warmup=2)


def test_train_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    whole = training.train(recipe, tmp_path / "whole")

    def stop(stage: str, done: int, *_: object) -> None:
        if (stage, done) == ("decoder", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, tmp_path / "parts", stop, save_every=1)
    with pytest.raises(ValueError, match="same recipe"):
        training.train(Recipe(seed=1, vision_steps=2, decoder_steps=3), tmp_path / "parts")
    resumed = training.train(recipe, tmp_path / "parts", save_every=1)
    for (name, left), right in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0, msg=name)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["model.safetensors", "training.json"]


def test_train_changes_tower_then_freezes_it(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    towers = []

    def watch(stage: str, done: int, *_: object) -> None:
        towers.append((stage, done))

    model = training.train(recipe, tmp_path, watch)
    assert towers == [("vision", 1), ("vision", 2), ("decoder", 1), ("decoder", 2), ("decoder", 3)]
    torch.manual_seed(recipe.seed)
    fresh = Llava(recipe.config())
    tower = training.train(replace(recipe, decoder_steps=0), tmp_path / "tower").vision_tower
    assert not torch.equal(model.vision_tower.patch_embedding.weight, fresh.vision_tower.patch_embedding.weight)
    assert torch.equal(model.vision_tower.patch_embedding.weight, tower.patch_embedding.weight)
    assert not torch.equal(model.lm_head.weight, fresh.lm_head.weight)


@given(st.integers(0, 1000), st.sampled_from([(4, 4), (3, 8), (8, 3)]))
def test_orthogonalised_keeps_singular_vectors_and_levels_their_values(seed: int, shape: tuple[int, int]) -> None:
    """Five steps of Jordan's quintic bring singular values in [0.01, 1] of the norm to [0.6, 1.3]."""
    matrix = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix[0], full_matrices=False)
    result = left.T @ orthogonalised(matrix)[0] @ right.T
    torch.testing.assert_close(result, result.diag().diag(), rtol=0, atol=1e-9)
    solid = values / values.norm() > 0.01
    assert ((result.diag()[solid] > 0.6) & (result.diag()[solid] < 1.3)).all()


def test_drawn_ahead_is_what_is_drawn_here() -> None:
    draw = DecoderDraw(tiny_recipe())
    here, ahead = list(drawn(draw, range(1, 4))), list(drawn(draw, range(1, 4), workers=1))
    assert len(here) == len(ahead) == 3
    for one, other in zip(here, ahead, strict=True):
        assert isinstance(one, DecoderBatch) and isinstance(other, DecoderBatch)
        assert torch.equal(one.images, other.images) and torch.equal(one.packed.ids, other.packed.ids)
    assert not torch.equal(here[0].images, here[1].images)


def test_batches_hold_the_images_of_their_step_and_of_no_other() -> None:
    """Stage and step name the numbers of the images in the training stream, which no held-out image shares."""
    recipe = tiny_recipe()
    stream = TRAIN_STREAM + recipe.seed
    vision, decoder = VisionDraw(recipe)(1), DecoderDraw(recipe)(1)
    for place, index in enumerate((2, 3)):
        assert (vision.images[place].numpy() == draw_scene(stream, index, crowded=True).image).all()
        assert (decoder.images[place].numpy() == draw_scene(stream, DECODER_IMAGES + index).image).all()


def test_recipe_of_deeper_questions_has_their_words() -> None:
    config = DEEPER.config()
    assert config.vocabulary == DEEPER_WORDS and config.decoder.layers == 8
    assert Recipe().config().decoder.layers == 6


@pytest.mark.parametrize("damage", ["empty", "truncated", "a text", "another file"])
def test_train_says_which_checkpoint_is_damaged(damage: str, tmp_path: Path) -> None:
    recipe = replace(tiny_recipe(), vision_steps=1, decoder_steps=0)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "vision.checkpoint"
    if damage == "truncated":
        with pytest.raises(KeyboardInterrupt):
            training.train(
                replace(recipe, vision_steps=2), tmp_path, lambda _, done, *__: stop() if done == 2 else None, 1
            )
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "another file":
        torch.save({"weights": torch.zeros(2)}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"a text")
    with pytest.raises(ValueError, match=r"vision\.checkpoint must be a whole checkpoint.*delete it"):
        training.train(recipe, tmp_path)


def test_train_does_not_write_over_a_finished_run_of_another_recipe(tmp_path: Path) -> None:
    recipe = replace(tiny_recipe(), vision_steps=0, decoder_steps=0)
    training.train(recipe, tmp_path)
    training.train(recipe, tmp_path)  # the same one may run again
    with pytest.raises(ValueError, match="same recipe, got another recipe's"):
        training.train(replace(recipe, seed=9), tmp_path)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        training._write(tmp_path / "model", full)
    assert list(tmp_path.iterdir()) == []

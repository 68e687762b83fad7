"""Prompts of real models: placeholders and pixels as the library's processors make them, and tokens that lie right."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlavaNextProcessor, LlavaProcessor, Qwen2_5_VLProcessor

from entropyprune_ref.hf import FAMILIES, anatomy
from entropyprune_ref.hf.images import feature_lengths, with_features
from entropyprune_ref.hf.prompts import Reader
from entropyprune_ref.hf.sheets import cropped, tiled_sheets
from tests.real.conftest import scene
from tests.real.tiny import (
    CANVASES,
    LLAVA_TEMPLATE,
    LLAVA_WORDS,
    QWEN_WORDS,
    config_of,
    model_of,
    processor_of,
    tokenizer_of,
)

QUESTION = "what is this ?"
SIZES = [(60, 90), (28, 28), (200, 31), (45, 300)]


def reader_of(family: str, template: bool = True) -> Reader:
    qwen = family.startswith("qwen")
    words = QWEN_WORDS if qwen else LLAVA_WORDS
    return Reader(
        config_of(family), tokenizer_of(words, LLAVA_TEMPLATE if template and not qwen else None), processor_of(family)
    )


def library_processor(family: str, reader: Reader) -> Any:
    """Their processor with the same parts; that of Qwen without the part for videos, which needs another package."""
    if family == "qwen2_5_vl":
        theirs = object.__new__(Qwen2_5_VLProcessor)
        theirs.image_processor, theirs.tokenizer = reader.processor, reader.tokenizer
        theirs.image_token, theirs.video_token = "<|image_pad|>", "<|video_pad|>"
        theirs.image_token_id, theirs.video_token_id, theirs.video_processor, theirs.chat_template = 6, 7, None, None
        return theirs
    kind = LlavaProcessor if family == "llava" else LlavaNextProcessor
    options = {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return kind(image_processor=reader.processor, tokenizer=reader.tokenizer, **options)


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl"])
def test_prompt_is_that_of_the_librarys_own_processor(family: str) -> None:
    reader = reader_of(family)
    theirs = library_processor(family, reader)
    for count in (1, 2):
        images = [scene(*size) for size in SIZES[:count]] if count == 2 else [scene(*SIZES[2])]
        ours = reader.prompt(QUESTION, images=images)
        expected = theirs(images=images, text=[ours.text], return_tensors="pt")
        assert set(ours.inputs) >= set(expected) - {"mm_token_type_ids"}
        for name in expected:
            assert torch.equal(ours.inputs[name], torch.as_tensor(expected[name])), name


LOOKED_AT = [
    (family, kind)
    for family in ("llava", "llava_next", "llava_next_video", "qwen2_5_vl")
    for kind in ("images", "frames")
    if kind == "images" or "video" in FAMILIES[family].visual
]


@pytest.mark.parametrize(("family", "kind"), LOOKED_AT)
@torch.no_grad()
def test_sheets_hold_every_feature_that_the_model_makes(family: str, kind: str) -> None:
    reader, model = reader_of(family), model_of(family)
    parts = anatomy(model)
    for size in SIZES:
        prompt = reader.prompt(QUESTION, **{kind: [scene(*size, seed) for seed in range(3)]})
        made = with_features(parts, prompt.inputs_for(model))
        lengths = feature_lengths(parts, made["mm_encoder_outputs"])["video" if kind == "frames" else "image"]
        assert sum(lengths) == prompt.visual_tokens
        assert len(lengths) == (1 if kind == "frames" else 3)
        numbers = np.concatenate([np.concatenate([s.grid.ravel(), s.newlines]) for s in prompt.sheets])
        assert sorted(numbers.tolist()) == list(range(prompt.visual_tokens))


@torch.no_grad()
def test_sheets_of_tiles_lie_where_the_model_looks() -> None:
    """A white cell on black lights up the features of its own place: the tower sees each tile alone, patch by patch.

    Attention in the tower spreads a little of it, so the brightest cell is asked for, with one layer of patches only.
    """
    picture = np.zeros((112, 224, 3), dtype=np.uint8)  # two tiles of 28 beside each other, scaled by a quarter
    processor = processor_of("llava_next")
    for row, column in ((0, 0), (2, 5), (3, 7)):
        lit = picture.copy()
        lit[28 * row : 28 * row + 28, 28 * column : 28 * column + 28] = 255
        tiles = torch.as_tensor(np.asarray(processor(images=[lit])["pixel_values"])[0][1:3])  # behind the whole image
        means = tiles.mean(1).unflatten(1, (4, 7)).unflatten(3, (4, 7)).mean((2, 4))  # (tiles, 4, 4)
        canvas = torch.cat(list(means), dim=1)
        view, sheet = tiled_sheets(lit, "", 28, 7, CANVASES, 0)
        place = np.unravel_index(int(canvas.argmax()), canvas.shape)
        assert place == (row, column) and sheet.grid.shape == (4, 8) and sheet.area == (0, 0, 224, 112)
        assert sheet.grid[row, column] == view.grid.size + row * 9 + column and sheet.newlines[row] == 16 + row * 9 + 8


def test_cropped_is_the_part_that_the_processor_keeps() -> None:
    assert cropped(scene(60, 90), processor_of("llava")) == (15.0, 0.0, 75.0, 60.0)
    assert cropped(scene(90, 60), processor_of("llava")) == (0.0, 15.0, 60.0, 75.0)


def test_frames_of_qwen_span_two_in_time() -> None:
    """Equal frames are an image twice; of an odd number the last is repeated."""
    reader = reader_of("qwen2_5_vl")
    first, second = scene(60, 90), scene(60, 90, 3)
    image = reader.prompt(QUESTION, images=[first]).inputs["pixel_values"]
    assert torch.equal(reader.prompt(QUESTION, frames=[first, first]).inputs["pixel_values_videos"], image)
    odd = reader.prompt(QUESTION, frames=[first, first, second])
    again = reader.prompt(QUESTION, frames=[first, first, second, second])
    assert torch.equal(odd.inputs["pixel_values_videos"], again.inputs["pixel_values_videos"])
    mixed = reader.prompt(QUESTION, frames=[first, second]).inputs["pixel_values_videos"].unflatten(1, (3, 2, 196))
    other = reader.prompt(QUESTION, images=[second]).inputs["pixel_values"].unflatten(1, (3, 2, 196))
    assert torch.equal(mixed[:, :, 0], image.unflatten(1, (3, 2, 196))[:, :, 0])
    assert torch.equal(mixed[:, :, 1], other[:, :, 0])


@torch.no_grad()
def test_frames_a_second_are_the_steps_in_time_of_qwen() -> None:
    """A pair of frames stands at its second times the positions a second of the configuration."""
    reader, model = reader_of("qwen2_5_vl"), model_of("qwen2_5_vl")
    assert model.config.vision_config.tokens_per_second == 4
    for fps, steps in ((2.0, [0, 4, 8]), (4.0, [0, 2, 4]), (1.0, [0, 8, 16])):
        inputs = reader.prompt(QUESTION, frames=[scene(60, 90)] * 6, fps=fps).inputs
        names = ("mm_token_type_ids", "video_grid_thw", "second_per_grid_ts")
        positions, _ = model.model.get_rope_index(inputs["input_ids"], **{name: inputs[name] for name in names})
        times = positions[0, 0, inputs["mm_token_type_ids"][0] == 2]
        assert (times - times[0]).unique().tolist() == steps
    short = reader.prompt(QUESTION, frames=[scene(60, 90)] * 6, fps=30.0).inputs_for(model.to(torch.bfloat16))
    assert short["second_per_grid_ts"].item() == pytest.approx(1 / 15, rel=1e-7)  # seconds stay exact, pixels do not
    assert short["pixel_values_videos"].dtype == torch.bfloat16


def test_positions_that_the_page_draws_are_those_of_the_model() -> None:
    path = Path(__file__).parents[2] / "docs" / "figures" / "layouts.py"
    spec = importlib.util.spec_from_file_location("layouts", path)
    assert spec is not None and spec.loader is not None
    layouts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layouts)
    for before, rows, columns, after in ((3, 3, 4, 2), (1, 5, 2, 3)):
        image = rows * columns
        kinds = torch.tensor([[0] * before + [1] * image + [0] * after])
        ids = torch.where(kinds == 1, 6, 10)
        model, grid = model_of("qwen2_5_vl").model, torch.tensor([[1, 2 * rows, 2 * columns]])
        found, _ = model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)
        assert found[:, 0].tolist() == list(layouts.positions(before, rows, columns, after).values())


def test_prompt_without_a_chat_template_has_the_familys_own() -> None:
    assert reader_of("llava", template=False).prompt(QUESTION, images=[scene(30, 30)]).text == (
        "USER: <image>\nwhat is this ? ASSISTANT:"
    )


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ("llava", {}, "exactly one of images and frames must be given"),
        ("llava", {"frames": [scene(30, 30)]}, "frames must be given to one of llava_next_video, .*, got llava"),
        ("qwen2_5_vl", {"frames": [scene(30, 30), scene(30, 31)]}, "frames must have one size"),
        ("qwen2_5_vl", {"frames": [scene(30, 30)], "fps": 0.0}, "fps must be above 0 and finite, got 0"),
    ],
)
def test_prompt_rejects(family: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader_of(family).prompt(QUESTION, **arguments)


def test_prompt_rejects_a_question_with_a_placeholder() -> None:
    with pytest.raises(ValueError, match="one placeholder '<image>' for each image, 1, got 2"):
        reader_of("llava").prompt("what is <image> ?", images=[scene(30, 30)])

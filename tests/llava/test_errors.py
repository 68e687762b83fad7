"""Bad input for the model: every message names the argument, what was expected and what came."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from entropyprune_ref.llava import Llava, LlavaConfig, VisionConfig, Vocabulary, pixels
from entropyprune_ref.llava.weights import FORMAT
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import PrunePlan
from entropyprune_ref.scorers import UniformStride
from entropyprune_ref.scoring import PAPER
from tests.helpers import WORDS, make_batch, random_llava, tiny_config

CONFIG = tiny_config()  # 9 visual tokens an image of 6 x 6 pixels, 12 words, 3 layers
BATCH = make_batch([[2, -1, 1]], CONFIG, 0)
TEXT_ONLY = torch.tensor([[1, 4, 5]])


pytestmark = pytest.mark.usefixtures("own_checks")


@pytest.fixture(scope="module")
def model() -> Llava:
    return random_llava(CONFIG)


def refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def changed(index: tuple[int, ...], value: float) -> torch.Tensor:
    images = BATCH.images.clone()
    images[index] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 8, 8), "images must have shape (images, 3, 6, 6), got (1, 3, 8, 8)"),
        (torch.zeros(1, 3, 6, 8), "images must have shape (images, 3, 6, 6), got (1, 3, 6, 8)"),
        (torch.zeros(1, 1, 6, 6), "images must have shape (images, 3, 6, 6), got (1, 1, 6, 6)"),
        (torch.zeros(1, 4, 6, 6), "images must have shape (images, 3, 6, 6), got (1, 4, 6, 6)"),
        (torch.zeros(1, 6, 6, 3), "images must have shape (images, 3, 6, 6), got (1, 6, 6, 3)"),
        (
            torch.zeros(3, 6, 6),
            "images must have shape (images, 3, height, width), got 3 dimension(s): shape (3, 6, 6)",
        ),
        (torch.zeros(0, 3, 6, 6), "images must have at least one entry on its axis 'images'"),
        (
            torch.zeros(2, 3, 6, 6),
            "images must be as many as the prompts have placeholders for, 1 (9 visual tokens), got 2",
        ),
        (None, "images must hold the 1 image(s) that the prompts have placeholders for, got None"),
        (changed((0, 2, 1, 5), torch.nan), "images must be finite, got nan at index (0, 2, 1, 5)"),
        (changed((0, 0, 0, 0), -torch.inf), "images must be finite, got -inf at index (0, 0, 0, 0)"),
        (torch.zeros(1, 3, 6, 6, dtype=torch.uint8), "images must have a real floating dtype"),
        (torch.zeros(1, 3, 6, 6, dtype=torch.complex64), "images must have a real floating dtype"),
    ],
)
def test_llava_refuses_images(model: Llava, images: torch.Tensor | None, message: str) -> None:
    refused(lambda: model(images, BATCH.ids), ValueError, message)
    refused(lambda: model.generate(images, BATCH.ids), ValueError, message)


def test_llava_refuses_images_for_prompts_without_a_place_for_them(model: Llava) -> None:
    message = "images must be as many as the prompts have placeholders for, 0 (0 visual tokens), got 1"
    refused(lambda: model(BATCH.images, TEXT_ONLY), ValueError, message)


@pytest.mark.parametrize("count", [1, 8, 10, 17])
def test_llava_refuses_placeholders_that_are_no_number_of_images(model: Llava, count: int) -> None:
    ids = torch.tensor([[1] + [4] * 17, [1] * (18 - count) + [3] * count])
    message = f"questions must hold 9 placeholders (id 3) an image, got {count} in prompt 1"
    refused(lambda: model(BATCH.images, ids), ValueError, message)


def test_placeholders_in_padding_are_no_placeholders(model: Llava) -> None:
    """They are not counted, and what is attended must still be a whole image."""
    attended = torch.ones(1, 12, dtype=torch.bool)
    attended[0, 2] = False  # the first of the nine
    message = "questions must hold 9 placeholders (id 3) an image, got 8 in prompt 0"
    refused(lambda: model(BATCH.images, BATCH.ids, attended=attended), ValueError, message)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (torch.tensor([[1, 12]]), ValueError, "questions must hold ids in [0, 11], got 1 to 12"),
        (torch.tensor([[-1, 4]]), ValueError, "questions must hold ids in [0, 11], got -1 to 4"),
        (torch.tensor([[1.0, 4.0]]), TypeError, "questions must hold integer token ids, got torch.float32"),
        (torch.tensor([[True, False]]), TypeError, "questions must hold integer token ids, got torch.bool"),
        (torch.tensor([[1j]]), TypeError, "questions must hold integer token ids, got torch.complex64"),
        (torch.tensor([1, 4]), ValueError, "questions must have shape (batch, sequence), neither empty, got (2,)"),
        (torch.zeros(0, 3, dtype=torch.int64), ValueError, "neither empty, got (0, 3)"),
        (torch.zeros(2, 0, dtype=torch.int64), ValueError, "neither empty, got (2, 0)"),
        ("what color", TypeError, "questions must be a list of texts or a tensor of token ids"),
        ([["what", "color"]], TypeError, "questions must be a list of texts or a tensor of token ids"),
        ([], ValueError, "questions must have at least one entry, got none"),
        ([""], ValueError, "questions must have at least one word, got ''"),
        (["?!"], ValueError, "questions must have at least one word, got '?!'"),
    ],
)
def test_llava_refuses_questions(model: Llava, ids: Any, error: type[Exception], message: str) -> None:
    refused(lambda: model(None, ids), error, message)


def test_an_unknown_word_is_named_with_the_words_that_are_known(model: Llava) -> None:
    message = (
        "questions must use words that the model knows (assistant blue circle color is red user what), "
        "got 'size triangle'"
    )
    refused(lambda: model(BATCH.images, ["what size is triangle"]), ValueError, message)


def test_questions_as_text_need_a_vocabulary() -> None:
    silent = random_llava(LlavaConfig(CONFIG.vision, CONFIG.decoder))
    message = "questions must be token ids for a model without a vocabulary, got text"
    refused(lambda: silent(BATCH.images, ["what color"]), ValueError, message)


def test_masks_and_positions_must_fit_the_ids(model: Llava) -> None:
    wrong, right = torch.ones(1, 11, dtype=torch.bool), torch.ones(1, 12, dtype=torch.bool)
    message = "attended must have the shape of questions, (1, 12), got (1, 11)"
    refused(lambda: model(BATCH.images, BATCH.ids, attended=wrong), ValueError, message)
    refused(lambda: model(BATCH.images, BATCH.ids, attended=[1] * 12), TypeError, "attended must be a torch.Tensor")
    message = "positions must have the shape of questions, (1, 12), got (1, 11)"
    refused(lambda: model(BATCH.images, BATCH.ids, positions=wrong.long()), ValueError, message)
    message = "attended and positions must not be given for questions as text"
    refused(lambda: model(BATCH.images, ["what color"], attended=right), ValueError, message)
    message = "attended must be True for at least one token of every prompt, got none in prompt 1"
    ids, half = torch.tensor([[1, 4], [1, 4]]), torch.tensor([[True, True], [False, False]])
    refused(lambda: model(None, ids, attended=half), ValueError, message)


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        (EntropyPrune(1, 10), "keep must be between 0 and 9, got 10"),
        (EntropyPrune(1, -1), "keep must be between 0 and 9, got -1"),
        (EntropyPrune(3, 4), "prune_layer must be between 1 and 2, got 3"),
        (EntropyPrune(99, 4), "prune_layer must be between 1 and 2, got 99"),
        (EntropyPrune(1, average=2), "average must be at least 3, the smallest feasible average with 9 visual tokens"),
        (
            EntropyPrune(2, average=5.9),
            "average must be at least 6, the smallest feasible average with 9 visual tokens",
        ),
        (EntropyPrune(2, average=2, lower_prune_layer=True), "average must be at least 3, the smallest feasible"),
        (EntropyPrune(1, average=10), "average must be between 0 and 9, got 10"),
        (EntropyPrune(1, ratio=1.5), "ratio must be between 0 and 1, got 1.5"),
        (EntropyPrune(1, ratio=-0.1), "ratio must be between 0 and 1, got -0.1"),
        (EntropyPrune(1, average=float("nan")), "average must be finite, got nan"),
    ],
)
def test_llava_refuses_a_pruner_that_does_not_fit(model: Llava, pruner: EntropyPrune, message: str) -> None:
    refused(lambda: model(BATCH.images, BATCH.ids, pruner=pruner), ValueError, message)
    refused(lambda: model.generate(BATCH.images, BATCH.ids, pruner=pruner), ValueError, message)


def test_llava_refuses_a_pruner_that_leaves_nothing(model: Llava) -> None:
    """A prompt of one image and no word, all of it dropped: there would be nothing to answer from."""
    message = "keep must be at least 1 for a prompt without text, got 0 in prompt 0"
    refused(lambda: model(BATCH.images, torch.full((1, 9), 3), pruner=EntropyPrune(1, 0)), ValueError, message)
    padded = make_batch([[2, -1], [-1]], CONFIG, 0)  # padding is not dropped, but nor is it anything to answer from
    message = "keep must be at least 1 for a prompt without text, got 0 in prompt 1"
    refused(
        lambda: model(padded.images, padded.ids, attended=padded.attended, pruner=EntropyPrune(1, 0)),
        ValueError,
        message,
    )


def test_llava_names_the_first_prompt_of_which_nothing_is_left(model: Llava) -> None:
    batch = make_batch([[2, -1], [-1], [-1]], CONFIG, 0)
    refused(
        lambda: model(batch.images, batch.ids, attended=batch.attended, pruner=EntropyPrune(1, 0)),
        ValueError,
        "keep must be at least 1 for a prompt without text, got 0 in prompt 1",
    )


def test_plans_of_a_batch_without_an_image_need_a_layer_that_exists() -> None:
    text = torch.full((2, 3), -1)
    assert EntropyPrune(3, 5).plans(text, 4) == [PrunePlan(3, 0)] * 2
    assert EntropyPrune(1, 5).plans(text, 2) == [PrunePlan(1, 0)] * 2
    with pytest.raises(ValueError, match="layer must be between 1 and 3, got 4"):
        EntropyPrune(4, 5).plans(text, 4)


def test_only_keep_is_a_budget_by_position() -> None:
    pruner = EntropyPrune(2, 5, PAPER)
    assert (pruner.keep, pruner.convention, pruner.average, pruner.ratio) == (5, PAPER, None, None)


def test_llava_refuses_rows_that_would_be_pruned_at_different_layers(model: Llava) -> None:
    """An average of 6 is feasible at layer 2 for 9 visual tokens, and for 18 only at layer 1."""
    batch = make_batch([[1, -1, 2], [1, -1, -1]], CONFIG, 0)
    pruner = EntropyPrune(2, average=6, lower_prune_layer=True)
    message = "lower_prune_layer must lead to one prune layer for the whole batch, got [2, 1]"
    refused(lambda: model(batch.images, batch.ids, attended=batch.attended, pruner=pruner), ValueError, message)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"layer": 1.0, "keep": 1}, TypeError, "layer must be an int, got float 1.0"),
        ({"layer": True, "keep": 1}, TypeError, "layer must be an int, got bool True"),
        ({"layer": 0, "keep": 1}, ValueError, "layer must be at least 1, got 0"),
        ({"layer": -1, "keep": 1}, ValueError, "layer must be at least 1, got -1"),
        ({"layer": 1}, ValueError, "exactly one of keep, average, ratio must be given, got none"),
        ({"layer": 1, "keep": 1, "average": 2}, ValueError, "must be given, got keep and average"),
        ({"layer": 1, "average": 1, "ratio": 0.5}, ValueError, "must be given, got average and ratio"),
        (
            {"layer": 1, "keep": 1, "convention": PAPER, "scorer": UniformStride()},
            ValueError,
            "convention must not be given beside scorer, which replaces it",
        ),
        (
            {"layer": 1, "keep": 1, "over_images": "some"},
            ValueError,
            "over_images must be one of 'each', 'all', got 'some'",
        ),
    ],
)
def test_entropy_prune_refuses(given: dict[str, Any], error: type[Exception], message: str) -> None:
    refused(lambda: EntropyPrune(**given), error, message)


def test_a_scorer_must_return_a_score_for_every_position(model: Llava) -> None:
    pruner = EntropyPrune(1, 4, scorer=lambda view: torch.zeros(1, 9))
    message = "scorer must return one score a position, shape (1, 12), got shape (1, 9)"
    refused(lambda: model(BATCH.images, BATCH.ids, pruner=pruner), ValueError, message)
    pruner = EntropyPrune(1, 4, scorer=lambda view: torch.full((1, 12), torch.nan))
    refused(lambda: model(BATCH.images, BATCH.ids, pruner=pruner), ValueError, "scores must be finite, got nan")


def test_generate_needs_a_word_to_generate(model: Llava) -> None:
    message = "max_new_tokens must be at least 1, got 0"
    refused(lambda: model.generate(BATCH.images, BATCH.ids, max_new_tokens=0), ValueError, message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VisionConfig(layers=1), "vision.layers must be at least 2, got 1"),
        (lambda: VisionConfig(hidden=10, heads=3), "vision.hidden must be a multiple of vision.heads, got 10 and 3"),
        (
            lambda: VisionConfig(image_size=10, patch_size=4),
            "vision.image_size must be a multiple of vision.patch_size, got 10 and 4",
        ),
        (lambda: VisionConfig(mlp=0), "vision.mlp must be at least 1, got 0"),
        (lambda: replace(CONFIG.decoder, head_dim=5), "head_dim must be even for rotary embedding, got 5"),
        (
            lambda: replace(CONFIG.decoder, heads=8, kv_heads=3),
            "heads must be a multiple of kv_heads = 3, got heads = 8",
        ),
        (lambda: replace(CONFIG.decoder, layers=0), "layers must be at least 1, got 0"),
        (lambda: replace(CONFIG.decoder, mlp_matrices=2), "mlp_matrices must be 3, a gated MLP, got 2"),
        (lambda: replace(CONFIG, image_token=-1), "image_token must be at least 0, got -1"),
        (lambda: replace(CONFIG, image_token=12), "image_token must be between 0 and 11, got 12"),
        (
            lambda: replace(CONFIG, vocabulary=("word",) * 13),
            "vocabulary must have at most decoder.vocabulary = 12 words, got 13",
        ),
        (lambda: replace(CONFIG, attention="flash"), "attention must be one of 'explicit', 'fused', got 'flash'"),
        (lambda: Vocabulary(("<pad>", "what")), "words must begin with <pad> <bos> <eos> <image> user assistant"),
        (
            lambda: pixels(torch.zeros(1, 3, 6, 6, dtype=torch.uint8)),
            "images must be uint8 (images, height, width, 3), got torch.uint8 (1, 3, 6, 6)",
        ),
        (
            lambda: pixels(torch.zeros(1, 6, 6, 3)),
            "images must be uint8 (images, height, width, 3), got torch.float32 (1, 6, 6, 3)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make: Callable[[], object], message: str) -> None:
    refused(make, ValueError, message)


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    message = f"path must be a safetensors file with weights, got {path}, which does not exist"
    refused(lambda: Llava.from_pretrained(path), FileNotFoundError, message)
    refused(lambda: Llava.from_pretrained(tmp_path), FileNotFoundError, "path must be a safetensors file")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.999])
def test_a_half_written_weight_file_is_refused(model: Llava, tmp_path: Path, share: float) -> None:
    """Cut off at any place: nothing, inside the header, inside the tensors, the last bytes."""
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    model.save(whole)
    part.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    refused(lambda: Llava.from_pretrained(part), ValueError, f"{part} must be a whole safetensors file")


def test_a_weight_file_of_another_kind_is_refused(model: Llava, tmp_path: Path) -> None:
    pickled, text = tmp_path / "model.pt", tmp_path / "model.txt"
    torch.save(model.state_dict(), pickled)
    text.write_text("these are no weights, however long the text may be")
    for path in (pickled, text):
        refused(lambda path=path: Llava.from_pretrained(path), ValueError, f"{path} must be a whole safetensors file")


def test_a_weight_file_of_another_format_is_refused(model: Llava, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    message = f"{path} must hold a model in format '{FORMAT}', got None"
    refused(lambda: Llava.from_pretrained(path), ValueError, message)
    save_file(model.state_dict(), path, {"format": "pt"})
    refused(lambda: Llava.from_pretrained(path), ValueError, f"must hold a model in format '{FORMAT}', got 'pt'")


GOOD = json.loads(CONFIG.to_json())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "KeyError: 'config'"),
        ("", "JSONDecodeError: "),
        ("[1]", "TypeError: "),
        ("[" * 100_000, "RecursionError: "),
        (json.dumps({"vision": 1, "decoder": 2, "vocabulary": 3}), "TypeError: "),
        (json.dumps(GOOD | {"vision": {"layers": 2, "colour": 3}}), "TypeError: "),
        (json.dumps({name: value for name, value in GOOD.items() if name != "decoder"}), "KeyError: 'decoder'"),
        (json.dumps(GOOD | {"image_token": 99}), "ValueError: image_token must be between 0 and 11, got 99"),
        (json.dumps(GOOD | {"vocabulary": [1, 2]}), "TypeError: vocabulary must be a str, got int 1"),
        (
            json.dumps(GOOD | {"decoder": GOOD["decoder"] | {"hidden": "12"}}),
            "TypeError: hidden must be an int, got str '12'",
        ),
        (
            json.dumps(GOOD | {"decoder": GOOD["decoder"] | {"layers": 10_000_000}}),
            "ValueError: 10000000 layers for",
        ),
        (
            json.dumps(GOOD | {"vision": GOOD["vision"] | {"layers": 10_000_000}}),
            "ValueError: ",
        ),
    ],
)
def test_a_weight_file_with_a_configuration_that_makes_no_model_is_refused(
    model: Llava, tmp_path: Path, text: str | None, reason: str
) -> None:
    """At once: ten million layers are not built first. The message names the file and what is wrong with it."""
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, {"format": FORMAT} | ({} if text is None else {"config": text}))
    refused(
        lambda: Llava.from_pretrained(path), ValueError, f"{path} must hold the configuration of a model, got {reason}"
    )


def test_a_weight_file_must_hold_the_tensors_of_its_configuration(model: Llava, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = {"format": FORMAT, "config": model.config.to_json()}
    tensors = model.state_dict()
    save_file({name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}, path, metadata)
    message = f"{path} must hold the {len(tensors)} tensors of its configuration, got a difference in lm_head.weight"
    refused(lambda: Llava.from_pretrained(path), ValueError, message)
    some = sorted(tensors)[:4]
    save_file({name: tensor for name, tensor in tensors.items() if name not in some}, path, metadata)
    with pytest.raises(ValueError, match=re.escape(f"a difference in {', '.join(some[:3])}") + "$"):
        Llava.from_pretrained(path)
    save_file(tensors | {"lm_head.weight": torch.zeros(12, 7)}, path, metadata)
    message = f"{path} must hold lm_head.weight in shape (12, 12), got shape (12, 7)"
    refused(lambda: Llava.from_pretrained(path), ValueError, message)


def test_a_weight_file_whose_bytes_were_altered_is_refused_if_it_is_the_bundled_one(
    model: Llava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash beside it is what tells; a file given by path has none."""
    path = tmp_path / "model.safetensors"
    model.save(path)
    (tmp_path / "model.json").write_text(json.dumps({"sha256": "0" * 64}))
    monkeypatch.setattr("entropyprune_ref.llava.weights.BUNDLED", tmp_path)
    refused(lambda: Llava.from_pretrained(), ValueError, f"{path} must have SHA-256 {'0' * 64}, got ")
    assert set(load_file(path)) == set(Llava.from_pretrained(path).state_dict())


def test_the_known_words_of_the_message_are_those_of_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="unknown") as raised:
        Vocabulary(WORDS).encode("unknown")
    for word in WORDS:
        assert word.startswith("<") or word in str(raised.value)


def test_the_first_word_may_be_the_placeholder() -> None:
    assert replace(CONFIG, image_token=0).image_token == 0


@pytest.mark.parametrize("layer", [0, 4])
def test_read_refuses_a_layer_that_does_not_exist(layer: int, model: Llava) -> None:
    refused(lambda: model.read(None, TEXT_ONLY, layer), ValueError, f"layer must be between 1 and 3, got {layer}")

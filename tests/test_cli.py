"""The command line and what is behind it: the demonstration, a user's own image, FLOPs, collapse, training."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from entropyprune_ref.cli import main
from entropyprune_ref.collapse import collapse_layer
from entropyprune_ref.demo.contenders import COMPARED, METHOD, AtLayer, Contender
from entropyprune_ref.demo.costs import prompt_cost
from entropyprune_ref.demo.images import read_image
from entropyprune_ref.demo.own_image import run_on
from entropyprune_ref.demo.run import draw
from entropyprune_ref.demo.run import run as run_demo
from entropyprune_ref.demo.where import entropy_curves, prune_layer
from entropyprune_ref.flops import LLAVA_1_5_7B, prefill_flops
from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig, pixels
from entropyprune_ref.pictures.panels import Panel, save_picture
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers import Random
from entropyprune_ref.world.questions import WORDS
from entropyprune_ref.world.scenes import IMAGE_SIZE, PATCH_SIZE, draw_scene

# end to end: shapes are checked where the functions themselves are tested
pytestmark = pytest.mark.usefixtures("own_checks")

TINY = LlavaConfig(
    vision=VisionConfig(hidden=8, layers=2, heads=1, mlp=8, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE),
    decoder=DecoderConfig(hidden=16, layers=3, heads=4, kv_heads=4, head_dim=8, mlp=8, vocabulary=len(WORDS)),
    vocabulary=WORDS,
)
QUESTION = "what color is the circle"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model() -> Llava:
    torch.manual_seed(3)
    return Llava(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(model: Llava, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def bundled() -> Llava:
    """A model that knows the answers; the tiny one is always wrong, and would be so with any fault."""
    return Llava.from_pretrained()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def saved(image: np.ndarray, path: Path) -> Path:
    Image.fromarray(image).save(path)
    return path


# the demonstration


def test_demo_says_in_fifteen_lines_what_it_found(run: Run, weights: Path, tmp_path: Path) -> None:
    code, out, _ = run("demo", "--weights", weights, "--images", 3, "--rounds", 1, "--out", tmp_path / "new")
    assert code == 0 and len(out.splitlines()) <= 15
    for name in ("Unpruned", "collapse", "PAPER", "random", "best rival", "ground truth", "FLOPs", "time", "--full"):
        assert name in out
    assert [line.split()[0] for line in out.splitlines() if line.lstrip()[:2] in ("48", "32", "16")][:3] == [
        "48",
        "32",
        "16",
    ]
    assert (tmp_path / "new" / "demo.png").is_file() and str(tmp_path / "new" / "demo.png") in out


def test_full_demo_prints_every_table_and_writes_a_picture(run: Run, weights: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "demo", "--full", "--weights", weights, "--images", 3, "--layer", 2, "--rounds", 1, "--out", tmp_path / "new"
    )
    assert code == 0
    for name in (*METHOD, *COMPARED, "ground-truth", "Unpruned", "FLOPs", "prefill time", "as asked"):
        assert name in out
    assert out.count(" kept: best convention ") == 5
    picture = Path(out.strip().splitlines()[-1].removeprefix("Picture: "))
    with Image.open(picture) as file:
        assert file.format == "PNG"


def test_demo_json_is_one_object_on_stdout(run: Run, weights: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "demo", "--full", "--weights", weights, "--images", 3, "--seed", 5, "--rounds", 1, "--out", tmp_path, "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert found["questions"] == 3 * len(found["kinds"])
    assert len(found["curve"]["mean"]) == TINY.decoder.layers + 1
    assert [budget["keep"] for budget in found["budgets"]] == [72, 48, 32, 16, 8]
    decoder = [budget["decoder"] for budget in found["budgets"]]
    assert decoder == sorted(decoder, reverse=True) and decoder[0] < found["unpruned"]["decoder"]
    assert found["layers"][0]["layer"] == found["layer"]
    for table in found["layers"]:
        assert all(len(entry["accuracy"]) == 5 for entry in table["contenders"].values())
    assert Path(found["picture"]).is_file()


def test_demo_repeats_itself(bundled: Llava) -> None:
    first, second = (run_demo(bundled, images=3, seed=1, keeps=(16,), rounds=1) for _ in range(2))
    assert first.unpruned.right.mean() > 0.9  # a model that knows the answers, and loses some
    assert any(0.2 < contender.right.mean() < 0.9 for contender in first.at.contenders)
    assert torch.equal(first.curves, second.curves)
    for one, other in zip(first.at.contenders, second.at.contenders, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.right, other.right)
    assert first.budgets == second.budgets


def test_demo_draws_other_images_for_another_seed(model: Llava) -> None:
    first, second = (np.stack([scene.image for scene in draw(2, seed, ())[0]]) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert not torch.equal(entropy_curves(model, first), entropy_curves(model, second))


def test_demo_that_keeps_every_token_changes_no_answer(bundled: Llava) -> None:
    """Nor does a model that knows the answers lose one; with a few tokens it would."""
    few = run_demo(bundled, images=3, layer=1, keeps=(4,), rounds=1)
    assert not all(np.array_equal(contender.right, few.unpruned.right) for contender in few.at.contenders)
    found = run_demo(bundled, images=3, layer=1, keeps=(bundled.config.vision.patches,), rounds=1)
    assert found.earlier is None and found.unpruned.right.mean() > 0.9
    for contender in found.at.contenders:
        assert np.array_equal(contender.right, found.unpruned.right)
    assert found.budgets[0].decoder == found.unpruned_cost.decoder


def test_full_demo_compares_with_layer_1_unless_a_layer_is_asked_for(
    model: Llava, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collapse that is found is given: at layer 2, where there is a layer before it, and at layer 1."""
    asked = run_demo(model, images=2, layer=2, keeps=(16,), rounds=1, full=True)
    assert (asked.at.layer, asked.earlier) == (2, None)
    for curve, layer, earlier in (([3.0, 3.0, 1.0, 1.0], 2, 1), ([3.0, 1.0, 1.0, 1.0], 1, None)):
        found = collapse_layer(torch.tensor(curve))
        monkeypatch.setattr("entropyprune_ref.demo.run.collapse_layer", lambda _, found=found: found)
        chosen = run_demo(model, images=2, keeps=(16,), rounds=1, full=True)
        assert run_demo(model, images=2, keeps=(16,), rounds=1).earlier is None
        assert chosen.at.layer == layer
        assert (None if chosen.earlier is None else chosen.earlier.layer) == earlier


def test_prune_layer_says_when_there_is_no_collapse() -> None:
    none = collapse_layer(torch.tensor([1.0, 2.0, 3.0]))
    layer, why = prune_layer(none, None, 2)
    assert (layer, "none was found" in why) == (1, True)
    at_the_end = collapse_layer(torch.tensor([3.0, 3.0, 1.0]))
    layer, why = prune_layer(at_the_end, None, 2)
    assert (layer, "no layer is left" in why) == (1, True)
    found = collapse_layer(torch.tensor([3.0, 3.0, 1.0, 1.0]))
    assert prune_layer(found, None, 3)[0] == 2
    assert prune_layer(found, 1, 3) == (1, "pruning at layer 1, as asked")
    with pytest.raises(ValueError, match="layer must be between 1 and 2, got 3"):
        prune_layer(found, 3, 3)


@pytest.mark.parametrize(
    ("own", "rival", "said"),
    [(1.0, 0.0, "the method wins"), (0.0, 1.0, "the rival wins"), (0.5, 0.5, "no clear difference")],
)
def test_verdict_names_the_winner_whoever_it_is(own: float, rival: float, said: str) -> None:
    def contender(name: str, share: float) -> Contender:
        return Contender(name, np.full((1, 4), share), None)

    lost = [contender(name, 0.0) for name in (*METHOD, *COMPARED) if name not in ("RELEASED", "random")]
    table = AtLayer(1, contender("none kept", 0.0), [*lost, contender("RELEASED", own), contender("random", rival)])
    assert said in table.verdict(0)


@pytest.mark.parametrize(("right", "little"), [(1.0, True), (0.96, True), (0.5, False)])
def test_loss_of_all_says_when_the_choice_can_hardly_matter(right: float, little: bool) -> None:
    table = AtLayer(3, Contender("none kept", np.full((1, 4), right), None), [])
    sentence = table.loss_of_all(Contender("unpruned", np.ones((1, 4)), None))
    assert f"{right:.1%} are right" in sentence
    assert ("can hardly matter" in sentence) == little


@pytest.mark.parametrize(("layer", "keep"), [(None, TINY.vision.patches), (1, 16), (2, 0)])
def test_prompt_cost_equals_the_torch_flop_counter(model: Llava, layer: int | None, keep: int) -> None:
    # the scorer draws numbers and multiplies none, so that the counter sees the model alone
    pruner = None if layer is None else EntropyPrune(layer, keep, scorer=Random())
    scene = draw_scene(0, 0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = model(pixels(torch.from_numpy(scene.image)[None]), [QUESTION], pruner=pruner)
    text = output.prompt.ids.shape[1] - TINY.vision.patches
    assert prompt_cost(model, Counter({text: 3}), layer, keep).prefill == 3 * counter.get_total_flops()


def test_save_picture_shows_one_image_or_many(tmp_path: Path) -> None:
    curves = torch.tensor([[3.0, 3.0, 1.0], [3.0, 2.9, 1.1]], dtype=torch.float64)
    image = draw_scene(0, 0).image
    for rows, values in ((1, curves[:1]), (2, curves)):
        panels = [Panel(image, "caption", {"PAPER": [0, 143], "none kept": []})] * rows
        path = save_picture(tmp_path / f"{rows}.png", values, collapse_layer(values), panels, layer=1, patch=PATCH_SIZE)
        with Image.open(path) as file:
            assert np.asarray(file.convert("RGB")).std() > 10  # not a blank sheet


# a user's own image


def test_demo_answers_about_an_own_image(run: Run, weights: Path, tmp_path: Path) -> None:
    path = saved(np.zeros((40, 60, 3), dtype=np.uint8), tmp_path / "own.png")
    arguments = ("demo", "--weights", weights, "--image", path, "--question", QUESTION, "--out", tmp_path)
    code, out, _ = run(*arguments)
    assert code == 0
    assert f"resized to {IMAGE_SIZE} × {IMAGE_SIZE}" in out
    assert (tmp_path / "own-image.png").is_file()
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found["answers"]) == {*METHOD, *COMPARED}
    assert [len(kept) for kept in found["kept"]["PAPER"]] == found["keeps"]


def test_run_on_answers_like_generate(model: Llava) -> None:
    image = draw_scene(0, 1).image
    found = run_on(model, image, QUESTION, layer=2, keeps=(16,))
    batch = pixels(torch.from_numpy(image)[None])
    assert found.unpruned == model.generate(batch, [QUESTION]).texts[0]
    pruned = model.generate(batch, [QUESTION], pruner=EntropyPrune(2, 16))
    assert found.answers["PAPER"] == pruned.texts
    assert found.kept["PAPER"] == [pruned.prefill.kept_visual()[0].tolist()]


def test_read_image_keeps_an_image_that_fits(tmp_path: Path) -> None:
    image = draw_scene(0, 2).image
    read, said = read_image(saved(image, tmp_path / "fits.png"))
    assert np.array_equal(read, image)
    assert "as the model reads it" in said


def test_read_image_pads_to_a_square(tmp_path: Path) -> None:
    image = np.full((20, 40, 3), 100, dtype=np.uint8)
    image[:, :20] = 200
    read, said = read_image(saved(image, tmp_path / "wide.png"), 8)
    assert read.shape == (8, 8, 3)
    # the mean of 100 and 200 above and below; the two halves in the middle rows, away from their border
    assert np.allclose(read[0], 150, atol=1) and np.allclose(read[-1], 150, atol=1)
    assert np.allclose(read[3:5, :2], 200, atol=8) and np.allclose(read[3:5, -2:], 100, atol=8)
    assert "40 × 20 pixels, was padded to 40 × 40" in said


def test_read_image_shows_grey_through_transparent_pixels(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(path)
    assert (read_image(path, 8)[0] == 128).all()


@pytest.mark.parametrize("level", [0, 257, 40_000, 65_535])
def test_read_image_reads_sixteen_bits(tmp_path: Path, level: int) -> None:
    """40,000 of 65,535 is 156 of 255, not 255."""
    grey = np.full((8, 8), level, dtype=np.uint16)
    for name in ("grey.png", "grey.tiff"):
        assert (read_image(saved(grey, tmp_path / name), 8)[0] == round(level / 257)).all()


def test_read_image_refuses_numbers_of_unknown_range(tmp_path: Path) -> None:
    for dtype, kind in ((np.float32, "floating-point numbers"), (np.int32, "32-bit integers")):
        path = saved(np.full((8, 8), 1, dtype=dtype), tmp_path / "numbers.tiff")
        with pytest.raises(ValueError, match=f"its pixels are {kind} of unknown range; save it with 8 or 16 bits"):
            read_image(path, 8)


def test_read_image_says_that_it_takes_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for size in (8, 4):
        read, said = read_image(path, size)
        assert (read == (250, 0, 0)).all() and said.startswith(f"the first of 3 frames of {path}")


def test_read_image_of_a_long_strip_takes_little_memory(tmp_path: Path) -> None:
    """60,000 pixels squared would be ten gigabytes; the mean colour and the middle row are what is left."""
    strip = np.full((60_000, 1, 3), 90, dtype=np.uint8)
    tracemalloc.start()
    read, said = read_image(saved(strip, tmp_path / "strip.png"), 96)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (read == 90).all() and "padded to 60000 × 60000" in said
    assert most < 1e8


def test_read_image_refuses_what_is_no_image(tmp_path: Path) -> None:
    text, whole = tmp_path / "text.png", tmp_path / "whole.png"
    text.write_text("not an image")
    Image.fromarray(draw_scene(0, 0).image).save(whole)
    half = tmp_path / "half.png"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for path in (text, half):
        with pytest.raises(ValueError, match="image must be an image file that can be read"):
            read_image(path)
    with pytest.raises(ValueError, match="which does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="which is a folder"):
        read_image(tmp_path)


# the other commands


def test_collapse_compares_trained_and_untrained(run: Run, weights: Path) -> None:
    code, out, _ = run("collapse", "--weights", weights, "--images", 3, "--json")
    found = json.loads(out)["models"]
    assert code == 0
    for record in found.values():
        assert len(record["mean"]) == len(record["sd"]) == TINY.decoder.layers + 1
        assert record["collapse"]["layers"] == TINY.decoder.layers
    assert found["trained"]["mean"] != found["untrained"]["mean"]
    code, out, _ = run("collapse", "--weights", weights, "--images", 3)
    assert code == 0
    assert "untrained, by other definitions" in out


def test_flops_reproduces_the_known_reading_of_the_headline(run: Run) -> None:
    budget = ("--layer", 2, "--average", 128, "--attention", "none")
    code, out, _ = run("flops", "--text", 81, *budget, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["keep"] == 98
    assert round(100 * found["reduction"], 2) == 68.21
    for column in ("unpruned", "pruned"):
        terms = {name: count for name, count in found[column].items() if name != "total"}
        assert sum(terms.values()) == found[column]["total"]
    assert (
        found["unpruned"]["total"]
        == prefill_flops(LLAVA_1_5_7B, text_tokens=81, visual_tokens=576, attention="none").total
    )
    code, out, _ = run("flops", "--text", 81, *budget)
    assert "68.21% fewer FLOPs" in out and "attention scores" not in out


def test_flops_counts_as_other_papers_do(run: Run) -> None:
    n, d, m = 657, 4096, 11008
    code, out, _ = run("flops", "--text", 81, "--formula", "fastv", "--json")
    assert code == 0
    assert json.loads(out)["unpruned"]["total"] == 32 * (4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m)
    code, out, _ = run("flops", "--text", 81, "--formula", "fastv", "--layer", 2, "--keep", 98)
    assert code == 0
    assert "multiply-adds" in out and "FastV" in out


def test_flops_with_a_tower_counts_tower_and_projector(run: Run) -> None:
    _, plain, _ = run("flops", "--text", 81, "--json")
    _, whole, _ = run("flops", "--text", 81, "--vision", "--json")
    before, after = json.loads(plain)["unpruned"], json.loads(whole)["unpruned"]
    assert after["total"] - before["total"] == after["vision_tower"] + after["projector"] > 0


def test_train_leaves_weights_that_load(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("train", "--out", tmp_path / "run", "--vision-steps", 1, "--decoder-steps", 1, "--seed", 4)
    assert code == 0
    path = Path(out.strip().removeprefix("Weights: "))
    assert Llava.from_pretrained(path).config.vocabulary == WORDS
    assert json.loads((path.parent / "training.json").read_text())["recipe"]["seed"] == 4


BAD = {
    "no such command": (("shorten",), "No such command 'shorten'"),
    "no such option": (("demo", "--color"), "No such option"),
    "not a number": (("flops", "--text", "x"), "'x' is not a valid integer"),
    "text missing": (("flops",), "Missing option '--text'"),
    "negative text": (("flops", "--text", -1), "text_tokens must be at least 0, got -1"),
    "infeasible": (("flops", "--text", 1, "--layer", 2, "--average", 20), "smallest feasible average"),
    "layer": (("flops", "--text", 1, "--layer", 32, "--keep", 1), "prune_layer must be between 1 and 31, got 32"),
    "two budgets": (("flops", "--text", 1, "--layer", 2, "--keep", 1, "--ratio", 0.5), "one of --average, --keep"),
    "layer alone": (("flops", "--text", 1, "--layer", 2), "must be given together"),
    "formula beside": (("flops", "--text", 1, "--formula", "fastv", "--scoring"), "--formula must not be given"),
    "no such tower": (("flops", "--text", 1, "--model", "qwen2.5-vl-7b", "--vision"), "--vision must be used with"),
    "question alone": (("demo", "--question", QUESTION), "must be given together"),
    "image alone": (("demo", "--image", "own.png"), "must be given together"),
    "no images": (("demo", "--images", 0, "--weights", "{weights}"), "images must be at least 2, got 0"),
    "demo layer": (
        ("demo", "--images", 2, "--layer", 9, "--weights", "{weights}"),
        "layer must be between 1 and 2, got 9",
    ),
    "no image file": (
        ("demo", "--image", "none.png", "--question", QUESTION, "--weights", "{weights}"),
        "image must be a file, got none.png",
    ),
    "unknown word": (
        ("demo", "--image", "{image}", "--question", "what color is the dog", "--weights", "{weights}"),
        "questions must use words that the model knows (a ",
    ),
    "no weights": (("demo", "--weights", "none.safetensors"), "which does not exist"),
    "half weights": (("collapse", "--weights", "{half}"), "must be a whole safetensors file"),
    "collapse images": (("collapse", "--images", 0), "--images must be at least 1"),
    "train seed": (("train", "--out", "run", "--seed", -1), "Invalid value for '--seed': -1 is not in the range"),
    "train steps": (("train", "--out", "run", "--vision-steps", -1), "steps must be at least 0, got -1 and"),
    "evaluate seed": (("evaluate", "--out", "run", "--seed", -1), "Invalid value for '--seed': -1 is not in the range"),
    "demo seed": (("demo", "--seed", 2**64), f"Invalid value for '--seed': {2**64} is not in the range"),
    "collapse seed": (("collapse", "--seed", 2**64), f"Invalid value for '--seed': {2**64} is not in the range"),
    "scoring alone": (("flops", "--text", 5, "--scoring"), "--scoring must be given with a budget"),
    "folder of weights": (("demo", "--weights", "."), "which is a folder"),
    "demo out": (("demo", "--out", "image.png"), "image.png must be a folder that can be made, got File exists"),
    "train out": (
        ("train", "--out", "image.png/new"),
        "image.png/new must be a folder that can be made",
    ),
    "evaluate out": (("evaluate", "--out", "image.png"), "image.png must be a folder that can be made"),
    "grey of floats": (
        ("demo", "--image", "floats.tiff", "--question", QUESTION, "--weights", "{weights}"),
        "its pixels are floating-point numbers of unknown range",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_on_stderr(
    case: str, run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    half = tmp_path / "half.safetensors"
    half.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    image = saved(draw_scene(0, 0).image, tmp_path / "image.png")
    saved(np.full((8, 8), 0.5, dtype=np.float32), tmp_path / "floats.tiff")
    arguments, message = BAD[case]
    named = {"{weights}": weights, "{half}": half, "{image}": image}
    code, out, err = run(*(named.get(argument, argument) for argument in arguments))
    # a progress bar may have been begun; the complaint is the last line
    complaint = err.strip().splitlines()[-1]
    assert code == 2
    assert out == ""
    assert message in complaint
    assert complaint.startswith("entropyprune-ref: ")
    assert "Traceback" not in err


def test_a_file_that_ends_too_early_is_not_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """click turns an end of file into an abort, with exit code 130 and not a word."""

    def ends(*_: object, **__: object) -> None:
        raise EOFError("no data left in file")

    monkeypatch.setattr(import_module("entropyprune_ref.cli.train"), "run", ends)
    code, _, err = run("train", "--out", tmp_path, "--vision-steps", 1)
    assert code == 2
    assert "a file ended too early: no data left in file" in err


def test_ctrl_c_ends_with_its_own_code(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("entropyprune_ref.cli.train"), "run", stops)
    assert run("train", "--out", tmp_path, "--vision-steps", 1)[0] == 130


def test_ctrl_c_during_the_imports_leaves_no_traceback(tmp_path: Path) -> None:
    """Importing torch takes seconds; here a torch of its own is interrupted in the middle of it."""
    interrupted = "signal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)"
    (tmp_path / "torch.py").write_text(f"import signal  # which is ignored in the background\n{interrupted}")
    run = [sys.executable, "-c", "import sys; from entropyprune_ref.cli import main; main(sys.argv[1:])", "flops"]
    done = subprocess.run(
        run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "entropyprune_ref", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("entropyprune-ref, version ")

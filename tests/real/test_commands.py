"""The commands on real models, as a user runs them: a folder with a checkpoint in shards, pictures of one's own."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from entropyprune_ref import EntropyPrune, matrix_entropy
from entropyprune_ref.cli import _real_collapse
from entropyprune_ref.hf import anatomy, pruned
from entropyprune_ref.hf.checkpoints import load_model, load_reader, untrained_like
from entropyprune_ref.hf.curves import entropy_curve
from entropyprune_ref.hf.sheets import plain_sheet
from entropyprune_ref.pictures.sheets import save_sheets
from tests.real.conftest import Run, scene
from tests.real.tiny import LLAVA_TEMPLATE, model_of

Checkpoint = Callable[[str], Path]
QUESTION = "what is this ?"
PROMPT = ("--question", QUESTION, "--keep", 12, "--new-tokens", 4)


def test_load_model_reads_the_shards_bit_for_bit(checkpoint: Checkpoint) -> None:
    ours, expected = load_model(str(checkpoint("llava"))), model_of("llava")
    theirs = expected.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.state_dict().items())
    assert load_model(str(checkpoint("llava")), dtype="bfloat16", attention="eager").dtype == torch.bfloat16


def test_untrained_like_draws_other_weights_of_the_same_shapes(checkpoint: Checkpoint) -> None:
    trained = load_model(str(checkpoint("llava")))
    first, again, other = (untrained_like(trained, seed).state_dict() for seed in (0, 0, 1))
    shapes = {name: weight.shape for name, weight in trained.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in first.items()}
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
    assert not torch.equal(first[name], trained.state_dict()[name])


# collapse


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl"])
@torch.no_grad()
def test_entropy_curve_is_the_entropy_of_the_hidden_states_that_the_library_shows(
    family: str, checkpoint: Checkpoint
) -> None:
    model, reader = load_model(str(checkpoint(family))), load_reader(str(checkpoint(family)))
    inputs = reader.prompt(QUESTION, images=[scene(60, 90)]).inputs
    states = model(**inputs, output_hidden_states=True).hidden_states
    visual = inputs["input_ids"][0] == model.config.image_token_id
    curve = entropy_curve(model, inputs)
    expected = [float(matrix_entropy(state[0, visual])) for state in states[:-1]]
    assert curve[:-1].tolist() == pytest.approx(expected, abs=1e-12)
    # the last that the library shows is behind the final norm; ours is before it
    ours = anatomy(model).decoder.norm
    seen = []
    handle = ours.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(**inputs)
    handle.remove()
    assert float(curve[-1]) == pytest.approx(float(matrix_entropy(seen[0][0, visual])), abs=1e-12)
    assert not any(layer._forward_pre_hooks for layer in anatomy(model).layers)
    with pytest.raises(ValueError, match="one prompt with visual tokens, got 1 with 0"):
        entropy_curve(model, {"input_ids": torch.tensor([[1, 2]])})


def test_collapse_of_a_real_model_goes_on_where_it_was_stopped(
    run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("collapse", "--model", checkpoint("llava_next"), "--images", pictures, "--untrained")
    out = tmp_path / "new" / "curves.json"
    code, table, _ = run(*arguments, "--out", out)
    assert code == 0 and "trained: " in table and "untrained: " in table and "of samples agree" in table
    whole = json.loads(out.read_text())
    assert set(whole["curves"]) == {"trained", "untrained"}
    assert [len(entry["entropy"]) for entry in whole["curves"]["trained"].values()] == [5] * 3
    assert out.with_suffix(".png").stat().st_size > 10_000

    count = 0
    write = _real_collapse._write

    def interrupted(path: Path, record: dict[str, object]) -> None:
        nonlocal count
        write(path, record)
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_real_collapse, "_write", interrupted)
    second = tmp_path / "again.json"
    assert run(*arguments, "--out", second)[0] == 130
    assert len(json.loads(second.read_text())["curves"]["trained"]) == 2
    monkeypatch.setattr(_real_collapse, "_write", write)
    computed: list[str] = []
    curve = entropy_curve

    def counted(*args: object, **options: object) -> torch.Tensor:
        computed.append("")
        return curve(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("entropyprune_ref.hf.curves.entropy_curve", counted)
    assert run(*arguments, "--out", second)[0] == 0
    assert len(computed) == 4  # one trained, three untrained
    assert json.loads(second.read_text()) == whole

    code, _, err = run("collapse", "--model", checkpoint("llava"), "--images", pictures, "--out", second)
    assert code == 2 and "must be of the same model and settings" in err and err.count("\n") == 1
    second.write_text("{}")
    assert "must be a file of an earlier run" in run(*arguments, "--out", second)[2]
    assert second.read_text() == "{}"


# prune


@pytest.mark.parametrize(
    ("family", "source"),
    [("llava", "--image"), ("llava_next", "--image"), ("llava_next_video", "--video"), ("qwen2_5_vl", "--video")],
)
def test_prune_answers_whole_and_pruned_and_draws_what_was_kept(
    family: str, source: str, run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    path = pictures / "a.png" if source == "--image" else pictures / "film"
    out = tmp_path / "kept.png"
    arguments = ("prune", "--model", checkpoint(family), source, path, *PROMPT, "--rounds", 1, "--out", out)
    code, text, err = run(*arguments, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert len(found["kept"]) == found["keep"] == 12 and out.stat().st_size > 10_000

    model, reader = load_model(str(checkpoint(family))), load_reader(str(checkpoint(family)))
    kind = "images" if source == "--image" else "frames"
    shown = [scene(60, 90)] if kind == "images" else [scene(60, 80, number) for number in range(5)]
    inputs = reader.prompt(QUESTION, **{kind: shown}).inputs
    length = inputs["input_ids"].shape[1]
    options = {"max_new_tokens": 4, "do_sample": False}
    assert found["unpruned"]["tokens"] == model.generate(**inputs, **options)[0, length:].tolist()
    with pruned(model, EntropyPrune(2, keep=12)) as block:
        assert found["pruned"]["tokens"] == model.generate(**inputs, **options)[0, length:].tolist()
        last = block.last
    visual = last.image_index[0] >= 0
    assert found["kept"] == last.kept[0, visual].nonzero().flatten().tolist()
    assert found["visual_tokens"] == int(visual.sum()) and found["text_tokens"] == length - int(visual.sum())
    left = length - int(visual.sum()) + 12
    entry = 2 * 2 * 8 * 4  # keys and values, two heads of eight float32
    assert found["unpruned"]["cache_bytes"] == 4 * length * entry
    assert found["pruned"]["cache_bytes"] == 2 * (length + left) * entry
    assert (
        found["pruned"]["flops"]["scoring"] > 0
        and found["pruned"]["flops"]["total"] < found["unpruned"]["flops"]["total"]
    )


def copied(source: Path, target: Path, *without: str) -> Path:
    """A checkpoint without some of its files."""
    target.mkdir()
    for path in source.iterdir():
        if not path.name.startswith(without):
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_load_reader_finds_the_chat_template_of_older_checkpoints(checkpoint: Checkpoint, tmp_path: Path) -> None:
    older = copied(checkpoint("llava"), tmp_path / "older", "chat_template")
    assert load_reader(str(older)).tokenizer.chat_template is None
    (older / "chat_template.json").write_text(json.dumps({"chat_template": LLAVA_TEMPLATE}))
    expected = load_reader(str(checkpoint("llava"))).prompt(QUESTION, images=[scene(60, 90)])
    assert load_reader(str(older)).prompt(QUESTION, images=[scene(60, 90)]).text == expected.text
    (older / "chat_template.json").write_text("{}")
    with pytest.raises(ValueError, match=r"chat_template\.json of .* must hold a chat template"):
        load_reader(str(older))


def test_a_local_folder_needs_no_network(
    run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    arguments = ("--model", checkpoint("qwen2_5_vl"), "--image", pictures / "a.png")  # without a chat template
    code, _, err = run("prune", *arguments, *PROMPT, "--keep", 3, "--rounds", 1, "--out", tmp_path / "kept.png")
    assert code == 0, err


def test_prune_prints_both_answers_and_what_they_cost(
    run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    arguments = ("--model", checkpoint("llava"), "--image", pictures / "a.png", "--image", pictures / "b.png")
    code, text, _ = run("prune", *arguments, *PROMPT, "--rounds", 1, "--out", tmp_path / "kept.png")
    assert code == 0
    for part in (
        "unpruned: ",
        "pruned: ",
        "FLOPs of the prefill",
        "key/value cache (bytes)",
        "fewer FLOPs",
        "Picture: ",
    ):
        assert part in text


def test_save_sheets_outlines_what_was_kept_and_fades_the_rest(tmp_path: Path) -> None:
    """Of a black picture the kept half stays black, and the other turns light."""
    sheet = plain_sheet("whole", np.zeros((40, 80, 3), dtype=np.uint8), (0.0, 0.0, 80.0, 40.0), 1, 2, 7)
    picture = np.asarray(Image.open(save_sheets(tmp_path / "a" / "b.png", [sheet], {8}, "")).convert("L"))
    row = picture[picture.shape[0] // 2]
    inside = np.flatnonzero(row < 250)
    left, right = np.split(row[inside[0] : inside[-1]], 2)
    assert np.median(left) > 150 and np.median(right) < 10


# trace, and check against it


def test_trace_is_written_and_checked_from_the_command_line(
    run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    arguments = ("--model", checkpoint("qwen2_5_vl"), "--video", pictures / "film", *PROMPT, "--out", tmp_path / "T")
    code, text, err = run("trace", *arguments)
    assert code == 0, err
    assert "gap at the cut" in text
    manifest = json.loads((tmp_path / "T" / "manifest.json").read_text())
    assert manifest["prompt"]["question"] == QUESTION and len(manifest["prompt"]["pictures"]) == 5
    digest = hashlib.sha256((pictures / "film" / "0.png").read_bytes()).hexdigest()
    assert manifest["prompt"]["pictures"][0]["sha256"] == digest
    assert manifest["pruner"] == {
        "prune_layer": 2,
        "keep": 12,
        "budget": {"keep": 12.0},
        "convention": "paper",
        "over_images": "each",
    }
    arrays = load_file(tmp_path / "T" / "trace.safetensors")
    assert arrays["positions"].shape == (3, manifest["prompt"]["tokens"])
    told = {"format_version": "1", "trace": manifest["id"], "dtype": "bfloat16"}
    save_file({"kept": arrays["kept"], "scores": arrays["scores"]}, tmp_path / "right.safetensors", told)
    save_file({"kept": arrays["kept"][1:]}, tmp_path / "wrong.safetensors", told)
    code, text, _ = run("check", "--trace", tmp_path / "T", tmp_path / "right.safetensors")
    assert code == 0 and "passed: 2 of 11 arrays agree" in text
    report = tmp_path / "report.json"
    code, text, _ = run("check", "--trace", tmp_path / "T", tmp_path / "wrong.safetensors", "--report", report)
    assert code == 1 and "FAILED: the two part first at kept" in text
    assert json.loads(report.read_text())["first"] == "kept"
    assert run("check", "--trace", tmp_path / "T")[0] == 2


def test_check_of_a_trace_needs_no_extra(tmp_path: Path) -> None:
    """Neither transformers nor hypothesis is imported by the judge, nor by the command."""
    program = (
        "import sys\nfrom entropyprune_ref.cli import main\n"
        "try:\n    main(['check', '--trace', 'nowhere', 'nothing'])\n"
        "except SystemExit as stop:\n    assert stop.code == 2\n"
        "assert not {'transformers', 'hypothesis', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0 and "must be a folder with a trace" in done.stderr, done.stderr


# Bad input: one line, exit code 2, nothing half-written.


def bad_llama(folder: Path) -> Path:
    from transformers import LlamaConfig

    LlamaConfig().save_pretrained(folder)
    return folder


def test_commands_on_real_models_refuse_bad_input_in_one_line(
    run: Run, checkpoint: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    good = checkpoint("llava")
    bare = copied(good, tmp_path / "bare", "tokenizer", "chat_template", "preprocessor")
    unprocessed = copied(good, tmp_path / "unprocessed", "preprocessor")
    torn = copied(good, tmp_path / "torn", "model-00002")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = {path for path in tmp_path.rglob("*")}
    image = ("--image", pictures / "a.png")
    film = ("--video", pictures / "film")
    ask = ("--question", QUESTION, "--keep", 2)
    cases: dict[str, tuple[object, ...]] = {
        "must name a folder with a checkpoint": ("--model", tmp_path / "nowhere", *image, *ask),
        "must name a checkpoint, got 'nobody/nothing'": ("--model", "nobody/nothing", *image, *ask),
        "must be a model of one of the families": ("--model", bad_llama(tmp_path / "l"), *image, *ask),
        "a checkpoint with a tokenizer": ("--model", bare, *image, *ask),
        "a checkpoint with an image processor": ("--model", unprocessed, *image, *ask),
        "a checkpoint with all its weights": ("--model", torn, *image, *ask),
        "must be an image, got: not an image": ("--model", good, "--image", tmp_path / "broken.png", *ask),
        "must be an image, got: No such file": ("--model", good, "--image", tmp_path / "no.png", *ask),
        "must hold images": ("--model", good, "--video", tmp_path / "empty", *ask),
        "frames must be given to one of": ("--model", good, *film, *ask),
        "--image or --video must be given, and not both": ("--model", good, *image, *film, *ask),
        "pruner.layer must lie in \\[1, 3\\]": ("--model", good, *image, *ask, "--layer", 4),
        "layer must be": ("--model", good, *image, *ask, "--layer", 0),
        "keep must be": ("--model", good, *image, "--question", QUESTION, "--keep", 17),
        "exactly one of keep, average": ("--model", good, *image, "--question", QUESTION),
        "one placeholder '<image>' for each image, 1, got 2": (
            "--model", good, *image, "--question", "what <image> ?", "--keep", 2,
        ),
        "device must be": ("--model", good, *image, *ask, "--device", "nowhere"),
    }  # fmt: skip
    before |= {path for path in (tmp_path / "l").rglob("*")} | {tmp_path / "l"}
    for command, out in (("prune", tmp_path / "out" / "a.png"), ("trace", tmp_path / "T")):
        for message, arguments in cases.items():
            code, text, err = run(command, *arguments, "--out", out)
            assert code == 2 and not text, (command, message, text, err)
            lines = [line for line in err.splitlines() if line.startswith("entropyprune-ref: ")]
            assert len(lines) == 1, (command, message, err)
            assert any(part in lines[0] or part.replace("\\", "") in lines[0] for part in message.split("|")), err
        code, _, err = run(command, "--model", good, *image, *ask, "--out", tmp_path / "file" / "x")
        assert code == 2 and "written" in err, err
    code, _, err = run("collapse", "--model", good, "--images", tmp_path / "empty", "--out", tmp_path / "c.json")
    assert code == 2 and "must hold images" in err
    code, _, err = run("trace", "--model", good, *image, *ask, "--out", tmp_path / "file")
    assert code == 2 and "got the file" in err
    assert {path for path in tmp_path.rglob("*")} == before

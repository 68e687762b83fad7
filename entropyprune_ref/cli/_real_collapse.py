"""`entropyprune-ref collapse --model`: the entropy curve of a real checkpoint over a folder of images, resumable."""

import hashlib
import json
from pathlib import Path
from typing import Any

import click
import torch

from ..collapse import Collapse, collapse_layer, other_definitions
from ..pictures.panels import draw_curve, new_figure
from ._real import picture_files, read_picture, real
from ._shared import Report, dump, plain, progress, require_writable, say, show
from .check import write_whole

FORMAT = 1
QUESTION = "Describe the image."
"""Text after the image, where no visual token sees it."""


def collapse_of(
    name: str,
    folder: Path,
    *,
    untrained: bool,
    seed: int,
    device: str,
    dtype: str,
    attention: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Runs the command on a real model."""
    files = picture_files(folder)
    require_writable(out)
    _, checkpoints = real()
    reader = checkpoints.load_reader(name)
    model = checkpoints.load_model(name, device=device, dtype=dtype, attention=attention)
    settings = {
        "format": FORMAT,
        "model": name,
        "class": type(model).__name__,
        "fingerprint": _fingerprint(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "seed": seed,
    }
    record = _resumed(out, settings)
    with progress("{task.fields[what]}") as report:
        _fill(record, "trained", model, reader, files, out, report)
        if untrained:
            model = checkpoints.untrained_like(model, seed)
            _fill(record, "untrained", model, reader, files, out, report)
    kinds = ["trained", "untrained"] if untrained else ["trained"]
    curves = {kind: _stacked(record, kind, files) for kind in kinds}
    found = {kind: collapse_layer(values) for kind, values in curves.items()}
    others = {kind: other_definitions(values) for kind, values in curves.items()}
    record["found"] = {kind: {"collapse": found[kind], "other_definitions": others[kind]} for kind in kinds}
    _write(out, record)
    picture = _picture(out.with_suffix(".png"), curves, found)
    if as_json:
        dump({**record, "picture": picture})
        return
    rows = []
    for state in range(curves["trained"].shape[1]):
        columns = [curves[kind][:, state].numpy() for kind in kinds]
        rows.append([str(state), *(f"{figure:.3f}" for column in columns for figure in (column.mean(), column.std()))])
    header = ["state", *(column for kind in kinds for column in (kind, "sd"))]
    show(f"{settings['class']}: entropy of the visual tokens' states, {len(files)} images (nats)", header, rows)
    for kind in kinds:
        say(f"{kind}: {found[kind]}.")
        answers = ", ".join(f"{rule.replace('_', ' ')} {layer or 'none'}" for rule, layer in others[kind].items())
        say(f"{kind}, by other definitions: {answers}.")
    if untrained:
        same = found["trained"].layer == found["untrained"].layer
        say(f"Untrained weights of the same architecture give {'the same answer' if same else 'another answer'}.")
    say(f"Curves: {out}\nPicture: {picture}")


def _fill(
    record: dict[str, Any], kind: str, model: Any, reader: Any, files: list[Path], out: Path, report: Report
) -> None:
    """Adds the curves that are not there yet, and writes the file after each."""
    from ..hf.curves import entropy_curve

    curves = record["curves"].setdefault(kind, {})
    for number, path in enumerate(files):
        report(kind, number, len(files), what=path.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if curves.get(path.name, {}).get("sha256") == digest:
            continue
        prompt = reader.prompt(QUESTION, images=[read_picture(path)])

        def state(done: int, total: int, place: int = number, file: str = path.name) -> None:
            report(kind, place, len(files), what=f"{file}, state {done} of {total}")

        curve = entropy_curve(model, prompt.inputs_for(model), report=state)
        curves[path.name] = {"sha256": digest, "visual_tokens": prompt.visual_tokens, "entropy": curve.tolist()}
        _write(out, record)
    report(kind, len(files), len(files), what="")


def _resumed(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns what an earlier run of the same model left, or an empty record."""
    if not out.exists():
        return {**settings, "curves": {}}
    try:
        record = json.loads(out.read_text())
        found = {key: record[key] for key in settings}
        curves = dict(record["curves"])
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise click.UsageError(f"{out} must be a file of an earlier run of this command, or not exist") from None
    if found != settings:
        other = next(key for key in settings if found[key] != settings[key])
        raise click.UsageError(
            f"{out} must be of the same model and settings, got {other} = {found[other]!r} instead of "
            f"{settings[other]!r}; give another --out"
        )
    return {**settings, "curves": curves}


def _write(out: Path, record: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, json.dumps(plain(record), indent=1) + "\n")


def _stacked(record: dict[str, Any], kind: str, files: list[Path]) -> torch.Tensor:
    curves = record["curves"][kind]
    return torch.tensor([curves[path.name]["entropy"] for path in files], dtype=torch.float64)


def _fingerprint(model: Any) -> str:
    """Tells one checkpoint from another by its configuration and a few of its weights."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for weight in (model.get_decoder().norm.weight, next(model.get_decoder().layers[0].parameters())[:4]):
        digest.update(weight.detach().to("cpu", torch.float64).numpy().tobytes())
    return digest.hexdigest()[:16]


def _picture(path: Path, curves: dict[str, torch.Tensor], found: dict[str, Collapse]) -> Path:
    figure = new_figure(5.2 * len(curves), 3.6)
    for axes, kind in zip(figure.subplots(1, len(curves), squeeze=False, sharey=True)[0], curves, strict=True):
        draw_curve(axes, curves[kind], found[kind])
        axes.set_title(f"{kind}: {axes.get_title()}", fontsize=9)
        states = range(0, curves[kind].shape[1], max(1, curves[kind].shape[1] // 16))
        axes.set_xticks(list(states))
    figure.savefig(path, dpi=150)
    return path

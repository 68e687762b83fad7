"""`entropyprune-ref trace`: what the reference does on a real prompt, written down for engines to compare with."""

import hashlib
from pathlib import Path
from typing import Any

import click

from ..traces import write_trace
from ..traces.files import require_replaceable
from ._real import model_options, picture_files, pictures_of, prompt_options, pruner_of, pruner_options, real
from ._shared import dump, json_option, say, show


@click.command()
@model_options
@prompt_options
@pruner_options
@click.option("--new-tokens", default=8, show_default=True, help="Most tokens of the answer.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the trace: a new one, or one of a trace."
)
@json_option
def trace(
    name: str,
    device: str,
    dtype: str,
    attention: str | None,
    images: tuple[Path, ...],
    video: Path | None,
    fps: float,
    question: str,
    new_tokens: int,
    out: Path,
    as_json: bool,
    **budget: Any,
) -> None:
    """Prune a real model on a prompt of yours and write down every step, as an oracle for whole engines.

    An engine then writes what it did; entropyprune-ref check --trace FOLDER FILE says where the two part.
    """
    if new_tokens < 1:
        raise click.UsageError(f"--new-tokens must be at least 1, got {new_tokens}")
    pruner = pruner_of(**budget)
    require_replaceable(out)
    pictures = pictures_of(images, video)
    _, checkpoints = real()
    from ..hf.tracing import traced

    reader = checkpoints.load_reader(name)
    prompt = reader.prompt(question, fps=fps, **pictures)
    model = checkpoints.load_model(name, device=device, dtype=dtype, attention=attention)
    found = traced(model, prompt.inputs_for(model), pruner, new_tokens=new_tokens)
    record = found.record
    record["model"] = {"name": name, **record["model"]}
    (kind, shown), files = next(iter(pictures.items())), list(images)
    if video is not None:
        files = picture_files(video) if video.is_dir() else [video] * len(shown)
    listed = [
        {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "height": picture.shape[0],
            "width": picture.shape[1],
        }
        for path, picture in zip(files, shown, strict=True)
    ]
    record["prompt"] = {"question": question, "text": prompt.text, "kind": kind, "pictures": listed, **record["prompt"]}
    record["answer"] = reader.tokenizer.decode(found.arrays["tokens"], skip_special_tokens=True)
    folder = write_trace(found, out)
    if as_json:
        dump({"trace": folder, **record})
        return
    cuts = [
        [
            "all" if cut["image"] is None else str(cut["image"]),
            str(cut["visual_tokens"]),
            str(cut["keep"]),
            "-" if cut["gap"] is None else f"{cut['gap']:.3g}",
        ]
        for cut in record["cut"]
    ]
    title = (
        f"{record['model']['class']} in {record['model']['dtype']}, pruned at layer {record['pruner']['prune_layer']}"
    )
    show(title, ["image", "visual tokens", "kept", "gap at the cut"], cuts)
    say(f"Answer: {record['answer'].strip()}\nTrace: {folder}")

"""`entropyprune-ref prune`: a real model answers a question about a picture, whole and pruned."""

from pathlib import Path
from typing import Any

import click

from ..flops import reduction
from ..pictures.sheets import save_sheets
from ._real import (
    model_options,
    pictures_of,
    prompt_options,
    pruner_of,
    pruner_options,
    real,
)
from ._shared import dump, json_option, progress, require_writable, say, show


@click.command()
@model_options
@prompt_options
@pruner_options
@click.option("--new-tokens", default=64, show_default=True, help="Most tokens of an answer.")
@click.option("--rounds", default=3, show_default=True, help="Repetitions of the timing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/kept.png"),
    show_default=True,
    help="The picture: kept patches drawn over yours.",
)
@json_option
def prune(
    name: str,
    device: str,
    dtype: str,
    attention: str | None,
    images: tuple[Path, ...],
    video: Path | None,
    fps: float,
    question: str,
    new_tokens: int,
    rounds: int,
    out: Path,
    as_json: bool,
    **budget: Any,
) -> None:
    """Prune a real model in place on your own picture: both answers, what was kept, and what it costs.

    For example: entropyprune-ref prune --model FOLDER --image photo.jpg --question "What is this?" --average 128
    """
    if new_tokens < 1 or rounds < 1:
        raise click.UsageError(f"--new-tokens and --rounds must be at least 1, got {new_tokens} and {rounds}")
    pruner = pruner_of(**budget)
    require_writable(out)
    pictures = pictures_of(images, video)
    _, checkpoints = real()
    from ..hf.comparing import compare

    reader = checkpoints.load_reader(name)
    prompt = reader.prompt(question, fps=fps, **pictures)
    model = checkpoints.load_model(name, device=device, dtype=dtype, attention=attention)
    with progress() as report:
        found = compare(model, prompt.inputs_for(model), pruner, new_tokens=new_tokens, rounds=rounds, report=report)
    last, plan = found.prefill, found.prefill.plan[0]
    visual = last.image_index[0] >= 0
    kept = last.kept[0, visual].nonzero().flatten().tolist()
    sides = {"unpruned": found.unpruned, "pruned": found.pruned}
    answers = {side: reader.tokenizer.decode(run.tokens, skip_special_tokens=True) for side, run in sides.items()}
    caption = f"{question}\nunpruned: {answers['unpruned'].strip()}\npruned: {answers['pruned'].strip()}"
    picture = save_sheets(out, prompt.sheets, set(kept), caption)
    if as_json:
        dump(
            {
                "model": name,
                "question": question,
                "prune_layer": plan.prune_layer,
                "visual_tokens": int(visual.sum()),
                "text_tokens": int((~visual).sum()),
                "keep": plan.keep,
                "kept": kept,
                "picture": picture,
                **{
                    side: {
                        "answer": answers[side],
                        "tokens": run.tokens,
                        "prefill_seconds": run.seconds,
                        "cache_bytes": run.cache_bytes,
                        "flops": {**run.flops.terms, "total": run.flops.total},
                    }
                    for side, run in sides.items()
                },
            }
        )
        return
    for side, answer in answers.items():
        say(f"{side}: {answer.strip()}")
    rows = [
        ["visual tokens from the prune layer on", str(int(visual.sum())), str(len(kept))],
        ["FLOPs of the prefill (decoder)", *(f"{run.flops.total:,}" for run in sides.values())],
        ["prefill, measured (s)", *(f"{run.seconds:.3f}" for run in sides.values())],
        ["key/value cache (bytes)", *(f"{run.cache_bytes:,}" for run in sides.values())],
    ]
    show(f"\n{type(model).__name__}, pruned at layer {plan.prune_layer}", ["", *sides], rows)
    fewer = float(reduction(found.unpruned.flops.total, found.pruned.flops.total))
    faster = found.unpruned.seconds / found.pruned.seconds
    say(f"{fewer:.1%} fewer FLOPs, scoring included; the prefill is {faster:.2f} times as fast, vision tower included.")
    say("The same answer." if answers["unpruned"] == answers["pruned"] else "The answers differ.")
    say(f"Picture: {picture}")

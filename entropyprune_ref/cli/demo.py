"""`entropyprune-ref demo`: the method and its rivals on the bundled model."""

from pathlib import Path
from typing import Any

import click

from ..demo.contenders import COMPARED, METHOD, AtLayer
from ..demo.images import read_image
from ..demo.own_image import OwnImage, run_on
from ..demo.run import PICTURED, Demo, draw, kept_by, run
from ..evaluation.plan import GROUND_TRUTH, SHARES
from ..llava import Llava
from ..pictures.panels import Panel, save_picture
from ._shared import SEED, dump, json_option, load, progress, say, show, weights_option, writable_folder

SHOWN = 16
"""Visual tokens kept in the picture."""


@click.command()
@click.option("--image", type=click.Path(path_type=Path), help="Your own image; needs --question.")
@click.option("--question", help='What to ask about it, for example "what color is the circle".')
@click.option(
    "--images", default=64, show_default=True, help="Held-out images to draw, one question of each type on each."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which images are drawn.")
@click.option("--rounds", default=5, show_default=True, help="Repetitions of every timing.")
@click.option("--layer", type=int, help="Prune layer.  [default: the Entropy Collapse Layer found]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    default=Path("out"),
    show_default=True,
    help="Folder of the picture.",
)
@weights_option
@json_option
def demo(
    image: Path | None,
    question: str | None,
    images: int,
    seed: int,
    rounds: int,
    layer: int | None,
    out: Path,
    weights: Path | None,
    as_json: bool,
) -> None:
    """Find where the entropy collapses, prune there, and compare with other ways to choose the tokens."""
    if (image is None) != (question is None):
        raise click.UsageError("--image and --question must be given together")
    model = load(weights)
    patch = model.config.vision.patch_size
    if image is not None and question is not None:
        pixels, done = read_image(image, model.config.vision.image_size)
        with progress() as report:
            answer = run_on(model, pixels, question, layer=layer, report=report)
        kept = {name: answer.kept[name][SHARES.index(SHOWN)] for name in PICTURED}
        panels = [Panel(pixels, f"{question}\n{answer.unpruned}", kept)]
        picture = save_picture(
            out / "own-image.png", answer.curves, answer.collapse, panels, layer=answer.layer, patch=patch
        )
        if as_json:
            dump({**vars(answer), "image": str(image), "done_to_image": done, "keeps": SHARES, "picture": picture})
        else:
            _print_own(answer, done, question, picture)
        return
    with progress() as report:
        result = run(model, images=images, seed=seed, layer=layer, rounds=rounds, report=report)
    picture = _picture(model, result, seed, out / "demo.png", patch)
    if as_json:
        dump({**_record(result), "seed": seed, "picture": picture})
    else:
        _print(result, picture)


def _picture(model: Llava, result: Demo, seed: int, path: Path, patch: int) -> Path:
    panels = []
    for scene, (question, *_) in zip(*draw(min(3, result.images), seed, result.kinds), strict=True):
        kept = kept_by(model, scene.image, question.text, result.at.layer, SHOWN)
        panels.append(Panel(scene.image, f"{question.text}\n{question.answer}", kept))
    return save_picture(path, result.curves, result.collapse, panels, layer=result.at.layer, patch=patch)


def _print(result: Demo, picture: Path) -> None:
    asked = result.images * len(result.kinds)
    curves = result.curves.numpy()
    states = [
        [str(i), f"{m:.3f}", f"{s:.3f}"] for i, (m, s) in enumerate(zip(curves.mean(0), curves.std(0), strict=True))
    ]
    show(f"Entropy of the visual tokens' states, {result.images} images (nats)", ["state", "mean", "sd"], states)
    say(f"{result.collapse}; {result.why}.\n")

    kept = [str(budget.keep) for budget in result.budgets]
    (whole, low, high) = result.unpruned.accuracy()[0]
    say(
        f"Unpruned, {whole:.1%} of {asked} questions are right (95 % interval {max(low, 0):.1%} to {min(high, 1):.1%})."
    )
    for table in (result.at, result.earlier):
        if table is not None:
            _print_accuracy(result, table)

    base = result.unpruned_cost
    costs = [
        [
            str(budget.keep),
            f"{budget.average:.1f}",
            f"{budget.decoder / asked / 1e6:,.1f}",
            f"{budget.decoder / base.decoder:.1%}",
            f"{budget.prefill / base.prefill:.1%}",
            f"{budget.scoring / base.prefill:.2%}",
        ]
        for budget in (base, *result.budgets)
    ]
    header = ["kept", "per layer", "decoder MFLOP", "of unpruned", "whole prefill", "scoring"]
    at = f"pruned at layer {result.at.layer}"
    show(f"FLOPs of one prompt, {at} (mean over the questions; exact totals with --json)", header, costs)
    say(
        "Whole prefill: vision tower, projector, decoder, language head.\n"
        "Scoring: token entropy, not in the other columns.\n"
    )

    times = [
        [c.name, *(f"{one / result.unpruned.seconds[0]:.2f}" for one in c.seconds)]
        for c in result.at.contenders
        if c.seconds is not None and result.unpruned.seconds is not None
    ]
    title = f"Measured prefill time with scoring, pruned at layer {result.at.layer}; unpruned is 1 (medians)"
    show(title, ["kept by", *kept], times)
    if result.unpruned.seconds is not None:
        say(f"Unpruned: {1e3 * result.unpruned.seconds[0]:.1f} ms for 4 prompts at once, tower and head included.\n")
    say(f"Picture: {picture}")


def _print_accuracy(result: Demo, table: AtLayer) -> None:
    """Prints the table of one layer, and what it says."""
    kept = [str(budget.keep) for budget in result.budgets]
    rows = [[_label(c.name), *(f"{100 * mean:.1f}" for mean, _, _ in c.accuracy())] for c in table.contenders]
    widest = max((high - low) / 2 for c in table.contenders for _, low, high in c.accuracy())
    title = f"Accuracy in %, pruned at layer {table.layer}, by visual tokens kept of {result.unpruned_cost.keep}"
    show(f"\n{title}" + ("" if table is result.at else " (for comparison)"), ["kept by", *kept], rows)
    say("* keeps the patches that show what the question is about, which no scorer knows.")
    say(f"No 95 % interval in the table is wider than ± {100 * widest:.1f} points.")
    for place, number in enumerate(kept):
        say(f"{number} kept: {table.verdict(place)}.")
    say(f"{table.loss_of_all(result.unpruned)}.\n")


def _print_own(answer: OwnImage, done: str, question: str, picture: Path) -> None:
    say(
        f"{done}.\n"
        "The model has only ever seen small coloured shapes on grey: other images may well get a wrong answer.\n"
    )
    say(f"{question}: {answer.unpruned} (unpruned)")
    say(f"{answer.collapse}; {answer.why}.\n")
    rows = [[name, *answers] for name, answers in answer.answers.items()]
    show("Answer, by visual tokens kept", ["kept by", *map(str, SHARES)], rows)
    agreeing = {name: sum(text == answer.unpruned for text in answers) for name, answers in answer.answers.items()}
    for names, what in ((METHOD, "conventions"), (COMPARED, "rivals")):
        counts = ", ".join(f"{name} {agreeing[name]}" for name in names)
        say(f"Budgets of {len(SHARES)} at which the answer is the unpruned one, {what}: {counts}.")
    say(f"Picture: {picture}")


def _label(name: str) -> str:
    return f"{name} *" if name == GROUND_TRUTH else name


def _record(result: Demo) -> dict[str, Any]:
    """Returns everything found, for JSON."""
    curves = result.curves.numpy()
    return {
        "images": result.images,
        "questions": result.images * len(result.kinds),
        "kinds": result.kinds,
        "curve": {"mean": curves.mean(0), "sd": curves.std(0)},
        "collapse": result.collapse,
        "layer": result.at.layer,
        "why": result.why,
        "unpruned": {
            "accuracy": result.unpruned.accuracy()[0],
            "seconds": result.unpruned.seconds,
            **vars(result.unpruned_cost),
        },
        "budgets": [vars(budget) for budget in result.budgets],
        "layers": [_layer_record(result, table) for table in (result.at, result.earlier) if table is not None],
    }


def _layer_record(result: Demo, table: AtLayer) -> dict[str, Any]:
    return {
        "layer": table.layer,
        "contenders": {c.name: {"accuracy": c.accuracy(), "seconds": c.seconds} for c in table.contenders},
        "none_kept": table.none_kept.accuracy()[0],
        "verdicts": [f"{budget.keep} kept: {table.verdict(at)}" for at, budget in enumerate(result.budgets)],
        "loss_of_all": table.loss_of_all(result.unpruned),
    }

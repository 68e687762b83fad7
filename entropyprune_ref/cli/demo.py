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
from ._demo_tables import print_tables
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
@click.option("--full", is_flag=True, help="Every budget, contender and table, layer 1 too.")
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
    full: bool,
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
        result = run(model, images=images, seed=seed, layer=layer, full=full, rounds=rounds, report=report)
    picture = _picture(model, result, seed, out / "demo.png", patch)
    if as_json:
        dump({**_record(result), "seed": seed, "picture": picture})
    elif full:
        print_tables(result, picture)
    else:
        _print_brief(result, picture)


def _picture(model: Llava, result: Demo, seed: int, path: Path, patch: int) -> Path:
    panels = []
    for scene, (question, *_) in zip(*draw(min(3, result.images), seed, result.kinds), strict=True):
        kept = kept_by(model, scene.image, question.text, result.at.layer, SHOWN)
        panels.append(Panel(scene.image, f"{question.text}\n{question.answer}", kept))
    return save_picture(path, result.curves, result.collapse, panels, layer=result.at.layer, patch=patch)


def _print_brief(result: Demo, picture: Path) -> None:
    """Prints what the run found, in fifteen lines."""
    asked, visual = result.images * len(result.kinds), result.unpruned_cost.keep
    (right, _, _) = result.unpruned.accuracy()[0]
    say(f"Unpruned, {right:.1%} of {asked} questions about {result.images} new images are answered right.")
    say(f"{str(result.collapse).capitalize()}; {result.why}.\n")

    at = {contender.name: contender for contender in result.at.contenders}
    paper, whole = at["PAPER"], result.unpruned
    rows = []
    for place, budget in enumerate(result.budgets):
        rival = max((at[name] for name in COMPARED), key=lambda c: float(c.right[place].mean()))
        shares = [f"{100 * at[name].right[place].mean():.1f}" for name in ("PAPER", "random")]
        best = f"{100 * rival.right[place].mean():.1f} {rival.name}"
        truth = f"{100 * at[GROUND_TRUTH].right[place].mean():.1f}"
        cost = f"{(budget.prefill + budget.scoring) / result.unpruned_cost.prefill:.0%}"
        taken = (
            "-" if paper.seconds is None or whole.seconds is None else f"{paper.seconds[place] / whole.seconds[0]:.0%}"
        )
        rows.append([f"{budget.keep} ({budget.keep / visual:.1%})", *shares, best, truth, cost, taken])
    title = f"Right in %, pruned at layer {result.at.layer}; FLOPs and time of a prefill beside the unpruned one"
    show(title, [f"kept of {visual}", "PAPER", "random", "best rival", "ground truth*", "FLOPs", "time"], rows)
    say(f"* Keeps what the question is about, which no scorer knows. {result.at.loss_of_all(whole)}.")
    say(f"{result.budgets[-1].keep} kept: {result.at.verdict(len(rows) - 1)}.")
    say(f"Picture: {picture}. Every table: --full.")


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

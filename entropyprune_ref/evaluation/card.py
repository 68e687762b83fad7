"""The model card and the tables of the README, written from results so that they cannot drift.

`python -m entropyprune_ref.evaluation.card RUN RESULTS` bundles the weights that `train --out RUN` left, with a card
written from the `results.json` of their evaluation.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from entropyprune_ref.llava.weights import BUNDLED

from .cells import GROUND_TRUTH

Summary = dict[str, Any]


def percent(interval: tuple[float, float, float] | list[float]) -> str:
    """Returns a share with its interval as text.

    Examples:
        >>> percent((0.5, 0.45, 0.55))
        '50.0 (45.0–55.0)'
    """
    share, low, high = (100 * min(max(value, 0.0), 1.0) for value in interval)
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def accuracy_by_kind(summary: Summary) -> str:
    """Returns the unpruned model's accuracy by question type, in percent with 95 % Wilson intervals."""
    (unpruned,) = [cell for cell in summary["cells"] if cell["scorer"] == "unpruned"]
    rows = [[kind, percent(interval)] for kind, interval in unpruned["kinds"].items()]
    return table(["question type", "accuracy, % (95 % interval)"], [*rows, ["mean", percent(unpruned["accuracy"])]])


def accuracy_by_scorer(summaries: list[Summary], layer: int, kind: str | None = None) -> str:
    """Returns accuracy in percent of every scorer at one prune layer, by visual tokens kept; the mean over seeds.

    With several seeds the range over them follows in brackets.
    """
    keeps = summaries[0]["plan"]["keeps"]
    visual = summaries[0]["visual_tokens"]
    cells = [{(c["scorer"], c["layer"], c["keep"]): c for c in summary["cells"]} for summary in summaries]

    def entry(scorer: str, keep: int) -> str:
        found = [by_key[scorer, layer, keep] for by_key in cells]
        shares = [100 * (cell["kinds"][kind] if kind else cell["accuracy"])[0] for cell in found]
        spread = f" [{min(shares):.1f}–{max(shares):.1f}]" if len(shares) > 1 else ""
        return f"{sum(shares) / len(shares):.1f}{spread}"

    names = dict.fromkeys(scorer for scorer, at, keep in cells[0] if at == layer and keep in keeps)
    header = ["scorer", *(f"{keep} ({100 * keep / visual:.1f} %)" for keep in keeps)]
    return table(header, [[name, *(entry(name, keep) for keep in keeps)] for name in names])


def drop_everything(summaries: list[Summary]) -> str:
    """Returns accuracy in percent when every visual token is dropped at layer K, by question type."""
    kinds = summaries[0]["plan"]["kinds"]
    rows = []
    layers = [cell["layer"] for cell in summaries[0]["cells"] if cell["scorer"] == "none kept"]
    for layer in layers:
        found = [c for s in summaries for c in s["cells"] if (c["scorer"], c["layer"]) == ("none kept", layer)]
        shares = [sum(100 * cell["kinds"][kind][0] for cell in found) / len(found) for kind in kinds]
        rows.append([str(layer), *(f"{share:.1f}" for share in shares)])
    return table(["K", *kinds], rows)


def collapse_table(summaries: list[Summary]) -> str:
    """Returns what the detector says of every seed, trained and untrained."""
    rows = []
    for summary in summaries:
        for name, collapse in summary["collapse"].items():
            if collapse["layer"] is None:
                said = ["none found", "–", "–", "–", "–"]
            else:
                interval = collapse["interval"] or ["–"]
                said = [
                    str(collapse["layer"]),
                    f"{collapse['drop']:.3f}",
                    f"{collapse['sharpness']:.2f}",
                    f"{100 * collapse['consistency']:.1f} %",
                    "–".join(map(str, interval)),
                ]
            curve = " ".join(f"{value:.2f}" for value in summary["curves"][name]["mean"])
            rows.append([str(summary["seed"]), name, *said, curve])
    header = ["seed", "weights", "layer", "drop, nats", "sharpness", "consistency", "95 % interval", "mean curve, nats"]
    return table(header, rows)


def margin(summary: Summary, keep: int = 16) -> tuple[int, float]:
    """Returns the prune layer at which the ground truth beats random by most at `keep` tokens, and by how much."""
    found = [cell for cell in summary["cells"] if (cell["scorer"], cell["keep"]) == (GROUND_TRUTH, keep)]
    best = max(found, key=lambda cell: cell["minus random"][0])
    return best["layer"], best["minus random"][0]


def model_card(training: Summary, summary: Summary) -> str:
    """Returns the card of the bundled model."""
    recipe, plan = training["recipe"], summary["plan"]
    layer, gain = margin(summary)
    questions_a_step = recipe["batch"] * len(recipe["asked"])
    return f"""# Model card: the bundled minimal LLaVA

**Architecture.** LLaVA-1.5's, small: a CLIP-style vision tower (96 × 96 pixels, patches of 8, 144 visual tokens), a
two-layer GELU projector, a Llama decoder of {summary["layers"]} layers. Eight query heads of 32 features:
`head_dim / heads = 4`, as in the 7B model.

**Data.** The little world of `entropyprune_ref.shapes`: two to five small coloured shapes on a noisy grey background,
drawn from a seed. Nothing else; it knows {len(plan["kinds"])} kinds of question and no other words.

**Recipe.** `entropyprune-ref train --seed {recipe["seed"]}`: {recipe["vision_steps"]} steps of
{recipe["vision_batch"]} crowded images for the vision tower alone, then {recipe["decoder_steps"]} steps of
{recipe["batch"]} images with {len(recipe["asked"])} questions each ({questions_a_step} questions a step) for projector
and decoder, the tower frozen. {training["hours"]:.2f} hours; CPU threads: {training["threads"]}.

**Accuracy, unpruned**, on {plan["images"]} held-out images, one question of each type per image
(`entropyprune-ref evaluate`):

{accuracy_by_kind(summary)}

**The world discriminates.** With 16 of 144 visual tokens (11.1 %) from layer {layer} on, keeping the patches that
matter beats random selection by {100 * gain:.1f} points of accuracy.

**Not for** anything but studying token pruning: it sees only this world.
"""


def bundle(run: Path, summary: Summary) -> None:
    """Copies a trained run's weights into the package, with their hash and card; for maintainers."""
    BUNDLED.mkdir(exist_ok=True)
    shutil.copyfile(run / "model.safetensors", BUNDLED / "model.safetensors")
    training = json.loads((run / "training.json").read_text())
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    (BUNDLED / "model.json").write_text(json.dumps({"sha256": digest, "training": training}, indent=2) + "\n")
    (BUNDLED / "MODEL_CARD.md").write_text(model_card(training, summary))


if __name__ == "__main__":
    bundle(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))

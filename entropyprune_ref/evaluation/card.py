"""The model card, and the rule by which a seed is shipped.

`python -m entropyprune_ref.evaluation.card RUNS RESULTS` bundles the weights of the seed that the rule names:
`RUNS/seed-S/` is what `train --out` left, `RESULTS/seed-S.json` what `evaluate` wrote.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from entropyprune_ref.llava.weights import BUNDLED

from .plan import GROUND_TRUTH
from .summary import Summary
from .tables import accuracy_by_kind, unpruned_share

ENOUGH = 0.98
"""What a seed must reach on every question type to be shipped."""


def shipped(summaries: list[Summary]) -> Summary:
    """Returns the seed to ship: the sharpest collapse among those that answer every type of question well enough.

    The rule looks at no scorer.
    """
    good = [s for s in summaries if all(unpruned_share(s, kind) >= ENOUGH for kind in s["plan"]["kinds"])]
    if not good:
        raise ValueError(f"summaries must hold a seed with at least {ENOUGH:.0%} on every question type, got none")
    return max(good, key=lambda summary: float(summary["collapse"]["trained"]["sharpness"] or 0))


def margin(summary: Summary, keep: int = 16) -> tuple[int, float]:
    """Returns the prune layer at which the ground truth beats random by most at `keep` tokens, and by how much."""
    found = [cell for cell in summary["cells"] if (cell["scorer"], cell["keep"]) == (GROUND_TRUTH, keep)]
    best = max(found, key=lambda cell: cell["minus random"][0])
    return best["layer"], best["minus random"][0]


def model_card(training: dict[str, Any], summary: Summary) -> str:
    """Returns the card of the bundled model."""
    recipe, plan, collapse = training["recipe"], summary["plan"], summary["collapse"]["trained"]
    layer, gain = margin(summary)
    questions_a_step = recipe["batch"] * len(recipe["asked"])
    return f"""# Model card: the bundled minimal LLaVA

**Architecture.** LLaVA-1.5's, small: a CLIP-style vision tower (96 × 96 pixels, patches of 8, 144 visual tokens), a
two-layer GELU projector, a Llama decoder of {summary["layers"]} layers. Eight query heads of 32 features:
`head_dim / heads = 4`, as in the 7B model.

**Data.** The little world of `entropyprune_ref.world`: two to five small coloured shapes on a noisy grey background,
drawn from a seed. Nothing else; it knows {len(plan["kinds"])} kinds of question and no other words.

**Recipe.** `entropyprune-ref train --seed {recipe["seed"]}`: {recipe["vision_steps"]} steps of
{recipe["vision_batch"]} crowded images for the vision tower alone, then {recipe["decoder_steps"]} steps of
{recipe["batch"]} images with {len(recipe["asked"])} questions each ({questions_a_step} questions a step) for projector
and decoder, the tower frozen. Trained on: {training["device"]}, {60 * training["hours"]:.1f} minutes. The same
command on another device starts from the same weights, sees the same images and ends in other weights.

**Why this seed.** Of five seeds trained and evaluated alike, it has the sharpest entropy collapse among those that
answer every type of question at {ENOUGH:.0%} or more: layer {collapse["layer"]}, sharpness {collapse["sharpness"]:.2f},
{100 * collapse["consistency"]:.1f} % of the images agree. The rule looks at no scorer. The results of all five are
published.

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
    runs, results = map(Path, sys.argv[1:])
    chosen = shipped([json.loads(path.read_text()) for path in sorted(results.glob("seed-*.json"))])
    bundle(runs / f"seed-{chosen['seed']}", chosen)

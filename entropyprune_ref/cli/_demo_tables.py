"""What `entropyprune-ref demo --full` prints: every table of a run."""

from pathlib import Path

from ..demo.contenders import AtLayer
from ..demo.run import Demo
from ..evaluation.plan import GROUND_TRUTH
from ._shared import say, show


def print_tables(result: Demo, picture: Path) -> None:
    """Prints the entropy curve, accuracy, FLOPs and times of a full run."""
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


def _label(name: str) -> str:
    return f"{name} *" if name == GROUND_TRUTH else name

"""What the results must be read against: no visual token at all, and a ground truth that is no ceiling."""

from typing import Any

from collapse import results

TRUTH, NOTHING = "ground-truth", "none kept"


def cell(result: dict[str, Any], scorer: str, layer: int, keep: int) -> dict[str, Any]:
    """One cell of a committed evaluation."""
    (found,) = [c for c in result["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    return dict(found)


def share(result: dict[str, Any], scorer: str, layer: int, keep: int, kind: str | None = None) -> float:
    """Its accuracy in percent, of all questions or of one type."""
    found = cell(result, scorer, layer, keep)
    return 100 * float(found["kinds"][kind][0] if kind else found["accuracy"][0])


def spread(values: list[float]) -> str:
    """Mean and range over seeds."""
    return f"{sum(values) / len(values):.1f} % [{min(values):.1f}–{max(values):.1f}]"


def floor() -> str:
    """The accuracy that is left when nothing is kept, beside the scorer that keeps the lowest entropy."""
    found, keeps = results(), results()[0]["plan"]["keeps"]
    nothing = {layer: [share(r, NOTHING, layer, 0) for r in found] for layer in (1, 2)}
    lowest = [sum(share(r, "lowest-entropy", 1, keep) for r in found) / len(found) for keep in keeps]
    return (
        "With **no visual token kept** the model still answers from the question and from what it has read "
        "before layer "
        f"$K$: {spread(nothing[1])} at layer 1 and {spread(nothing[2])} at layer 2, mean and range over seeds. "
        "That is the "
        f'floor of the tables. "Lowest entropy" at layer 1, with {min(lowest):.0f} to {max(lowest):.0f} %, sits on it.'
    )


def ceiling() -> str:
    """Where keeping nothing, or another scorer, beats the patches that the question is about."""
    found, keep = results(), min(results()[0]["plan"]["keeps"])
    names = sorted({c["scorer"] for c in found[0]["cells"]} - {TRUTH, NOTHING, "unpruned"})
    lines = []
    for result in found:
        truth, nothing = share(result, TRUTH, 2, keep), share(result, NOTHING, 2, 0)
        better = [name for name in names if share(result, name, 2, keep) > truth]
        if nothing > truth:
            lines.append(
                f"in seed {result['seed']}, pruned at layer 2, keeping nothing gives {nothing:.1f} %, and the "
                "ground truth "
                f"with {keep} tokens {truth:.1f} %; {len(better)} of {len(names)} scorers are above it"
            )
    if not lines:
        return "In these results the ground truth is nowhere below keeping nothing."
    text = "; ".join(lines)
    return f"{text[0].upper()}{text[1:]}."


def counting() -> str:
    """Counting at layer 1: every object is kept, and the count is wrong."""
    found = results()
    rows = []
    for keep in found[0]["plan"]["keeps"]:
        recall = min(cell(r, TRUTH, 1, keep)["recall"] for r in found)
        truth, chance = ([share(r, name, 1, keep, "count") for r in found] for name in (TRUTH, "random"))
        rows.append(f"| {keep} | {100 * recall:.1f} % | {spread(truth)} | {spread(chance)} |")
    nothing = spread([share(r, NOTHING, 1, 0, "count") for r in found])
    lines = [
        "| kept at layer 1 | objects' patches kept | count, ground truth | count, random |",
        "| --- | --- | --- | --- |",
    ]
    lines += [*rows, f"| 0 | – | {nothing} | {nothing} |"]
    return '<div class="words" markdown>\n\n' + "\n".join(lines) + "\n\n</div>"

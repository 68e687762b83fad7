"""Markdown tables written from results, so that no page can say what was not measured."""

from statistics import fmean

from .plan import GROUND_TRUTH, METHOD, NONE_KEPT, UNPRUNED
from .summary import Summary


def percent(interval: tuple[float, float, float] | list[float]) -> str:
    """Returns a share with its interval as text.

    Examples:
        >>> percent((0.5, 0.45, 0.55))
        '50.0 (45.0–55.0)'
    """
    share, low, high = (100 * min(max(value, 0.0), 1.0) for value in interval)
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def spread(shares: list[float]) -> str:
    """Returns the mean of some shares in percent, with their range if there are several.

    Examples:
        >>> spread([0.5, 0.6]), spread([0.5])
        ('55.0 [50.0–60.0]', '50.0')
    """
    bounds = f" [{100 * min(shares):.1f}–{100 * max(shares):.1f}]" if len(shares) > 1 else ""
    return f"{100 * fmean(shares):.1f}{bounds}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share_of(summary: Summary, scorer: str, layer: int, keep: int, kind: str | None = None) -> float:
    """Returns the accuracy of one cell, over all kinds of question or for one."""
    (cell,) = [c for c in summary["cells"] if (c["scorer"], c["layer"], c["keep"]) == (scorer, layer, keep)]
    return float((cell["kinds"][kind] if kind else cell["accuracy"])[0])


def unpruned_share(summary: Summary, kind: str | None = None) -> float:
    """Returns the accuracy of the whole model."""
    return share_of(summary, UNPRUNED, summary["layers"], summary["visual_tokens"], kind)


def chance_of(summary: Summary, kind: str | None = None) -> float:
    """Returns the floor of not looking at all."""
    return float(summary["chance"][kind] if kind else fmean(summary["chance"].values()))


def accuracy_by_kind(summary: Summary) -> str:
    """Returns the unpruned model's accuracy by question type, in percent with 95 % Wilson intervals."""
    (unpruned,) = [cell for cell in summary["cells"] if cell["scorer"] == UNPRUNED]
    rows = [
        [kind, percent(interval), f"{100 * chance_of(summary, kind):.1f}"]
        for kind, interval in unpruned["kinds"].items()
    ]
    rows.append(["mean", percent(unpruned["accuracy"]), f"{100 * chance_of(summary):.1f}"])
    return table(["question type", "accuracy, % (95 % interval)", "chance"], rows)


def accuracy_by_scorer(summaries: list[Summary], layer: int, kind: str | None = None) -> str:
    """Returns accuracy in percent of every scorer at one prune layer, by visual tokens kept, and the floors.

    It is the mean over seeds; with several seeds the range over them follows in brackets.
    """
    keeps, visual = summaries[0]["plan"]["keeps"], summaries[0]["visual_tokens"]
    at = [cell for cell in summaries[0]["cells"] if cell["layer"] == layer and cell["keep"] in keeps]
    rows = [
        [name, *(spread([share_of(summary, name, layer, keep, kind) for summary in summaries]) for keep in keeps)]
        for name in dict.fromkeys(cell["scorer"] for cell in at)
    ]
    nothing = spread([share_of(summary, NONE_KEPT, layer, 0, kind) for summary in summaries])
    rows.append([f"*{NONE_KEPT}*", *[nothing] * len(keeps)])
    rows.append(["*chance*", *[spread([chance_of(summaries[0], kind)])] * len(keeps)])
    return table(["scorer", *(f"{keep} ({100 * keep / visual:.1f} %)" for keep in keeps)], rows)


SHORT = ("random", METHOD["paper"], METHOD["released"], "last-token-attention", GROUND_TRUTH)
"""Whom the README compares."""


def short_table(summaries: list[Summary], layer: int = 2, keeps: tuple[int, ...] = (72, 32, 16)) -> str:
    """Returns the README's table: a few scorers at the collapse layer, between the floor and the whole model."""
    rows = [
        [name, *(spread([share_of(summary, name, layer, keep) for summary in summaries]) for keep in keeps)]
        for name in SHORT
    ]
    floor, roof = (
        spread([share_of(summary, NONE_KEPT, layer, 0) for summary in summaries]),
        spread([unpruned_share(summary) for summary in summaries]),
    )
    rows = [[f"*{NONE_KEPT}*", *[floor] * len(keeps)], *rows, [f"*{UNPRUNED}*", *[roof] * len(keeps)]]
    return table([f"accuracy, %, pruned at layer {layer}", *(f"{keep} of 144 kept" for keep in keeps)], rows)


def drop_everything(summaries: list[Summary]) -> str:
    """Returns accuracy in percent when every visual token is dropped at layer K, by question type."""
    kinds = summaries[0]["plan"]["kinds"]
    layers = [cell["layer"] for cell in summaries[0]["cells"] if cell["scorer"] == NONE_KEPT]
    rows = [
        [
            str(layer),
            *(f"{100 * fmean(share_of(s, NONE_KEPT, layer, 0, kind) for s in summaries):.1f}" for kind in kinds),
            spread([share_of(summary, NONE_KEPT, layer, 0) for summary in summaries]),
        ]
        for layer in layers
    ]
    floor = [f"{100 * chance_of(summaries[0], kind):.1f}" for kind in kinds]
    rows.append(["*chance*", *floor, spread([chance_of(summaries[0])])])
    return table(["K", *kinds, "mean"], rows)


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

"""Tables of the page on when to prune."""

from statistics import fmean

from .equal_cost import averages, budget, by_rule, nothing_lost, wins
from .plan import METHOD, NONE_KEPT
from .summary import Summary
from .tables import spread, table


def layers_table(results: list[Summary], scorer: str, equal: str = "average") -> str:
    """Returns accuracy in percent at equal cost, by layer; tokens kept before the colon, the best in bold."""
    layers = range(1, results[0]["layers"])
    rows = []
    for average in averages(results[0]):
        cells = [budget(result, average, equal) for result in results]
        shares = {layer: [each[layer]["accuracy"][scorer] for each in cells] for layer in layers if layer in cells[0]}
        best = max(fmean(values) for values in shares.values())
        row = [f"{average}"]
        for layer in layers:
            if layer not in shares:
                row.append("–")
                continue
            mark = "**" if fmean(shares[layer]) == best else ""
            row.append(f"{cells[0][layer]['keep']}: {mark}{spread(shares[layer])}{mark}")
        rows.append(row)
    found = sorted({result["collapse"]["layer"] for result in results})
    header = [f"K = {layer}" + (", the collapse" if [layer] == found else "") for layer in layers]
    while all(row[-1] == "–" for row in rows):
        rows, header = [row[:-1] for row in rows], header[:-1]
    return table(["average", *header], rows)


def floors_table(results: list[Summary]) -> str:
    """Returns accuracy in percent with no visual token from layer K on, and what the average costs."""
    rows = []
    for layer in range(1, results[0]["layers"]):
        shares = [
            c["accuracy"][0] for r in results for c in r["cells"] if (c["scorer"], c["layer"]) == (NONE_KEPT, layer)
        ]
        average = layer * results[0]["visual_tokens"] / results[0]["layers"]
        rows.append([str(layer), f"{average:g}", spread(shares)])
    rows.append(["*chance*", "0", spread([fmean(results[0]["chance"].values())])])
    return table(["nothing kept from layer", "average", "accuracy, %"], rows)


def rules_table(results: list[Summary], equal: str = "average") -> str:
    """Returns what each rule for the layer comes to, over the budgets at which at least two layers are feasible."""
    chosen = [average for average in averages(results[0]) if len(budget(results[0], average, equal)) > 1]
    rules = {"layer 1": "first", "the collapse layer": "collapse", "as late as can be": "latest", "hindsight": "best"}
    rows = [
        [
            scorer,
            *(
                spread(
                    [fmean(by_rule(result, rule, scorer, average, equal) for average in chosen) for result in results]
                )
                for rule in rules.values()
            ),
        ]
        for scorer in results[0]["scorers"]
    ]
    return table(["scorer", *rules], rows)


def verdict_table(results: dict[str, Summary]) -> str:
    """Returns, for every model, the collapse and whether it is the place to prune."""
    rows = []
    for name, result in results.items():
        collapse, others = result["collapse"], result["other definitions"]
        best = wins(result, METHOD["paper"])
        free = [nothing_lost(result, loss) for loss in (0.01, 0.05)]
        rows.append(
            [
                name,
                f"{collapse['layer']} of {result['layers']}",
                f"{collapse['sharpness']:.2f}",
                f"{100 * collapse['consistency']:.0f} %",
                *(", ".join(map(str, best[how])) or "never" for how in ("clearly", "within noise", "as the latest")),
                " / ".join(map(str, free)),
                ", ".join(f"{key.replace('_', ' ')} {value or 'none'}" for key, value in others.items()),
                verdict(result),
            ]
        )
    header = [
        "model",
        "collapse",
        "sharpness",
        "agree",
        "clearly best although later ones can",
        "best within noise",
        "best as the latest that can",
        "nothing lost from (1 / 5 points)",
        "other definitions",
        "answer",
    ]
    return table(header, rows)


def verdict(result: Summary) -> str:
    """Returns (a) the best layer at a budget that later ones can afford; (b) where nothing is lost; (c) neither."""
    answers = ["a"] if wins(result, METHOD["paper"])["clearly"] else []
    answers += ["b"] if result["collapse"]["layer"] == nothing_lost(result) else []
    return " and ".join(answers) or "c"

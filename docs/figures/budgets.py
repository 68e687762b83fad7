"""Tables and the figure of the page on budgets."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from entropyprune_ref.pruning import average_tokens, prune_plan, tokens_to_keep

MODELS = (
    ("LLaVA-1.5-7B", 32, 576, 2, (192, 128, 64)),
    ("LLaVA-NeXT-7B", 32, 2880, 2, (640, 320, 160)),
)


def published() -> str:
    """The averages that are quoted, and what they leave from the prune layer on."""
    lines = [
        "| model | $L$ | $N$ | $K$ | average $a$ | of $N$ | kept $k$ | average reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, layers, visual, layer, averages in MODELS:
        for average in averages:
            sizes = {"visual_tokens": visual, "layers": layers, "prune_layer": layer}
            try:
                keep = tokens_to_keep(average, **sizes)
                kept, reached = str(keep), f"{float(average_tokens(keep, **sizes)):.2f}"
            except ValueError:
                kept, reached = "infeasible", "–"
            share = f"{100 * average / visual:.1f} %"
            lines.append(f"| {name} | {layers} | {visual} | {layer} | {average} | {share} | {kept} | {reached} |")
    return "\n".join(lines)


def infeasible() -> str:
    """What is said of an average that cannot be met, and what lowering the prune layer makes of it."""
    try:
        tokens_to_keep(160, visual_tokens=2880, layers=32, prune_layer=2)
    except ValueError as error:
        message = str(error)
    plan = prune_plan(average=160, visual_tokens=2880, layers=32, prune_layer=2, lower_prune_layer=True)
    shown = f"```{{ .text .output }}\nValueError: {message}\n```"
    return f"{shown}\n\nLowered to layer {plan.prune_layer}, {plan.keep} tokens can be kept."


def ratios() -> str:
    """The reduction ratios of the Qwen2.5-VL scripts, for a prompt of 1,000 visual tokens."""
    lines = ["| ratio dropped at layer 1 | kept of 1,000 | average over 28 layers |", "| --- | --- | --- |"]
    for ratio in (0.7778, 0.9074):
        plan = prune_plan(ratio=ratio, visual_tokens=1000, layers=28, prune_layer=1)
        average = average_tokens(plan.keep, visual_tokens=1000, layers=28, prune_layer=1)
        lines.append(f"| {ratio} | {plan.keep} | {float(average) / 10:.2f} % |")
    return "\n".join(lines)


def floor() -> Figure:
    """Tokens kept against the average, for several prune layers."""
    layers, visual = 32, 576
    figure, axes = plt.subplots()
    axes.plot([0, visual], [0, visual], color="C6", linestyle=":", linewidth=1)
    for number, layer in enumerate((1, 2, 4, 8)):
        averages = [
            float(average_tokens(keep, visual_tokens=visual, layers=layers, prune_layer=layer)) for keep in (0, visual)
        ]
        label = f"K = {layer}: at least {averages[0]:g}"
        style = {"color": f"C{number}", "linestyle": ["-", "--", "-.", (0, (5, 1))][number]}
        axes.plot(averages, [0, visual], label=label, **style)
        axes.plot(averages[0], 0, marker="o", markersize=5, color=f"C{number}", clip_on=False)
    axes.set(xlabel="average over all layers", ylabel="kept from layer K on", xlim=(0, visual), ylim=(0, visual))
    axes.legend(title="smallest feasible average")
    return figure

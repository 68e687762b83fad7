"""Tables and the figure of the page on FLOPs."""

from bisect import bisect_right
from dataclasses import fields
from fractions import Fraction
from functools import partial

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from entropyprune_ref.flops import (
    CLIP_VIT_L_14_336,
    DECODERS,
    EXACT,
    EXACT_CAUSAL,
    FORMULAS,
    LINEAR_ONLY,
    LLAVA_1_5_7B,
    LLAVA_1_5_7B_PROJECTOR,
    Flops,
    Formula,
    layer_flops,
    prefill_flops,
    pruned_prefill_flops,
    reduction,
    scoring_flops,
)
from entropyprune_ref.pruning import tokens_to_keep

AVERAGES = (192, 128, 64)
HEADLINE = Fraction(682, 1000)
TEXTS = (0, 35, 64, 81, 128)
RULES = {"whole score matrix": EXACT, "causal half": EXACT_CAUSAL, "linear layers only": LINEAR_ONLY}
KEPT = {average: tokens_to_keep(average, visual_tokens=576, layers=32, prune_layer=2) for average in AVERAGES}


def _terms(flops: Flops) -> dict[str, int]:
    named = {field.name.replace("_", " "): getattr(flops, field.name) for field in fields(flops)}
    return {name: value for name, value in named.items() if value}


def layer_terms() -> str:
    """One layer of LLaVA-1.5-7B on its visual tokens and 35 of text, term by term."""
    flops = layer_flops(LLAVA_1_5_7B, 576 + 35)
    lines = ["| term | GFLOP | share |", "| --- | --- | --- |"]
    for name, value in _terms(flops).items():
        lines.append(f"| {name} | {value / 1e9:.2f} | {100 * value / flops.total:.1f} % |")
    lines.append(f"| **one layer** | **{flops.total / 1e9:.2f}** | 100 % |")
    return "\n".join(lines)


def grouped() -> str:
    """Grouped-query attention: what it spares, and what formulas that do not know it say."""
    size = DECODERS["qwen2.5-vl-7b"]
    exact, square = EXACT.layer(size, 1000), FORMULAS["entropyprune"].layer(size, 1000)
    return (
        f"Qwen2.5-VL-7B has {size.heads} query heads and {size.kv_heads} key/value heads. A layer on 1,000 tokens "
        f"takes {exact / 1e9:.1f} GFLOP; a formula that assumes four square projections says {square / 1e9:.1f}, "
        f"{100 * (square / exact - 1):.1f} % too many."
    )


def formulas() -> str:
    """What each rule says of LLaVA-1.5-7B on 576 visual and 35 text tokens."""
    prompt = {"text_tokens": 35, "visual_tokens": 576}
    lines = [
        "| rule | who counts like this | whole prompt | reduction at an average of 128 |",
        "| --- | --- | --- | --- |",
    ]
    for name, rule in FORMULAS.items():
        whole = rule.prefill(LLAVA_1_5_7B, **prompt)
        pruned = rule.pruned_prefill(LLAVA_1_5_7B, prune_layer=2, keep=KEPT[128], **prompt)
        unit = "TFLOP" if rule.flops_per_multiply_add == 2 else "T multiply-adds"
        source = rule.source.replace("^2", "²")
        lines.append(f"| {name} | {source} | {whole / 1e12:.2f} {unit} | {100 * (1 - pruned / whole):.1f} % |")
    return "\n".join(lines)


def _share(rule: Formula, text: int, average: int) -> Fraction:
    """What a rule says is spared."""
    prompt = {"text_tokens": text, "visual_tokens": 576}
    pruned = rule.pruned_prefill(LLAVA_1_5_7B, prune_layer=2, keep=KEPT[average], **prompt)
    return reduction(rule.prefill(LLAVA_1_5_7B, **prompt), pruned)


def _share_of_all(text: int, average: int) -> Fraction:
    """What a counter of linear operators says is spared of the whole model, tower, projector and head included."""
    options = {"attention": "none", "lm_head": "all", "vision": CLIP_VIT_L_14_336, "projector": LLAVA_1_5_7B_PROJECTOR}
    prompt = {"text_tokens": text, "visual_tokens": 576, **options}
    pruned = pruned_prefill_flops(LLAVA_1_5_7B, prune_layer=2, keep=KEPT[average], **prompt)
    return reduction(prefill_flops(LLAVA_1_5_7B, **prompt), pruned)


def _headline(share: Fraction) -> bool:
    """Whether a share rounds to the 68.2 % of the abstract."""
    return -Fraction(5, 10000) <= share - HEADLINE < Fraction(5, 10000)


def headline() -> str:
    """Reduction over rule, text tokens and budget; the headline's figure in bold."""
    lines = ["| rule | text tokens | " + " | ".join(f"average {a} ({KEPT[a]} kept)" for a in AVERAGES) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(AVERAGES))
    for name, rule in RULES.items():
        for text in TEXTS:
            shares = [_share(rule, text, average) for average in AVERAGES]
            cells = [f"**{100 * float(s):.2f} %**" if _headline(s) else f"{100 * float(s):.2f} %" for s in shares]
            lines.append(f"| {name} | {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def readings() -> str:
    """The text tokens at which a rule and a budget give the headline's figure; more text, less is spared."""
    counts = {name: partial(_share, rule) for name, rule in RULES.items()}
    counts["linear layers of the whole model: tower, projector, head on every position"] = _share_of_all
    lines = ["| rule | " + " | ".join(f"average {average}" for average in AVERAGES) + " |"]
    lines.append("| --- |" + " --- |" * len(AVERAGES))
    for name, share in counts.items():
        cells = []
        for average in AVERAGES:
            text = bisect_right(range(1000), -HEADLINE, key=lambda text, average=average: -share(text, average))
            near = [place for place in (text - 1, text) if place >= 0 and _headline(share(place, average))]
            many = f"{' or '.join(map(str, near))} text tokens"
            cells.append(many if near else f"none: {100 * float(share(0, average)):.1f} % without text")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def quoted() -> str:
    """Figures that are quoted for LLaVA-1.5-7B, and the rule, length and depth that lead to them."""
    lines = ["| quoted | what it is | by this code |", "| --- | --- | --- |"]
    for quote, name, tokens, layers, scale in (
        ("3.82 T", "sparsevlm", 576, 32, "T"),
        ("99.3 G, by FastV", "fastv", 612, 1, "G"),
        ("3.23 T", "fastv", 622, 32, "T"),
    ):
        total = layers * FORMULAS[name].layer(LLAVA_1_5_7B, tokens) / {"T": 1e12, "G": 1e9}[scale]
        depth = "one layer" if layers == 1 else f"{layers} layers"
        what = f"multiply-adds of {depth} on {tokens} tokens, rule {name}"
        lines.append(f"| {quote} | {what} | {total:.2f} {scale} |")
    return "\n".join(lines)


def scoring() -> str:
    """What the method itself costs."""
    gram, covariance = (scoring_flops(LLAVA_1_5_7B, 576, side=side).total for side in ("gram", "covariance"))
    prompt = prefill_flops(LLAVA_1_5_7B, text_tokens=35, visual_tokens=576).total
    return (
        f"For LLaVA-1.5-7B that is {gram / 1e9:.2f} GFLOP on the Gram side ({covariance / 1e9:.1f} on the covariance "
        f"side, {covariance / gram:.0f} times as many), against {prompt / 1e12:.2f} TFLOP of prefill: "
        f"{100 * gram / prompt:.4f} %."
    )


def curve() -> Figure:
    """Share of FLOPs that is left, against tokens kept, for several prune layers."""
    figure, axes = plt.subplots()
    prompt = {"text_tokens": 35, "visual_tokens": 576}
    whole = prefill_flops(LLAVA_1_5_7B, **prompt).total
    keeps = range(0, 577, 16)
    for number, layer in enumerate((1, 2, 8, 16)):
        left = [
            100 * pruned_prefill_flops(LLAVA_1_5_7B, prune_layer=layer, keep=keep, **prompt).total / whole
            for keep in keeps
        ]
        axes.plot(keeps, left, label=f"K = {layer}", color=f"C{number}", linestyle=["-", "--", "-.", ":"][number])
    axes.set(xlabel="visual tokens kept, of 576", ylabel="FLOPs left, %", ylim=(0, 102))
    axes.legend()
    return figure

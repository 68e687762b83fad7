"""The table and the figure of the page on notation."""

import matplotlib.pyplot as plt
from _model import model
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from entropyprune_ref.flops import CLIP_VIT_L_14_336, LLAVA_1_5_7B
from entropyprune_ref.pruning import tokens_to_keep

LAYER, AVERAGE = 2, 192


def table() -> str:
    """Every symbol: what it means, its name in code, and its value in LLaVA-1.5-7B and in the bundled model."""
    large, decoder, vision = LLAVA_1_5_7B, model().config.decoder, model().config.vision
    patches, side = CLIP_VIT_L_14_336.patches, CLIP_VIT_L_14_336.image_size // CLIP_VIT_L_14_336.patch_size
    keep = tokens_to_keep(AVERAGE, visual_tokens=patches, layers=large.layers, prune_layer=LAYER)
    rows = [
        ("$L$", "decoder layers, numbered 0 to $L - 1$", "`layers`", large.layers, decoder.layers),
        (
            "$N$",
            "visual tokens in the prompt",
            "`visual_tokens`",
            f"{patches} = {side} × {side}",
            f"{vision.patches} = {vision.grid} × {vision.grid}",
        ),
        ("$T$", "text tokens in the prompt", "`text_tokens`", "about 35 and the question", "the question"),
        ("$n$", "tokens that a layer sees: $N + T$ before pruning, $k + T$ after", "`tokens`", "", ""),
        ("$d$", "hidden size", "`hidden`", large.hidden, decoder.hidden),
        ("$m$", "inner size of the MLP", "`mlp`", large.mlp, decoder.mlp),
        ("$h$", "query heads", "`heads`", large.heads, decoder.heads),
        ("$h_{kv}$", "key/value heads", "`kv_heads`", large.kv_heads, decoder.kv_heads),
        ("$d_h$", "size of one head", "`head_dim`", large.head_dim, decoder.head_dim),
        ("$K$", "prune layer: pruning happens at the *input* of decoder layer $K$", "`prune_layer`", LAYER, 2),
        ("$k$", "visual tokens kept from layer $K$ on", "`keep`", keep, ""),
        ("$a$", "visual tokens per layer, averaged over all layers", "`average`", AVERAGE, ""),
        ("$Z$", "features, $n$ samples as rows and $p$ dims as columns", "`features`", "", ""),
        ("$\\tilde Z$", "the same, centred", "`centred`", "", ""),
        ("$\\rho$", "density matrix: symmetric, positive semi-definite, trace 1", "`density_matrix`", "", ""),
        ("$\\lambda_i$", "its eigenvalues, descending", "`spectrum`", "", ""),
        ("$H$", "matrix entropy, in nats", "`matrix_entropy`", "", ""),
        (
            "$Q_t$",
            "queries of all heads of token $t$: heads as rows",
            "`queries`",
            f"{large.heads} × {large.head_dim}",
            f"{decoder.heads} × {decoder.head_dim}",
        ),
        ("$s$", "energy of a token: mean squared length of its centred queries, the trace over $h$", "", "", ""),
        ("$H_i$", "matrix entropy of the visual tokens at state $i$", "`layer_entropy`", "", ""),
    ]
    lines = ["| symbol | meaning | name in code | LLaVA-1.5-7B | bundled model |", "| --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    note = (
        f"$k = {keep}$ is what an average of {AVERAGE} leaves at $K = {LAYER}$ ([Eq. 5.1](budgets.md#eq-5-1)); "
        f"$K = {LAYER}$ is the value in the released scripts for LLaVA-1.5-7B, and where the entropy of the bundled "
        "model collapses ([Eq. 4.3](collapse-layer.md#eq-4-3))."
    )
    return '<div class="words" markdown>\n\n' + "\n".join(lines) + "\n\n</div>\n\n" + note


def layers_and_states() -> Figure:
    """States and layers of a decoder that is pruned at layer 2, with the sequence that each sees."""
    ink = plt.rcParams["text.color"]
    figure, axes = plt.subplots(figsize=(7.4, 2.7))
    heights = {0: 1.0, 1: 1.0, 2: 1.0, 3: 0.45, 4: 0.45}
    for state, height in heights.items():
        x = 2.6 * state
        axes.plot([x, x], [-height, height], linewidth=5, color="C0", solid_capstyle="butt")
        axes.text(x, 1.18, f"state {state}" if state < 4 else "state L", ha="center", fontsize=9)
    for layer, name in enumerate(("layer 0", "layer 1\n= K−1", "layer 2\n= K", "…")):
        x, pruned = 2.6 * layer, layer >= 2
        height = 0.45 if pruned else 1.0
        start = x + (0.9 if layer == 2 else 0.45)
        width = x + 2.2 - start
        axes.add_patch(
            FancyBboxPatch(
                (start, -height),
                width,
                2 * height,
                boxstyle="round,pad=0,rounding_size=0.12",
                fill=False,
                edgecolor=ink,
            )
        )
        axes.text(start + width / 2, 0, name, ha="center", va="center", fontsize=9)
    axes.plot([5.85, 5.85], [-0.45, 0.45], linewidth=5, color="C1", solid_capstyle="butt")
    arrow = {"arrowstyle": "->", "color": "C1", "connectionstyle": "arc3,rad=-0.25"}
    axes.annotate("", (5.85, -0.55), (3.95, -1.05), arrowprops=arrow | {"connectionstyle": "arc3,rad=0.35"})
    axes.text(11.0, -1.55, "queries of layer K−1 score the visual tokens;", ha="right", fontsize=9, color="C1")
    axes.text(11.0, -1.95, "the k best and all text enter layer K", ha="right", fontsize=9, color="C1")
    axes.text(-0.2, -1.35, "N + T tokens", ha="left", fontsize=9, color="C0")
    axes.text(9.0, -0.85, "k + T tokens", ha="left", fontsize=9, color="C0")
    axes.set(xlim=(-0.6, 11.0), ylim=(-2.05, 1.45))
    axes.axis("off")
    return figure

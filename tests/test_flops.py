"""Section 6: FLOPs against hand-worked figures, against PyTorch's own counter, and their laws.

Everything here is integer arithmetic, so every comparison is exact: there are no tolerances.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from entropyprune_ref.flops import (
    CALFLOPS_LIKE,
    CLIP_VIT_L_14_336,
    ENTROPYPRUNE,
    EXACT,
    EXACT_CAUSAL,
    FASTV,
    FORMULAS,
    LINEAR_ONLY,
    LLAVA_1_5_7B,
    LLAVA_1_5_7B_PROJECTOR,
    LLAVA_1_5_13B,
    LLAVA_1_5_13B_PROJECTOR,
    PYRAMIDDROP,
    QWEN_2_5_VL_7B,
    SPARSEVLM,
    DecoderSize,
    Flops,
    Formula,
    ProjectorSize,
    VisionSize,
    decode_flops,
    layer_flops,
    prefill_flops,
    projector_flops,
    pruned_prefill_flops,
    reduction,
    scoring_flops,
    vision_flops,
)

ATTENTIONS = ("full", "causal", "none")
HEADS = ("none", "last", "all")


@st.composite
def decoder_sizes(draw: st.DrawFn, largest: int = 12) -> DecoderSize:
    """Any decoder: grouped queries, heads that do not fill the hidden size, two or three MLP matrices."""
    count = st.integers(1, largest)
    kv_heads = draw(st.integers(1, 3))
    return DecoderSize(
        layers=draw(st.integers(2, 5)),
        hidden=draw(count),
        heads=kv_heads * draw(st.integers(1, 3)),
        kv_heads=kv_heads,
        head_dim=draw(count),
        mlp=draw(count),
        mlp_matrices=draw(st.sampled_from((2, 3))),
        vocabulary=draw(count),
    )


@st.composite
def prunings(draw: st.DrawFn, size: DecoderSize) -> dict[str, int]:
    """Text tokens, visual tokens, a prune layer and a number to keep; at least one token is left."""
    visual = draw(st.integers(0, 20))
    return {
        "text_tokens": draw(st.integers(1, 10)),
        "visual_tokens": visual,
        "prune_layer": draw(st.integers(1, size.layers - 1)),
        "keep": draw(st.integers(0, visual)),
    }


# Worked by hand.


def test_layer_flops_of_one_token_worked_by_hand() -> None:
    """d = 2, three query heads of size 5 on one key/value head, m = 7: each matrix is 2 x rows x columns."""
    size = DecoderSize(layers=1, hidden=2, heads=3, kv_heads=1, head_dim=5, mlp=7)
    flops = layer_flops(size, 1)
    assert flops == Flops(
        query_projection=2 * 2 * 15,
        key_value_projections=2 * 2 * 5 * 2,
        output_projection=2 * 15 * 2,
        attention_scores=2 * 3 * 5,
        attention_values=2 * 3 * 5,
        mlp=2 * 2 * 7 * 3,
    )
    assert flops.total == 60 + 40 + 60 + 30 + 30 + 84


@pytest.mark.parametrize(
    ("formula", "tokens", "layers", "expected"),
    [
        (SPARSEVLM, 576, 32, "3.817e12"),  # the familiar 3.82 T
        (FASTV, 576, 32, "2.986e12"),
        (ENTROPYPRUNE, 576, 32, "7.634e12"),
        (FASTV, 612, 1, "9.933e10"),  # FastV's 99.3 G is one layer
        (FASTV, 612, 32, "3.178e12"),
        (FASTV, 622, 32, "3.232e12"),
        (EXACT, 611, 32, "8.109e12"),
        (EXACT_CAUSAL, 611, 32, "8.012e12"),
    ],
)
def test_formulas_reproduce_figures_that_papers_quote_for_llava(
    formula: Formula, tokens: int, layers: int, expected: str
) -> None:
    assert f"{layers * formula.layer(LLAVA_1_5_7B, tokens):.3e}".replace("e+", "e") == expected


def test_prefill_flops_of_llava_are_eight_and_a_half_teraflops_at_64_text_tokens() -> None:
    assert round(prefill_flops(LLAVA_1_5_7B, text_tokens=64, visual_tokens=576).total / 1e12, 1) == 8.5


@pytest.mark.parametrize(
    ("keep", "text_tokens", "percent"),
    [
        (166, 0, 67.2),
        (166, 35, 63.4),
        (166, 64, 60.6),
        (98, 0, 78.1),
        (98, 35, 73.7),
        (98, 64, 70.5),
        (29, 0, 89.1),
        (29, 35, 84.1),
        (29, 64, 80.4),
    ],
)
def test_reduction_of_llava_at_layer_two_worked_in_advance(keep: int, text_tokens: int, percent: float) -> None:
    """Average budgets 192, 128 and 64, worked out apart from this code; rules with attention agree within 0.2."""
    prompt = {"text_tokens": text_tokens, "visual_tokens": 576}
    shares = {}
    for name, rule in FORMULAS.items():
        pruned = rule.pruned_prefill(LLAVA_1_5_7B, prune_layer=2, keep=keep, **prompt)
        shares[name] = 100 * reduction(rule.prefill(LLAVA_1_5_7B, **prompt), pruned)
    assert round(float(shares["exact"]), 1) == percent
    assert shares["exact"] == shares["entropyprune"] == shares["sparsevlm"] == shares["pyramiddrop"]
    assert abs(shares["fastv"] - shares["exact"]) < 0.2
    assert shares["linear-only"] < shares["exact-causal"] < shares["exact"]


def test_reduction_reads_the_headline_as_linear_layers_at_128_tokens_and_81_of_text() -> None:
    """One consistent reading (inferred) of 68.2 %: with linear layers only, sizes cancel and token counts stay."""
    prompt = {"text_tokens": 81, "visual_tokens": 576}
    whole = LINEAR_ONLY.prefill(LLAVA_1_5_7B, **prompt)
    share = reduction(whole, LINEAR_ONLY.pruned_prefill(LLAVA_1_5_7B, prune_layer=2, keep=98, **prompt))
    assert share == 1 - Fraction(2 * 657 + 30 * 179, 32 * 657)
    assert round(100 * float(share), 2) == 68.21
    exact = reduction(
        EXACT.prefill(LLAVA_1_5_7B, **prompt),
        EXACT.pruned_prefill(LLAVA_1_5_7B, prune_layer=2, keep=98, **prompt),
    )
    assert exact > share  # with the quadratic term the same setting gives a little more


def test_scoring_flops_of_llava_are_below_a_gigaflop() -> None:
    gram, covariance = (scoring_flops(LLAVA_1_5_7B, 576, side=side).total for side in ("gram", "covariance"))
    assert gram == 576 * (32 * 128 + 2 * 32**2 * 128 + 9 * 32**3) < 10**9
    assert covariance == 576 * (32 * 128 + 2 * 128**2 * 32 + 9 * 128**3)
    assert round(covariance / gram) in range(4, 65)  # between the ratio of the matrices and that of the eigenvalues


# Against PyTorch's counter, on a decoder and a tower that are written here once more.


def weight(rows: int, columns: int, like: Tensor) -> Tensor:
    return torch.empty(rows, columns, device=like.device, dtype=like.dtype)


def decoder_layer(x: Tensor, size: DecoderSize, fused: bool = False, bias: bool = False) -> Tensor:
    """One layer with explicit or fused attention; values do not matter, only which products are formed."""
    batch, tokens, _ = x.shape
    width, kv_width = size.heads * size.head_dim, size.kv_heads * size.head_dim
    q, k, v = (
        F.linear(x, weight(out, size.hidden, x), x.new_empty(out) if bias else None)
        .view(batch, tokens, -1, size.head_dim)
        .transpose(1, 2)
        for out in (width, kv_width, kv_width)
    )
    k, v = (t.repeat_interleave(size.heads // size.kv_heads, dim=1) for t in (k, v))
    if fused:
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        mixed = (q @ k.transpose(-1, -2)).softmax(dim=-1) @ v
    x = x + F.linear(mixed.transpose(1, 2).reshape(batch, tokens, width), weight(size.hidden, width, x))
    up = F.linear(x, weight(size.mlp, size.hidden, x))
    if size.mlp_matrices == 3:
        up = up * F.linear(x, weight(size.mlp, size.hidden, x))
    return x + F.linear(up, weight(size.hidden, size.mlp, x))


def counted_prefill(
    size: DecoderSize,
    text_tokens: int,
    visual_tokens: int,
    prune_layer: int | None = None,
    keep: int = 0,
    lm_head: str = "none",
    fused: bool = False,
    device: str = "meta",
    batch: int = 1,
) -> int:
    with FlopCounterMode(display=False) as counter:
        x = torch.empty(batch, visual_tokens + text_tokens, size.hidden, device=device)
        for layer in range(size.layers):
            x = x[:, visual_tokens - keep :] if layer == prune_layer else x
            x = decoder_layer(x, size, fused)
        if lm_head != "none":
            F.linear(x[:, -1:] if lm_head == "last" else x, weight(size.vocabulary, size.hidden, x))
    return counter.get_total_flops()


def counted_tower(size: VisionSize, images: int) -> int:
    with FlopCounterMode(display=False) as counter:
        pixels = torch.empty(images, size.channels, size.image_size, size.image_size, device="meta")
        kernel = torch.empty(size.hidden, size.channels, size.patch_size, size.patch_size, device="meta")
        x = F.conv2d(pixels, kernel, stride=size.patch_size).flatten(2).transpose(1, 2)
        x = torch.cat([x.new_empty(images, 1, size.hidden), x], dim=1)
        head_dim = size.hidden // size.heads
        stack = DecoderSize(size.layers, size.hidden, size.heads, size.heads, head_dim, size.mlp, mlp_matrices=2)
        for _ in range(size.layers):
            x = decoder_layer(x, stack, bias=True)
    return counter.get_total_flops()


@given(st.data())
def test_prefill_flops_equal_the_torch_flop_counter(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    batch, lm_head = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(HEADS))
    prompt = {name: pruning[name] for name in ("text_tokens", "visual_tokens")}
    assert batch * prefill_flops(size, lm_head=lm_head, **prompt).total == counted_prefill(
        size, lm_head=lm_head, batch=batch, **prompt
    )
    assert batch * pruned_prefill_flops(size, lm_head=lm_head, **pruning).total == counted_prefill(
        size, lm_head=lm_head, batch=batch, **pruning
    )


@pytest.mark.parametrize("size", [LLAVA_1_5_7B, LLAVA_1_5_13B, QWEN_2_5_VL_7B], ids=["7b", "13b", "qwen-7b"])
def test_prefill_flops_equal_the_torch_flop_counter_at_real_sizes(size: DecoderSize) -> None:
    prompt = {"text_tokens": 64, "visual_tokens": 576}
    assert prefill_flops(size, lm_head="all", **prompt).total == counted_prefill(size, lm_head="all", **prompt)
    pruning = {"prune_layer": 2, "keep": 166, **prompt}
    assert pruned_prefill_flops(size, **pruning).total == counted_prefill(size, **pruning)


@pytest.mark.parametrize(
    ("tower", "projector", "images"),
    [
        (VisionSize(layers=2, hidden=6, heads=2, mlp=5, image_size=8, patch_size=4), ProjectorSize(6, 7), 3),
        (
            VisionSize(layers=1, hidden=4, heads=1, mlp=9, image_size=6, patch_size=2, channels=1),
            ProjectorSize(4, 3),
            1,
        ),
        (CLIP_VIT_L_14_336, LLAVA_1_5_7B_PROJECTOR, 1),
        (CLIP_VIT_L_14_336, LLAVA_1_5_13B_PROJECTOR, 5),
    ],
    ids=["tiny", "grey", "7b", "13b-five-tiles"],
)
def test_vision_flops_equal_the_torch_flop_counter(tower: VisionSize, projector: ProjectorSize, images: int) -> None:
    assert vision_flops(tower, images).total == vision_flops(tower, images).vision_tower == counted_tower(tower, images)
    with FlopCounterMode(display=False) as counter:
        x = torch.empty(images * tower.patches, projector.inputs, device="meta")
        x = F.linear(x, weight(projector.outputs, projector.inputs, x), x.new_empty(projector.outputs))
        F.linear(x, weight(projector.outputs, projector.outputs, x), x.new_empty(projector.outputs))
    assert projector_flops(projector, images * tower.patches).total == counter.get_total_flops()


@given(decoder_sizes(), st.integers(0, 50))
def test_scoring_flops_form_the_matrix_as_torch_counts_it(size: DecoderSize, tokens: int) -> None:
    """Without eigenvalues and centring, which the counter does not see, what is left is one product per token."""
    for side in ("gram", "covariance"):
        with FlopCounterMode(display=False) as counter:
            queries = torch.empty(tokens, size.heads, size.head_dim, device="meta")
            _ = queries @ queries.mT if side == "gram" else queries.mT @ queries
        formed = scoring_flops(size, tokens, side=side, eigen_cost=0).total - tokens * size.heads * size.head_dim
        assert formed == counter.get_total_flops()


def test_layer_flops_fused_attention_is_counted_by_torch_on_the_meta_device_only() -> None:
    """PyTorch's counter sees nothing of fused attention on the CPU, and the whole score matrix on the meta device.

    A counter's figure for fused attention is therefore `attention="none"` or `"full"`, and never `"causal"`.
    """
    size = DecoderSize(layers=2, hidden=8, heads=2, kv_heads=1, head_dim=4, mlp=8)
    for device, attention in (("cpu", "none"), ("meta", "full")):
        counted = counted_prefill(size, 3, 5, fused=True, device=device)
        assert counted == prefill_flops(size, text_tokens=3, visual_tokens=5, attention=attention).total
    explicit = counted_prefill(size, 3, 5, device="cpu")
    assert explicit == prefill_flops(size, text_tokens=3, visual_tokens=5).total


# Laws.


@given(st.data())
def test_flops_terms_add_up_to_the_total(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    flops = pruned_prefill_flops(
        size, **pruning, scoring=True, lm_head="all", projector=ProjectorSize(inputs=3, outputs=size.hidden)
    )
    assert sum(flops.terms.values()) == flops.total
    assert all(type(count) is int and count >= 0 for count in flops.terms.values())
    parts = [replace(Flops(), **{name: count}) for name, count in flops.terms.items()]
    assert sum((part.total for part in parts), start=0) == flops.total


@given(decoder_sizes(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 7))
def test_flops_add_and_multiply_term_by_term(size: DecoderSize, some: int, more: int, times: int) -> None:
    one, other = layer_flops(size, some), layer_flops(size, more)
    both = one + other
    assert both.terms == {name: one.terms[name] + other.terms[name] for name in one.terms}
    assert both.total == one.total + other.total
    assert times * one == one * times == sum([one] * times, start=Flops())


@given(decoder_sizes(), st.integers(0, 40), st.sampled_from(ATTENTIONS))
def test_layer_flops_grouped_queries_shrink_only_the_key_value_term(
    size: DecoderSize, tokens: int, attention: str
) -> None:
    grouped = layer_flops(size, tokens, attention=attention)
    every = layer_flops(replace(size, kv_heads=size.heads), tokens, attention=attention)
    assert grouped.key_value_projections * size.heads == every.key_value_projections * size.kv_heads
    assert replace(grouped, key_value_projections=0) == replace(every, key_value_projections=0)


@given(decoder_sizes(), st.integers(0, 30), st.integers(0, 30))
def test_layer_flops_causal_cost_does_not_depend_on_the_split_over_the_cache(
    size: DecoderSize, first: int, second: int
) -> None:
    whole = layer_flops(size, first + second, attention="causal")
    assert (
        layer_flops(size, first, attention="causal") + layer_flops(size, second, cached=first, attention="causal")
        == whole
    )


@given(decoder_sizes(), st.integers(0, 100))
def test_layer_flops_causal_counts_half_the_score_matrix_and_its_diagonal(size: DecoderSize, tokens: int) -> None:
    full, causal, none = (layer_flops(size, tokens, attention=attention) for attention in ATTENTIONS)
    pairs = sum(1 for query in range(tokens) for key in range(tokens) if key <= query)
    assert causal.attention_scores * tokens**2 == full.attention_scores * pairs
    assert causal.attention_values == causal.attention_scores
    without = {"attention_scores": 0, "attention_values": 0}
    assert replace(full, **without) == replace(causal, **without) == none


@given(decoder_sizes(), st.integers(0, 50), st.integers(0, 50))
def test_scoring_flops_are_linear_in_tokens(size: DecoderSize, some: int, more: int) -> None:
    assert scoring_flops(size, some) + scoring_flops(size, more) == scoring_flops(size, some + more)


@given(decoder_sizes(), st.integers(0, 50))
def test_scoring_flops_agree_on_both_sides_of_a_square_token(size: DecoderSize, tokens: int) -> None:
    square = replace(size, head_dim=size.heads)
    assert scoring_flops(square, tokens) == scoring_flops(square, tokens, side="covariance")
    wider = replace(size, head_dim=size.heads + 1)
    assert scoring_flops(wider, tokens + 1).total < scoring_flops(wider, tokens + 1, side="covariance").total


@given(st.data())
def test_prefill_flops_are_linear_in_layers(data: st.DataObject) -> None:
    size, attention = data.draw(decoder_sizes()), data.draw(st.sampled_from(ATTENTIONS))
    prompt = {"text_tokens": data.draw(st.integers(0, 20)), "visual_tokens": data.draw(st.integers(0, 20))}
    one = prefill_flops(replace(size, layers=1), attention=attention, **prompt)
    assert prefill_flops(size, attention=attention, **prompt) == size.layers * one


@given(decoder_sizes(), st.integers(0, 20), st.integers(0, 20), st.sampled_from(ATTENTIONS))
def test_prefill_flops_grow_with_tokens(size: DecoderSize, text: int, visual: int, attention: str) -> None:
    def cost(text: int, visual: int) -> int:
        return prefill_flops(size, text_tokens=text, visual_tokens=visual, attention=attention).total

    assert cost(text, visual) < cost(text + 1, visual) == cost(text, visual + 1)


@given(st.data())
def test_pruned_prefill_flops_are_full_layers_then_short_layers(data: st.DataObject) -> None:
    size, attention = data.draw(decoder_sizes()), data.draw(st.sampled_from(ATTENTIONS))
    pruning = data.draw(prunings(size))
    text, visual, layer, keep = pruning.values()
    expected = layer * layer_flops(size, visual + text, attention=attention) + (size.layers - layer) * layer_flops(
        size, keep + text, attention=attention
    )
    assert pruned_prefill_flops(size, attention=attention, **pruning) == expected
    scored = pruned_prefill_flops(size, attention=attention, scoring=True, **pruning)
    assert scored == expected + scoring_flops(size, visual)


@given(st.data())
def test_pruned_prefill_flops_keep_all_equals_unpruned(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    options = {"attention": data.draw(st.sampled_from(ATTENTIONS)), "lm_head": data.draw(st.sampled_from(HEADS))}
    prompt = {name: pruning[name] for name in ("text_tokens", "visual_tokens")}
    everything = pruned_prefill_flops(size, **{**pruning, "keep": pruning["visual_tokens"]}, **options)
    assert everything == prefill_flops(size, **prompt, **options)


@given(st.data())
def test_pruned_prefill_flops_grow_with_keep_and_layer(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    cost = pruned_prefill_flops(size, **pruning).total
    if pruning["keep"] < pruning["visual_tokens"]:
        assert pruned_prefill_flops(size, **{**pruning, "keep": pruning["keep"] + 1}).total > cost
        if pruning["prune_layer"] + 1 < size.layers:
            assert pruned_prefill_flops(size, **{**pruning, "prune_layer": pruning["prune_layer"] + 1}).total > cost


def test_prefill_flops_add_tower_projector_and_head_on_request() -> None:
    prompt = {"text_tokens": 64, "visual_tokens": 2880}
    bare = prefill_flops(LLAVA_1_5_7B, **prompt)
    whole = prefill_flops(
        LLAVA_1_5_7B, vision=CLIP_VIT_L_14_336, projector=LLAVA_1_5_7B_PROJECTOR, lm_head="last", **prompt
    )
    assert whole == bare + vision_flops(CLIP_VIT_L_14_336, images=5) + projector_flops(
        LLAVA_1_5_7B_PROJECTOR, 2880
    ) + Flops(lm_head=2 * 4096 * 32_064)
    pruned = pruned_prefill_flops(
        LLAVA_1_5_7B, vision=CLIP_VIT_L_14_336, projector=LLAVA_1_5_7B_PROJECTOR, prune_layer=2, keep=149, **prompt
    )
    assert (pruned.vision_tower, pruned.projector) == (whole.vision_tower, whole.projector)


def test_vision_flops_are_never_causal() -> None:
    full, causal, none = (vision_flops(CLIP_VIT_L_14_336, attention=attention).total for attention in ATTENTIONS)
    assert full == causal
    assert full - none == 23 * 4 * 577**2 * 1024


@given(decoder_sizes(), st.integers(1, 12))
def test_decode_flops_add_up_to_causal_prefill(size: DecoderSize, tokens: int) -> None:
    steps = [decode_flops(size, text_tokens=done, visual_tokens=0, lm_head="none") for done in range(tokens)]
    assert sum(steps, start=Flops()) == prefill_flops(size, text_tokens=tokens, visual_tokens=0, attention="causal")


@given(st.data())
def test_decode_flops_pruning_spares_only_attention(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    prompt = {name: pruning[name] for name in ("text_tokens", "visual_tokens")}
    dense, short = decode_flops(size, **prompt), decode_flops(size, **pruning)
    dropped = (pruning["visual_tokens"] - pruning["keep"]) * (size.layers - pruning["prune_layer"])
    assert dense.attention_scores - short.attention_scores == 2 * dropped * size.heads * size.head_dim
    without = {"attention_scores": 0, "attention_values": 0}
    assert replace(dense, **without) == replace(short, **without)
    assert dense.lm_head == 2 * size.hidden * size.vocabulary


@given(st.integers(1, 1000), st.integers(1, 5000), st.integers(1, 5000))
def test_formulas_equal_what_their_sources_write(n: int, d: int, m: int) -> None:
    """Whatever the heads are: those sources have none in their formulas."""
    size = DecoderSize(layers=2, hidden=d, heads=6, kv_heads=2, head_dim=5, mlp=m, mlp_matrices=3, vocabulary=11)
    assert FASTV.layer(size, n) == 4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m
    assert SPARSEVLM.layer(size, n) == PYRAMIDDROP.layer(size, n) == 4 * n * d**2 + 2 * n**2 * d + 3 * n * d * m
    assert ENTROPYPRUNE.layer(size, n) == 8 * n * d**2 + 4 * n**2 * d + 6 * n * d * m
    linear = 2 * n * d * (2 * 30 + 2 * 10) + 6 * n * d * m
    assert LINEAR_ONLY.layer(size, n) == linear
    assert EXACT.layer(size, n) == linear + 4 * n**2 * 30
    assert EXACT_CAUSAL.layer(size, n) == linear + 2 * n * (n + 1) * 30
    assert CALFLOPS_LIKE.prefill(size, text_tokens=n, visual_tokens=0) == 2 * linear + 2 * n * d * 11


def test_formulas_that_know_four_square_projections_are_exact_for_llama_and_wrong_for_grouped_queries() -> None:
    for size in (LLAVA_1_5_7B, LLAVA_1_5_13B):
        assert ENTROPYPRUNE.layer(size, 640) == EXACT.layer(size, 640)
    too_much = ENTROPYPRUNE.layer(QWEN_2_5_VL_7B, 640) - EXACT.layer(QWEN_2_5_VL_7B, 640)
    assert too_much == 2 * 640 * 3584 * 2 * (28 - 4) * 128


@given(st.data())
def test_reduction_is_the_same_in_multiply_adds(data: st.DataObject) -> None:
    size = data.draw(decoder_sizes())
    pruning = data.draw(prunings(size))
    prompt = {name: pruning[name] for name in ("text_tokens", "visual_tokens")}
    for formula in FORMULAS.values():
        shares = [
            reduction(rule.prefill(size, **prompt), rule.pruned_prefill(size, **pruning))
            for rule in (replace(formula, flops_per_multiply_add=unit) for unit in (1, 2))
        ]
        assert shares[0] == shares[1]
        assert isinstance(shares[0], Fraction) and 0 <= shares[0] < 1


def test_prefill_flops_are_exact_integers_at_any_size() -> None:
    """10^30 tokens: far beyond 64 bits and beyond what a double tells apart."""
    n = 10**30
    flops = prefill_flops(LLAVA_1_5_7B, text_tokens=1, visual_tokens=n)
    assert flops.total == 32 * (8 * (n + 1) * 4096**2 + 4 * (n + 1) ** 2 * 4096 + 6 * (n + 1) * 4096 * 11_008)


def test_decoder_size_presets_have_the_published_parameter_counts() -> None:
    """Weights that FLOPs pass through, next to the published sizes: 6.5 G of Llama-7B's 6.7, 12.7 G of 13B's 13.0."""
    for size, billions in ((LLAVA_1_5_7B, 6.48), (LLAVA_1_5_13B, 12.69), (QWEN_2_5_VL_7B, 6.53)):
        weights = EXACT.prefill(replace(size), text_tokens=1, visual_tokens=0) // 2
        attention = size.layers * 2 * size.heads * size.head_dim
        assert round((weights - attention) / 1e9, 2) == billions


def test_the_vocabulary_is_llama_s_unless_it_is_given() -> None:
    assert DecoderSize(layers=1, hidden=1, heads=1, kv_heads=1, head_dim=1, mlp=1).vocabulary == 32_000


# Errors.


def test_decoder_size_rejects_heads_that_are_not_a_multiple_of_kv_heads() -> None:
    with pytest.raises(ValueError, match="heads must be a multiple of kv_heads = 3, got heads = 4"):
        DecoderSize(layers=1, hidden=4, heads=4, kv_heads=3, head_dim=1, mlp=1)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    "field", ["layers", "hidden", "heads", "kv_heads", "head_dim", "mlp", "mlp_matrices", "vocabulary"]
)
def test_decoder_size_rejects_fields_that_are_no_positive_integers(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        replace(LLAVA_1_5_7B, **{field: 0})
    with pytest.raises(TypeError, match=f"{field} must be an int, got float 2.0"):
        replace(LLAVA_1_5_7B, **{field: 2.0})


def test_vision_size_and_projector_size_reject_what_does_not_divide_or_is_not_positive() -> None:
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size = 14, got image_size = 335"):
        replace(CLIP_VIT_L_14_336, image_size=335)
    with pytest.raises(ValueError, match="hidden must be a multiple of heads = 15, got hidden = 1024"):
        replace(CLIP_VIT_L_14_336, heads=15)
    with pytest.raises(ValueError, match="outputs must be at least 1, got -1"):
        ProjectorSize(3, -1)


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"prune_layer": 0}, ValueError, "prune_layer must be between 1 and 31, got 0"),
        ({"prune_layer": 32}, ValueError, "prune_layer must be between 1 and 31, got 32"),
        ({"prune_layer": True}, TypeError, "prune_layer must be an int, got bool True"),
        ({"keep": 577}, ValueError, "keep must be between 0 and 576, got 577"),
        ({"keep": -1}, ValueError, "keep must be between 0 and 576, got -1"),
        ({"keep": 166.0}, TypeError, "keep must be an int, got float 166.0"),
        ({"text_tokens": -1}, ValueError, "text_tokens must be at least 0, got -1"),
        ({"visual_tokens": -1}, ValueError, "visual_tokens must be at least 0, got -1"),
        ({"attention": "flash"}, ValueError, "attention must be one of 'full', 'causal', 'none', got 'flash'"),
        ({"lm_head": "first"}, ValueError, "lm_head must be one of 'none', 'last', 'all', got 'first'"),
        ({"projector": ProjectorSize(1024, 5120)}, ValueError, "decoder's hidden size 4096, got outputs = 5120"),
        (
            {"projector": ProjectorSize(768, 4096), "vision": CLIP_VIT_L_14_336},
            ValueError,
            "tower's hidden size 1024, got inputs = 768",
        ),
        (
            {"visual_tokens": 600, "vision": CLIP_VIT_L_14_336},
            ValueError,
            "visual_tokens must be a multiple of the vision tower's 576 patches per image, got 600",
        ),
    ],
)
def test_pruned_prefill_flops_reject(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    right: dict[str, object] = {"text_tokens": 64, "visual_tokens": 576, "prune_layer": 2, "keep": 166}
    with pytest.raises(error, match=message):
        pruned_prefill_flops(LLAVA_1_5_7B, **{**right, **wrong})  # type: ignore[arg-type]


def test_layer_flops_and_its_kin_reject() -> None:
    with pytest.raises(ValueError, match="tokens must be at least 0, got -1"):
        layer_flops(LLAVA_1_5_7B, -1)
    with pytest.raises(ValueError, match="cached must be at least 0, got -2"):
        layer_flops(LLAVA_1_5_7B, 1, cached=-2)
    with pytest.raises(ValueError, match="text_tokens must be at least 0, got -1"):
        prefill_flops(LLAVA_1_5_7B, text_tokens=-1, visual_tokens=2)
    with pytest.raises(ValueError, match="images must be at least 0, got -1"):
        vision_flops(CLIP_VIT_L_14_336, -1)
    with pytest.raises(ValueError, match="visual_tokens must be at least 0, got -1"):
        projector_flops(LLAVA_1_5_7B_PROJECTOR, -1)
    with pytest.raises(ValueError, match="visual_tokens must be at least 0, got -1"):
        scoring_flops(LLAVA_1_5_7B, -1)
    with pytest.raises(ValueError, match="side must be one of 'gram', 'covariance', got 'left'"):
        scoring_flops(LLAVA_1_5_7B, 1, side="left")
    with pytest.raises(ValueError, match="eigen_cost must be at least 0, got -1"):
        scoring_flops(LLAVA_1_5_7B, 1, eigen_cost=-1)
    with pytest.raises(ValueError, match="times must be at least 0, got -1"):
        _ = -1 * Flops()
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = Flops() + 1  # type: ignore[operator]


def test_flops_of_an_empty_prompt_are_none_with_any_head() -> None:
    """Also where the head reads the last position: there is none."""
    for head in ("none", "last", "all"):
        assert prefill_flops(LLAVA_1_5_7B, text_tokens=0, visual_tokens=0, lm_head=head).total == 0
        empty = {"text_tokens": 0, "visual_tokens": 2, "prune_layer": 1, "keep": 0}
        assert pruned_prefill_flops(LLAVA_1_5_7B, **empty, lm_head=head).lm_head == 0
    assert prefill_flops(LLAVA_1_5_7B, text_tokens=1, visual_tokens=0, lm_head="last").lm_head == 2 * 4096 * 32_064


def test_decode_flops_apply_the_head_to_the_one_new_token() -> None:
    none, last, everywhere = (
        decode_flops(LLAVA_1_5_7B, text_tokens=5, visual_tokens=7, lm_head=head) for head in ("none", "last", "all")
    )
    assert everywhere == last == none + Flops(lm_head=2 * 4096 * 32_064)


@pytest.mark.parametrize("function", [prefill_flops, decode_flops, pruned_prefill_flops])
@pytest.mark.parametrize("name", ["text_tokens", "visual_tokens"])
def test_prompts_reject_fewer_than_no_tokens(function: Callable[..., Flops], name: str) -> None:
    pruning = {"prune_layer": 1, "keep": 0} if function is pruned_prefill_flops else {}
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        function(LLAVA_1_5_7B, **{"text_tokens": 2, "visual_tokens": 2, **pruning, name: -1})


def test_decode_flops_reject_half_a_pruning() -> None:
    with pytest.raises(ValueError, match="prune_layer and keep must be given together, got prune_layer=2, keep=None"):
        decode_flops(LLAVA_1_5_7B, text_tokens=1, visual_tokens=1, prune_layer=2)
    with pytest.raises(ValueError, match="keep must be between 0 and 1, got 2"):
        decode_flops(LLAVA_1_5_7B, text_tokens=1, visual_tokens=1, prune_layer=2, keep=2)


def test_reduction_rejects_nothing_to_reduce() -> None:
    with pytest.raises(ValueError, match="unpruned must be at least 1, got 0"):
        reduction(Flops(), 1)


def test_formula_rejects_unknown_options() -> None:
    with pytest.raises(ValueError, match="flops_per_multiply_add must be between 1 and 2, got 3"):
        Formula("x", flops_per_multiply_add=3)
    with pytest.raises(ValueError, match="flops_per_multiply_add must be between 1 and 2, got 0"):
        Formula("x", flops_per_multiply_add=0)
    with pytest.raises(ValueError, match="attention must be one of"):
        Formula("x", attention="half")
    with pytest.raises(ValueError, match="lm_head must be one of"):
        Formula("x", lm_head="half")
    with pytest.raises(ValueError, match="mlp_matrices must be at least 1, got 0"):
        Formula("x", mlp_matrices=0)

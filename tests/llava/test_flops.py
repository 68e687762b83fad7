"""FLOPs of the whole model: the closed form of section 6 equals what PyTorch's counter sees, exactly.

At real sizes the model lives on the meta device, where tensors have shapes but no values. Then selection needs a scorer
that reads no values, such as `UniformStride`; ids, masks and positions stay on the CPU.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from entropyprune_ref.flops import (
    CLIP_VIT_L_14_336,
    LLAVA_1_5_7B,
    LLAVA_1_5_13B,
    DecoderSize,
    ProjectorSize,
    VisionSize,
    prefill_flops,
    pruned_prefill_flops,
    scoring_flops,
)
from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers import UniformStride
from tests.helpers import Batch, configs, make_batch, random_llava, tiny_config


def counted(model: Llava, batch: Batch, pruner: EntropyPrune | None = None) -> int:
    with FlopCounterMode(display=False) as counter:
        model(batch.images, batch.ids, attended=batch.attended, pruner=pruner)
    return counter.get_total_flops()


def sizes_of(config: LlavaConfig) -> dict:
    """The tower runs one layer less than it holds, and is counted like that."""
    vision = config.vision
    tower = VisionSize(
        layers=vision.layers - 1,
        hidden=vision.hidden,
        heads=vision.heads,
        mlp=vision.mlp,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
    )
    return {"vision": tower, "projector": ProjectorSize(vision.hidden, config.decoder.hidden), "lm_head": "all"}


@given(configs(), st.data())
def test_llava_flops_equal_the_torch_flop_counter(config: LlavaConfig, data: st.DataObject) -> None:
    """Tower, projector, decoder and head, pruned and not, for up to three prompts of up to two images each."""
    config = replace(config, attention="explicit")
    rows, images = data.draw(st.integers(1, 3), label="rows"), data.draw(st.integers(1, 2), label="images of each")
    text = data.draw(st.integers(1, 5), label="text tokens")
    model = random_llava(config)
    batch = make_batch([[text, *[-1] * images]] * rows, config, 0)
    visual, layers = images * config.vision.patches, config.decoder.layers
    size, around = config.decoder, sizes_of(config)
    expected = prefill_flops(size, text_tokens=text, visual_tokens=visual, **around)
    assert counted(model, batch) == rows * expected.total
    layer = data.draw(st.integers(1, layers - 1), label="prune layer")
    keep = data.draw(st.integers(0, visual), label="keep")
    expected = pruned_prefill_flops(
        size, text_tokens=text, visual_tokens=visual, prune_layer=layer, keep=keep, **around
    )
    assert counted(model, batch, EntropyPrune(layer, keep, scorer=UniformStride())) == rows * expected.total


@given(configs(min_heads=2))
def test_llava_flops_with_the_method_add_the_gram_products_of_its_scores(config: LlavaConfig) -> None:
    """What the counter sees of scoring is the matrix product; of the three terms of Eq. 6.4 it is the one that grows as
    2 N h^2 d_h. Where heads are more than features, the scorer takes the covariance side instead."""
    config = replace(config, attention="explicit")
    batch, model = make_batch([[2, -1]], config, 0), random_llava(config)
    heads, head_dim, visual = config.decoder.heads, config.decoder.head_dim, config.vision.patches
    plain, scored = (counted(model, batch, EntropyPrune(1, 1, scorer=scorer)) for scorer in (UniformStride(), None))
    assert scored - plain == 2 * visual * heads * head_dim * min(heads, head_dim)
    gram = 2 * visual * heads * heads * head_dim
    assert scoring_flops(config.decoder, visual).scoring > gram


def llava_1_5(decoder: DecoderSize) -> LlavaConfig:
    return LlavaConfig(
        VisionConfig(hidden=1024, layers=24, heads=16, mlp=4096, image_size=336, patch_size=14),
        DecoderConfig(
            hidden=decoder.hidden,
            layers=decoder.layers,
            heads=decoder.heads,
            kv_heads=decoder.kv_heads,
            head_dim=decoder.head_dim,
            mlp=decoder.mlp,
            vocabulary=decoder.vocabulary,
        ),
        image_token=32_000,
    )


@pytest.mark.parametrize("decoder", [LLAVA_1_5_7B, LLAVA_1_5_13B], ids=["7B", "13B"])
def test_llava_flops_equal_the_torch_flop_counter_at_the_sizes_of_llava_1_5(decoder: DecoderSize) -> None:
    """35 words, an image of 576 tokens, 20 words; averages of 192, 128 and 64 visual tokens at K = 2."""
    config = llava_1_5(decoder)
    with torch.device("meta"):
        model = Llava(config)
    ids = torch.tensor([[1] * 35 + [config.image_token] * 576 + [2] * 20])
    pixels = torch.empty(1, 3, 336, 336, device="meta")
    batch = Batch(pixels, ids, torch.ones_like(ids, dtype=torch.bool), ids)
    around = {
        "vision": CLIP_VIT_L_14_336,
        "projector": ProjectorSize(1024, decoder.hidden),
        "lm_head": "all",
        "text_tokens": 55,
        "visual_tokens": 576,
    }
    assert sum(weight.numel() for weight in model.parameters()) > {32: 7e9, 40: 13e9}[decoder.layers]
    assert counted(model, batch) == prefill_flops(decoder, **around).total
    keeps = {32: {192: 166, 128: 98, 64: 29}, 40: {192: 171, 128: 104, 64: 37}}[decoder.layers]
    for average, keep in keeps.items():
        pruner = EntropyPrune(2, average=average, scorer=UniformStride())
        expected = pruned_prefill_flops(decoder, prune_layer=2, keep=keep, **around)
        assert counted(model, batch, pruner) == expected.total


def test_pruning_on_the_meta_device_keeps_its_bookkeeping_on_the_cpu() -> None:
    """A model without values still says which tokens are kept, and how long its caches are."""
    with torch.device("meta"):
        model = Llava(tiny_config())
    batch = make_batch([[2, -1, 1], [-1, 1]], tiny_config(), 0)
    pruner = EntropyPrune(2, 4, scorer=UniformStride())
    out = model(batch.images.to("meta"), batch.ids, attended=batch.attended, pruner=pruner)
    there = random_llava(tiny_config())(batch.images, batch.ids, attended=batch.attended, pruner=pruner)
    for name in ("kept", "index", "attended", "positions"):
        assert torch.equal(getattr(out, name), getattr(there, name)), name
    assert out.cache.lengths() == there.cache.lengths()
    assert out.logits.is_meta and out.logits.shape == there.logits.shape


def test_a_scorer_that_reads_values_on_the_meta_device_gives_the_shapes() -> None:
    with torch.device("meta"):
        model = Llava(tiny_config())
    batch = make_batch([[2, -1, 1]], tiny_config(), 0)
    out = model(batch.images.to("meta"), batch.ids, pruner=EntropyPrune(2, 4))
    assert out.cache.lengths() == [12, 12, 7]


def test_the_flop_counter_does_not_see_fused_attention_on_a_cpu() -> None:
    """PyTorch's counter has no formula for the CPU's fused kernel: both attention products are missing from its count,
    in the tower and in the decoder, while their FLOPs are spent. Counts are therefore taken with explicit attention."""
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1]], config, 0)
    sizes = sizes_of(config) | {"text_tokens": 3, "visual_tokens": 9}
    full = prefill_flops(config.decoder, **sizes)
    linear = prefill_flops(config.decoder, **sizes, attention="none")
    assert counted(model, batch) == full.total
    assert counted(model.with_attention("fused"), batch) == linear.total
    assert linear.total < full.total

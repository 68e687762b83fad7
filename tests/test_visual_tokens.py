"""Visual tokens of an image of any size, against the library's own processors; sizes of decoders by configuration."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForImageTextToText,
    CLIPTextConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextProcessor,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from entropyprune_ref import EntropyPrune
from entropyprune_ref.flops import (
    DECODERS,
    LLAVA_1_5_7B,
    LLAVA_1_5_13B,
    LLAVA_NEXT_MISTRAL_7B,
    QWEN_2_5_VL_7B,
    QWEN_2_5_VL_72B,
    DecoderSize,
    block_grid,
    prefill_flops,
    pruned_prefill_flops,
    tiled_image,
)
from entropyprune_ref.flops.visual import QWEN_2_5_VL_PIXELS
from entropyprune_ref.hf import anatomy, pruned

LLAMA = {"vocab_size": 32_064}
LLAMA_13B = LLAMA | {
    "hidden_size": 5120,
    "intermediate_size": 13_824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
QWEN_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
}
QWEN_72B = QWEN_7B | {
    "hidden_size": 8192,
    "intermediate_size": 29_568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
REAL: dict[str, tuple[PreTrainedConfig, DecoderSize]] = {
    "LLaVA-1.5-7B": (LlavaConfig(text_config=LlamaConfig(**LLAMA)), LLAVA_1_5_7B),
    "LLaVA-1.5-13B": (LlavaConfig(text_config=LlamaConfig(**LLAMA_13B)), LLAVA_1_5_13B),
    "LLaVA-NeXT-7B": (LlavaNextConfig(text_config=LlamaConfig(**LLAMA)), LLAVA_1_5_7B),
    "LLaVA-NeXT-7B on Mistral": (
        LlavaNextConfig(text_config=MistralConfig(**LLAMA, sliding_window=None)),
        LLAVA_NEXT_MISTRAL_7B,
    ),
    "Qwen2.5-VL-7B": (Qwen2_5_VLConfig(text_config=QWEN_7B), QWEN_2_5_VL_7B),
    "Qwen2.5-VL-72B": (Qwen2_5_VLConfig(text_config=QWEN_72B), QWEN_2_5_VL_72B),
}
"""Configurations that say what those of the checkpoints say of the decoder, and the presets that they must give."""


def hollow(config: PreTrainedConfig) -> Any:
    """The model at its true size, without contents; made once, which takes longer than to count it."""
    if id(config) not in HOLLOW:
        with torch.device("meta"):
            HOLLOW[id(config)] = AutoModelForImageTextToText.from_config(config, attn_implementation="eager").eval()
    return HOLLOW[id(config)]


HOLLOW: dict[int, Any] = {}


@pytest.mark.parametrize(("config", "preset"), REAL.values(), ids=REAL)
def test_decoder_size_from_transformers_gives_the_presets(config: PreTrainedConfig, preset: DecoderSize) -> None:
    assert DecoderSize.from_transformers(config) == DecoderSize.from_transformers(config.get_text_config()) == preset
    assert preset in DECODERS.values()


@pytest.mark.parametrize("config", [MixtralConfig(), CLIPTextConfig(), "llama"], ids=["experts", "no gate", "a name"])
def test_decoder_size_from_transformers_refuses_other_decoders(config: object) -> None:
    with pytest.raises(ValueError, match=r"config must be of a text decoder among llama, .*, got '\w+'"):
        DecoderSize.from_transformers(config)


@pytest.mark.parametrize(("config", "size"), REAL.values(), ids=REAL)
@torch.no_grad()
def test_prefill_flops_equal_the_torch_flop_counter_on_real_models(config: PreTrainedConfig, size: DecoderSize) -> None:
    """Their decoder at its true size, on the meta device, where a tensor has a shape and no contents.

    The mask is given, because theirs looks at the contents of the positions.
    """
    model = hollow(config)
    with torch.device("meta"):
        embedded, mask = torch.empty(1, 640, size.hidden), torch.empty(1, 1, 640, 640)
    decoder = model.get_decoder()
    with FlopCounterMode(display=False) as counter:
        output = decoder(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        model.lm_head(output.last_hidden_state[:, -1:])
    counted = prefill_flops(size, text_tokens=64, visual_tokens=576, lm_head="last")
    assert counter.get_total_flops() == counted.total


@pytest.mark.parametrize(("config", "size"), REAL.values(), ids=REAL)
@torch.no_grad()
def test_pruned_prefill_flops_equal_the_torch_flop_counter_on_real_models_pruned_in_place(
    config: PreTrainedConfig, size: DecoderSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hooks run on the true decoder; only ids and scores have contents, for the choice of tokens needs them."""
    model = hollow(config)
    with torch.device("meta"):
        embedded, mask = torch.empty(1, 640, size.hidden), torch.empty(1, 1, 640, 640)
        features = SimpleNamespace(pooler_output=[torch.empty(576, size.hidden)])
    parts = anatomy(model)
    ids = torch.zeros(1, 640, dtype=torch.int64)
    ids[0, 35:611] = config.image_token_id

    def joined(**inputs: object) -> object:
        """What stands before the decoder, which would look at the contents of its tensors."""
        return parts.decoder(inputs_embeds=embedded, attention_mask=mask, use_cache=False)

    monkeypatch.setattr(parts.base, "forward", joined)
    pruner = EntropyPrune(2, average=192, scorer=lambda view: torch.rand(view.image_index.shape, dtype=torch.float64))
    keep = pruner.plan(visual_tokens=576, layers=size.layers).keep
    with pruned(model, pruner) as run, FlopCounterMode(display=False) as counter:
        states = parts.base(input_ids=ids, mm_encoder_outputs={"image": features}).last_hidden_state
        model.lm_head(states[:, -1:])
    assert states.shape[1] == keep + 64 == int(run.last.kept.sum())
    prompt = {"text_tokens": 64, "visual_tokens": 576, "lm_head": "last"}
    assert counter.get_total_flops() == pruned_prefill_flops(size, prune_layer=2, keep=keep, **prompt).total


def sizes(count: int, longest: int) -> list[tuple[int, int]]:
    """Heights and widths that the models take, small and large alike, and a hundred at which something changes."""
    rng = random.Random(0)
    found = [(rng.choice((336, 672, 1008, 28, 14)) * rng.randint(1, 4), 336 * rng.randint(1, 4)) for _ in range(100)]
    while len(found) < count:
        height, width = (int(longest ** rng.random()) for _ in range(2))
        found += [(height, width)] if max(height, width) <= 200 * min(height, width) else []
    rng.shuffle(found)
    return found


def test_tiled_image_has_the_tokens_that_the_processor_of_llava_next_writes() -> None:
    processor = object.__new__(LlavaNextProcessor)
    processor.patch_size, processor.num_additional_image_tokens = 14, 0
    drawn = sizes(1000, 4000)
    for canvases, count in (
        (LlavaNextImageProcessorPil().image_grid_pinpoints, len(drawn)),
        ([[336 * i, 336] for i in range(1, 7)], 200),
    ):
        processor.image_processor = SimpleNamespace(image_grid_pinpoints=canvases)
        for height, width in drawn[:count]:
            theirs = processor._get_number_of_features(height, width, 336, 336)
            assert tiled_image(height, width, canvases=canvases).tokens == theirs, (height, width)


@pytest.mark.parametrize("pixels", [(3136, 12_845_056), (56 * 56, 28 * 28 * 40), (28 * 28 * 256, 28 * 28 * 1280)])
def test_block_grid_is_the_grid_of_the_processor_of_qwen(pixels: tuple[int, int]) -> None:
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": pixels[0], "longest_edge": pixels[1]})
    for height, width in sizes(1000, 9000):
        rows, columns = block_grid(height, width, pixels=pixels)
        assert 4 * rows * columns == processor.get_number_of_image_patches(height, width), (height, width)


def test_block_grid_takes_the_pixels_of_the_published_checkpoints_by_default() -> None:
    published = (3136, 12_845_056)  # min_pixels and max_pixels of their preprocessor_config.json
    for height, width in ((20, 20), (55, 57), (3584, 3584), (3600, 3600), (4000, 5000)):
        assert block_grid(height, width) == block_grid(height, width, pixels=published)
    assert published == QWEN_2_5_VL_PIXELS
    assert block_grid(28, 28, pixels=(1, 784)) == (1, 1)
    assert block_grid(8, 9, block=1, pixels=(1, 784)) == (8, 9)
    assert block_grid(28, 5600) == block_grid(5600, 28)[::-1]  # a factor of 200 is the most that there may be
    assert tiled_image(1, 1, tile=1, patch=1, canvases=[(1, 1)]).tokens == 3


def test_tiled_image_of_llava_next_has_the_counts_worked_by_hand() -> None:
    square = tiled_image(672, 672)  # four tiles, nothing dropped
    assert (square.rows, square.columns, square.corner, square.tokens) == (48, 48, (0, 0), 576 + 48 * 49)
    landscape = tiled_image(480, 640)  # 48 columns, 480 * 48 / 640 = 36 rows, six dropped above and below
    assert (landscape.rows, landscape.columns, landscape.corner, landscape.tokens) == (36, 48, (6, 0), 576 + 36 * 49)
    wide = tiled_image(300, 1200)  # 24 x 72 patches, 300 * 72 / 1200 = 18 rows, three dropped above and below
    assert (wide.canvas, wide.rows, wide.columns, wide.corner) == ((24, 72), 18, 72, (3, 0))
    narrow = tiled_image(1200, 300)
    assert (narrow.canvas, narrow.rows, narrow.columns, narrow.corner) == ((72, 24), 72, 18, (0, 3))
    least = tiled_image(300, 300, canvases=[(336, 1008), (672, 336)])  # shown whole on both: the one of fewer pixels
    assert least.canvas == (48, 24)
    # shown whole on every canvas: the first of the smallest, two tiles one beside the other
    small = tiled_image(336, 336)
    assert (small.canvas, small.rows, small.columns, small.tokens) == ((24, 48), 24, 24, 1176)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiled_image(0, 5), "height must be at least 1, got 0"),
        (lambda: tiled_image(5, 0), "width must be at least 1, got 0"),
        (lambda: block_grid(0, 5), "height must be at least 1, got 0"),
        (lambda: block_grid(28, 28, pixels=(0, 784)), "pixels must be at least 1, got 0"),
        (lambda: tiled_image(1, 4000), "height and width must leave a pixel on some canvas, got 1 × 4000"),
        (lambda: tiled_image(5, 5, canvases=[(336, 400)]), "canvases must be pairs of multiples of tile"),
        (lambda: tiled_image(5, 5, canvases=[]), "canvases must be"),
        (lambda: block_grid(5, 0), "width must be"),
        (lambda: block_grid(28, 28, block=0), "block must be at least 1, got 0"),
        (lambda: tiled_image(5, 5, tile=0), "tile must be at least 1, got 0"),
        (lambda: tiled_image(5, 5, patch=0), "patch must be between 1 and 336, got 0"),
        (lambda: block_grid(1, 201), "height and width must differ by at most a factor of 200, got 1 × 201"),
    ],
)
def test_visual_tokens_reject_sizes_that_the_models_cannot_take(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]

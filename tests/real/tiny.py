"""Tiny random checkpoints on disk, as a user has them: weights in shards, tokenizer, processor, chat template."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextVideoConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.helpers import draw_weights

LLAVA_WORDS = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>", "USER:", "ASSISTANT:"]
QWEN_WORDS = ["<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
QWEN_WORDS += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "user", "assistant"]
WORDS = [
    "what",
    "is",
    "this",
    "?",
    "a",
    "cat",
    "dog",
    "bird",
    "ship",
    "tree",
    "lamp",
    "door",
    "bread",
    "river",
    "stone",
]
CANVASES = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
TEXT = {"num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 48}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAVA_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] != 'text' %}<{{ part['type'] }}> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} ASSISTANT: {% endfor %}"
)


def tokenizer_of(specials: list[str], template: str | None) -> PreTrainedTokenizerFast:
    words = {word: number for number, word in enumerate([*specials, *WORDS])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    qwen = "<|im_end|>" in specials
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token=None if qwen else "<s>",
        eos_token="<|im_end|>" if qwen else "</s>",
        pad_token="<|endoftext|>" if qwen else "<pad>",
        unk_token="<unk>",
        additional_special_tokens=[word for word in specials if word.startswith("<")],
        chat_template=template,
    )


def llama() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(LLAVA_WORDS) + len(WORDS), pad_token_id=3, bos_token_id=1, eos_token_id=2, **TEXT, **HEADS
    )


def tower() -> CLIPVisionConfig:
    return CLIPVisionConfig(image_size=28, patch_size=7, projection_dim=8, **TOWER)


def config_of(family: str) -> Any:
    if family == "llava":
        return LlavaConfig(vision_config=tower(), text_config=llama(), image_token_index=4)
    if family == "llava_next":
        return LlavaNextConfig(
            vision_config=tower(), text_config=llama(), image_token_index=4, image_grid_pinpoints=CANVASES
        )
    if family == "llava_next_video":
        return LlavaNextVideoConfig(
            vision_config=tower(),
            text_config=llama(),
            image_token_index=4,
            video_token_index=5,
            image_grid_pinpoints=CANVASES,
        )
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
    text = {"vocab_size": len(QWEN_WORDS) + len(WORDS), "rope_parameters": rope, **TEXT, **HEADS}
    text |= {"bos_token_id": 3, "eos_token_id": 2, "pad_token_id": 3}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"fullatt_block_indexes": [1], "window_size": 56}
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=6,
        video_token_id=7,
        vision_start_token_id=4,
        vision_end_token_id=5,
    )


def model_of(family: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A model whose every weight is random."""
    from entropyprune_ref.hf import FAMILIES

    model = getattr(transformers, FAMILIES[family].model)(config_of(family)).eval()
    draw_weights(model, seed)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 3
    return model.to(dtype)


def processor_of(family: str) -> Any:
    if family == "qwen2_5_vl":
        return Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 40})
    sizes = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    if family == "llava":
        return CLIPImageProcessorPil(**sizes)
    return LlavaNextImageProcessorPil(**sizes, image_grid_pinpoints=CANVASES)


def save_checkpoint(family: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Writes everything that a checkpoint has, its weights in several files."""
    model_of(family, seed, dtype).save_pretrained(folder, max_shard_size="60KB")
    qwen = family.startswith("qwen")
    tokenizer_of(QWEN_WORDS if qwen else LLAVA_WORDS, None if qwen else LLAVA_TEMPLATE).save_pretrained(folder)
    processor_of(family).save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert json.loads((folder / "config.json").read_text())["model_type"] == family
    return folder

"""Tiny random models of every family, and prompts for them: what the tests of `entropyprune_ref.hf` run on.

A model is built once a shape; a seed draws all of its weights anew.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import transformers as hf

from tests.helpers import draw_weights

IMAGE, VIDEO = 3, 4  # ids of the placeholders
WORDS = range(5, 29)
PATCH, SIDE = 4, 12  # pixels a patch, pixels an image of a LLaVA


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder."""

    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 8
    hidden: int = 12
    layers: int = 4


SHAPES = (
    Shape(),
    Shape(heads=6, kv_heads=3, hidden=18, layers=3),
    Shape(heads=3, kv_heads=1, head_dim=12, layers=5),
    Shape(heads=4, kv_heads=4, head_dim=6, hidden=16),
)


def text_config(shape: Shape, kind: str) -> dict[str, Any]:
    """What all text models share."""
    return {
        "vocab_size": 32,
        "hidden_size": shape.hidden,
        "intermediate_size": 14,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | ({"sliding_window": None} if kind == "mistral" else {})


CLIP = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
TILES = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
TEXTS = {"llama": hf.LlamaConfig, "mistral": hf.MistralConfig, "qwen2": hf.Qwen2Config}


def llava_config(family: str, text: str, shape: Shape) -> hf.PreTrainedConfig:
    vision = hf.SiglipVisionConfig(**CLIP) if family == "llava_onevision" else hf.CLIPVisionConfig(**CLIP)
    cls = {
        "llava": hf.LlavaConfig,
        "llava_next": hf.LlavaNextConfig,
        "llava_next_video": hf.LlavaNextVideoConfig,
        "llava_onevision": hf.LlavaOnevisionConfig,
        "video_llava": hf.VideoLlavaConfig,
    }[family]
    more = {} if family in ("llava", "video_llava") else {"image_grid_pinpoints": TILES}
    if family in ("llava", "llava_next"):
        more["image_token_index"] = IMAGE
    else:
        more |= {"image_token_index": IMAGE, "video_token_index": VIDEO}
    if family == "llava_next_video":
        more["spatial_pool_stride"] = 3
    if family == "llava_onevision":
        more |= {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    return cls(vision_config=vision, text_config=TEXTS[text](**text_config(shape, text)), **more)


def qwen_config(family: str, shape: Shape) -> hf.PreTrainedConfig:
    pairs = shape.head_dim // 2
    sections = [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]
    if family != "qwen3_vl":  # heads fill the width
        shape = replace(shape, hidden=shape.heads * shape.head_dim)
    text = text_config(shape, "qwen") | {"rope_parameters": {"rope_type": "default", "mrope_section": sections}}
    vision: dict[str, Any] = {"patch_size": PATCH, "temporal_patch_size": 2, "spatial_merge_size": 2, "depth": 2}
    ids = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": 29, "vision_end_token_id": 30}
    if family == "qwen2_vl":
        vision |= {"embed_dim": 8, "num_heads": 2, "hidden_size": shape.hidden, "mlp_ratio": 2}
        return hf.Qwen2VLConfig(text_config=text, vision_config=vision, **ids)
    vision |= {"hidden_size": 8, "num_heads": 2, "out_hidden_size": shape.hidden, "intermediate_size": 12}
    if family == "qwen2_5_vl":
        vision |= {"fullatt_block_indexes": [1], "window_size": 16}
        return hf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    text["rope_parameters"]["mrope_interleaved"] = True
    vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    return hf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)


FAMILIES = {  # name: model type, text model
    "Llava": ("llava", "llama"),
    "LlavaNext": ("llava_next", "llama"),
    "LlavaNext-Mistral": ("llava_next", "mistral"),
    "LlavaNextVideo": ("llava_next_video", "llama"),
    "LlavaOnevision": ("llava_onevision", "qwen2"),
    "VideoLlava": ("video_llava", "llama"),
    "Qwen2VL": ("qwen2_vl", ""),
    "Qwen2_5_VL": ("qwen2_5_vl", ""),
    "Qwen3VL": ("qwen3_vl", ""),
}
CLASSES = {
    "llava": hf.LlavaForConditionalGeneration,
    "llava_next": hf.LlavaNextForConditionalGeneration,
    "llava_next_video": hf.LlavaNextVideoForConditionalGeneration,
    "llava_onevision": hf.LlavaOnevisionForConditionalGeneration,
    "video_llava": hf.VideoLlavaForConditionalGeneration,
    "qwen2_vl": hf.Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": hf.Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": hf.Qwen3VLForConditionalGeneration,
}


@lru_cache(maxsize=64)
def _built(name: str, shape: Shape) -> Any:
    family, text = FAMILIES[name]
    config = qwen_config(family, shape) if family.startswith("qwen") else llava_config(family, text, shape)
    model = CLASSES[family](config).eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    return model


def tiny_model(
    name: str, shape: Shape = SHAPES[0], seed: int = 0, dtype: torch.dtype = torch.float64, attention: str = "sdpa"
) -> Any:
    """The model of a family with random weights; the same object for the same name and shape."""
    model = _built(name, shape).to(dtype).eval()
    model.set_attn_implementation(attention)
    draw_weights(model, seed)
    if hasattr(model.model, "rope_deltas"):
        model.model.rope_deltas = None
    return model

"""From a Hugging Face LLaVA to this one: the same numbers under other names."""

import re
from typing import Any

from torch import Tensor, nn

from .config import DecoderConfig, LlavaConfig, VisionConfig

RENAMED = (
    (r"^model\.", ""),
    (r"^vision_tower\.vision_model\.", "vision_tower."),
    (r"^vision_tower\.embeddings\.", "vision_tower."),
    (r"^vision_tower\.encoder\.layers\.", "vision_tower.layers."),
    (r"\.pre_layrnorm\.", ".pre_layernorm."),  # their spelling
    (r"^multi_modal_projector\.", "projector."),
    (r"^language_model\.model\.", "decoder."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.", "decoder."),
    (r"(\.layers\.\d+)\.mlp\.", r"\1."),
)
"""Their parameter names to ours, applied in order."""

REQUIRED = {
    "text_config.model_type": "llama",
    "vision_config.model_type": "clip_vision_model",
    "text_config.hidden_act": "silu",
    "vision_config.hidden_act": "quick_gelu",
    "projector_hidden_act": "gelu",
    "multimodal_projector_bias": True,
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "text_config.attention_bias": False,
    "text_config.mlp_bias": False,
    "text_config.rope_parameters.rope_type": "default",
    "vision_config.num_channels": 3,
}
"""What a configuration of theirs must say, because this architecture has no other."""

ABSENT = {
    "text_config.is_causal": True,
    "text_config.sliding_window": None,
    "text_config.attention_chunk_size": None,
    "text_config.layer_types": None,
}
"""The same for settings that a configuration need not have, with what their absence means. Their decoder reads them, or
the cache that is made for it does: attention to every token before, and to no other, is all that there is here."""


def from_transformers(model: Any) -> tuple[LlavaConfig, dict[str, Tensor]]:
    """Returns configuration and copied tensors of a Hugging Face LLaVA. See `Llava.from_transformers`.

    Raises:
        TypeError: A configuration without a model.
        ValueError: Another architecture, a model without its head, or one in two dtypes.
    """
    config, tensors = translate(getattr(model, "config", model)), {}
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a LlavaForConditionalGeneration with its weights, got {type(model).__name__}")
    for name, tensor in model.state_dict().items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if not name.endswith("position_ids"):
            tensors[name] = tensor.detach().clone()
    if "lm_head.weight" not in tensors:
        raise ValueError(
            f"model must be a LlavaForConditionalGeneration with its lm_head, got {type(model).__name__} without"
        )
    dtypes = {tensor.dtype: name for name, tensor in tensors.items()}
    if len(dtypes) > 1:
        found = " and ".join(f"{dtype} ({name})" for dtype, name in dtypes.items())
        raise ValueError(f"model must have all weights in one dtype, got {found}")
    return config, tensors


def translate(config: Any) -> LlavaConfig:
    """Returns our configuration for theirs.

    Raises:
        ValueError: Naming the first setting that this architecture does not have.
    """
    if getattr(config, "model_type", None) != "llava":
        got = getattr(config, "model_type", type(config).__name__)
        raise ValueError(f"model must be a LlavaForConditionalGeneration (model_type 'llava'), got {got!r}")
    for path, expected in (REQUIRED | ABSENT).items():
        got = config
        for name in path.split("."):
            default = ABSENT.get(path)
            got = got.get(name, default) if isinstance(got, dict) else getattr(got, name, default)
        if path.endswith("layer_types") and isinstance(got, list) and set(got) == {"full_attention"}:
            continue
        if got != expected:
            raise ValueError(f"model must have {path} = {expected!r}, got {got!r}")
    text, vision = config.text_config, config.vision_config
    return LlavaConfig(
        vision=VisionConfig(
            hidden=vision.hidden_size,
            layers=vision.num_hidden_layers,
            heads=vision.num_attention_heads,
            mlp=vision.intermediate_size,
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            norm_eps=vision.layer_norm_eps,
        ),
        decoder=DecoderConfig(
            hidden=text.hidden_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            mlp=text.intermediate_size,
            vocabulary=text.vocab_size,
            rope_theta=text.rope_parameters["rope_theta"],
            norm_eps=text.rms_norm_eps,
        ),
        image_token=config.image_token_id,
    )

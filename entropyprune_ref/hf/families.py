"""Which models can be pruned in place, and where in them the parts are that pruning touches."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class Family:
    """One architecture of the library: an entry of `FAMILIES`.

    What is visual are the tokens whose id is the configuration's `image_token_id` or `video_token_id`, line breaks that
    the model puts between rows of patches included. What ends an image is the length of its features: the tiles of a
    high-resolution image are one image, and so are the frames of a video unless `frames` says otherwise.

    Attributes:
        model_type: What the configuration calls it.
        model: The class that generates.
        visual: What it can look at: "image", or "image" and "video".
        frames: Whether each frame of a video counts as an image ("apart") or the whole video does ("together").
        deepstack: Whether features of the vision tower are added to the first decoder layers, which must run unpruned.
    """

    model_type: str
    model: str
    visual: tuple[Literal["image", "video"], ...] = ("image", "video")
    frames: Literal["together", "apart"] = "together"
    deepstack: bool = False


FAMILIES = {
    family.model_type: family
    for family in (
        Family("llava", "LlavaForConditionalGeneration", visual=("image",)),
        Family("llava_next", "LlavaNextForConditionalGeneration", visual=("image",)),
        Family("llava_next_video", "LlavaNextVideoForConditionalGeneration"),
        Family("llava_onevision", "LlavaOnevisionForConditionalGeneration"),
        Family("video_llava", "VideoLlavaForConditionalGeneration", frames="apart"),
        Family("qwen2_vl", "Qwen2VLForConditionalGeneration"),
        Family("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"),
        Family("qwen3_vl", "Qwen3VLForConditionalGeneration", deepstack=True),
    )
}
"""The families by the model type of their configuration. Another one is another entry, if its parts are named alike."""


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of a model are.

    Attributes:
        model: The whole, with the head that gives logits.
        base: What joins image features and word embeddings, and calls the decoder.
        decoder: The language model without its head.
        family: The entry of `FAMILIES`.
    """

    model: Any
    base: Any
    decoder: Any
    family: Family

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, `layers[i]` turns state i into state i + 1."""
        return self.decoder.layers

    def attention(self, layer: int) -> Any:
        """The self-attention of a decoder layer."""
        return self.layers[layer].self_attn

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return int(self.decoder.config.hidden_size)

    @property
    def deepstack(self) -> int:
        """How many of the first decoder layers get features of the vision tower added behind them."""
        return len(self.model.config.vision_config.deepstack_visual_indexes) if self.family.deepstack else 0

    def token_id(self, modality: str) -> int:
        """The id of the placeholder of an "image" or a "video"."""
        return int(getattr(self.model.config, f"{modality}_token_id"))


def anatomy(model: Any) -> Anatomy:
    """Returns where the parts of `model` are.

    Raises:
        TypeError: Not a model of a family, or only a part of one.
    """
    family = FAMILIES.get(str(getattr(getattr(model, "config", None), "model_type", "")))
    names = {base.__name__ for base in type(model).__mro__}
    if family is None or family.model not in names:
        known = ", ".join(family.model for family in FAMILIES.values())
        raise TypeError(f"model must be one of {known}, got {type(model).__name__}")
    return Anatomy(model, model.base_model, model.get_decoder(), family)

"""The sizes of a LLaVA: vision tower, decoder, and how they meet. Nothing here computes."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

from .._numerics.arguments import require_choice, require_integer, require_integer_fields, require_kind, require_real
from ..flops import DecoderSize

Attention = Literal["explicit", "fused"]


@dataclass(frozen=True)
class VisionConfig:
    """A CLIP-style vision tower.

    Args:
        hidden: Width of the residual stream.
        layers: Layers held; the features leave after `layers - 1` of them (the penultimate state).
        heads: Attention heads; `hidden` is divided evenly among them.
        mlp: Inner width of the MLP.
        image_size: Pixels on a side.
        patch_size: Pixels on a side of a patch; divides `image_size`.
        norm_eps: Added to the variance in every layer norm.
    """

    hidden: int = 96
    layers: int = 3
    heads: int = 4
    mlp: int = 384
    image_size: int = 96
    patch_size: int = 8
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        require_integer_fields(self, 1, ("hidden", "heads", "mlp", "image_size", "patch_size"), prefix="vision.")
        require_integer_fields(self, 2, ("layers",), prefix="vision.")
        _require_positive("vision.norm_eps", self.norm_eps)
        if self.hidden % self.heads:
            raise ValueError(f"vision.hidden must be a multiple of vision.heads, got {self.hidden} and {self.heads}")
        if self.image_size % self.patch_size:
            raise ValueError(
                "vision.image_size must be a multiple of vision.patch_size, "
                f"got {self.image_size} and {self.patch_size}"
            )

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Visual tokens that one image becomes."""
        return self.grid**2


@dataclass(frozen=True)
class DecoderConfig(DecoderSize):
    """A Llama decoder: the sizes that its FLOPs depend on (`DecoderSize`), and two numbers that they do not.

    Args:
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square in every RMS norm.
    """

    rope_theta: float = 10000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mlp_matrices != 3:
            raise ValueError(f"mlp_matrices must be 3, a gated MLP, got {self.mlp_matrices}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary embedding, got {self.head_dim}")
        _require_positive("rope_theta", self.rope_theta)
        _require_positive("norm_eps", self.norm_eps)


@dataclass(frozen=True)
class LlavaConfig:
    """A whole LLaVA: vision tower, two-layer projector, decoder.

    Args:
        vision: The vision tower.
        decoder: The language model.
        image_token: Id of the placeholder that a visual token replaces.
        vocabulary: The words, by id, for a model that reads questions as text; empty where ids come from elsewhere.
        attention: `"explicit"` (two matrix products and a softmax, so that FLOP counters see it) or `"fused"`
            (`scaled_dot_product_attention`).
    """

    vision: VisionConfig
    decoder: DecoderConfig
    image_token: int = 3
    vocabulary: tuple[str, ...] = ()
    attention: Attention = "explicit"

    def __post_init__(self) -> None:
        require_kind("vision", self.vision, VisionConfig)
        require_kind("decoder", self.decoder, DecoderConfig)
        require_kind("vocabulary", self.vocabulary, tuple)
        for word in self.vocabulary:
            require_kind("vocabulary", word, str)
        require_choice("attention", self.attention, ("explicit", "fused"))
        require_integer_fields(self, 0, ("image_token",))
        require_integer("image_token", self.image_token, 0, self.decoder.vocabulary - 1)
        if len(self.vocabulary) > self.decoder.vocabulary:
            raise ValueError(
                f"vocabulary must have at most decoder.vocabulary = {self.decoder.vocabulary} words, "
                f"got {len(self.vocabulary)}"
            )

    def to_json(self) -> str:
        """Returns the configuration as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "LlavaConfig":
        """Returns the configuration that `to_json` wrote."""
        values = json.loads(text)
        decoder = values.pop("decoder")
        if "vocabulary_size" in decoder:  # its name in the first files
            decoder["vocabulary"] = decoder.pop("vocabulary_size")
        return cls(
            vision=VisionConfig(**values.pop("vision")),
            decoder=DecoderConfig(**decoder),
            vocabulary=tuple(values.pop("vocabulary")),
            **values,
        )


def _require_positive(name: str, value: object) -> None:
    number = require_real(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")

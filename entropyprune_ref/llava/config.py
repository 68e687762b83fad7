"""The sizes of a LLaVA: vision tower, decoder, and how they meet. Nothing here computes."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from .._numerics.arguments import require_choice, require_integer
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
        for name in ("hidden", "heads", "mlp", "image_size", "patch_size"):
            require_integer(f"vision.{name}", getattr(self, name), 1)
        require_integer("vision.layers", self.layers, 2)
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
class DecoderConfig:
    """A Llama decoder with free head size and grouped-query attention.

    Args:
        hidden: Width of the residual stream, `d`.
        layers: Decoder layers, `L`.
        heads: Query heads, `h`.
        kv_heads: Key/value heads; divides `heads`.
        head_dim: Features of one head, `d_h`; `heads * head_dim` need not be `hidden`.
        mlp: Inner width of the SwiGLU MLP, `m`.
        vocabulary_size: Entries of the token embedding.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square in every RMS norm.
    """

    hidden: int = 128
    layers: int = 6
    heads: int = 8
    kv_heads: int = 8
    head_dim: int = 32
    mlp: int = 256
    vocabulary_size: int = 64
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "kv_heads", "head_dim", "mlp", "vocabulary_size"):
            require_integer(f"decoder.{name}", getattr(self, name), 1)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"decoder.heads must be a multiple of decoder.kv_heads, got {self.heads} and {self.kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"decoder.head_dim must be even for rotary embedding, got {self.head_dim}")

    def size(self) -> DecoderSize:
        """The same numbers as the FLOPs formulas take them (Eq. 6.1)."""
        return DecoderSize(
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            mlp=self.mlp,
            vocabulary=self.vocabulary_size,
        )


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

    vision: VisionConfig = field(default_factory=VisionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    image_token: int = 3
    vocabulary: tuple[str, ...] = ()
    attention: Attention = "explicit"

    def __post_init__(self) -> None:
        require_choice("attention", self.attention, ("explicit", "fused"))
        require_integer("image_token", self.image_token, 0, self.decoder.vocabulary_size - 1)
        if len(self.vocabulary) > self.decoder.vocabulary_size:
            raise ValueError(
                f"vocabulary must have at most decoder.vocabulary_size = {self.decoder.vocabulary_size} words, "
                f"got {len(self.vocabulary)}"
            )

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "LlavaConfig":
        """The configuration that `to_json` wrote."""
        values = json.loads(text)
        return cls(
            vision=VisionConfig(**values.pop("vision")),
            decoder=DecoderConfig(**values.pop("decoder")),
            vocabulary=tuple(values.pop("vocabulary")),
            **values,
        )

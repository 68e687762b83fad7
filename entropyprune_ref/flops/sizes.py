"""Section 6, the sizes that FLOPs depend on: the decoder, the vision tower and the projector, with presets."""

from dataclasses import dataclass, fields
from typing import Any

from entropyprune_ref._numerics.arguments import require_integer_fields


def _require_positive(size: object, kind: type) -> None:
    require_integer_fields(size, 1, [field.name for field in fields(kind)])


@dataclass(frozen=True)
class DecoderSize:
    r"""The numbers of a Llama-style decoder that its FLOPs depend on.

    Args:
        layers: Decoder layers $L$.
        hidden: Hidden size $d$.
        heads: Query heads $h$.
        kv_heads: Key/value heads $h_{kv}$, a divisor of `heads`; fewer than `heads` is grouped-query attention.
        head_dim: Size of one head $d_h$, free: `heads * head_dim` need not be `hidden`.
        mlp: Inner size of the MLP $m$.
        mlp_matrices: 3 for a gated MLP (gate, up, down: Llama, Qwen), 2 for a plain one.
        vocabulary: Rows of the language-model head; read only if the head is counted.

    Raises:
        TypeError: A field is not an int.
        ValueError: A field is below 1, or `heads` is not a multiple of `kv_heads`.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    mlp_matrices: int = 3
    vocabulary: int = 32_000

    def __post_init__(self) -> None:
        _require_positive(self, DecoderSize)
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads = {self.kv_heads}, got heads = {self.heads}")

    @classmethod
    def from_transformers(cls, config: Any) -> "DecoderSize":
        """Reads the size of the text decoder from a configuration of the Hugging Face library.

        Args:
            config: Configuration of a text model, or of a model of images and text, whose text part is read.

        Raises:
            ValueError: A decoder of another kind than the gated one that is counted here, such as a mixture of experts.

        Examples:
            >>> from transformers import LlamaConfig
            >>> DecoderSize.from_transformers(LlamaConfig(hidden_size=8, num_attention_heads=2, intermediate_size=5))
            DecoderSize(layers=32, hidden=8, heads=2, kv_heads=2, head_dim=4, mlp=5, mlp_matrices=3, vocabulary=32000)
        """
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        kind = getattr(text, "model_type", type(text).__name__)
        if kind not in GATED:
            raise ValueError(f"config must be of a text decoder among {', '.join(GATED)}, got {kind!r}")
        heads = text.num_attention_heads
        return cls(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=heads,
            kv_heads=text.num_key_value_heads or heads,
            head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
            mlp=text.intermediate_size,
            vocabulary=text.vocab_size,
        )


@dataclass(frozen=True)
class VisionSize:
    r"""The numbers of a CLIP-style vision tower that its FLOPs depend on.

    Args:
        layers: Layers that are actually run. LLaVA-1.5 reads the state after the last but one of 24 layers, so 23 are
            needed; Hugging Face's `LlavaForConditionalGeneration` runs all 24 and reads the penultimate state.
            The preset counts the 23; `dataclasses.replace(CLIP_VIT_L_14_336, layers=24)` is what that code does.
        hidden: Hidden size, a multiple of `heads`.
        heads: Attention heads.
        mlp: Inner size of the two-matrix MLP.
        image_size: Height and width of the square image in pixels, a multiple of `patch_size`.
        patch_size: Height and width of a patch in pixels.
        channels: Colour channels.

    Raises:
        TypeError: A field is not an int.
        ValueError: A field is below 1, or does not divide as said above.

    Examples:
        >>> CLIP_VIT_L_14_336.patches, CLIP_VIT_L_14_336.tokens
        (576, 577)
    """

    layers: int
    hidden: int
    heads: int
    mlp: int
    image_size: int
    patch_size: int
    channels: int = 3

    def __post_init__(self) -> None:
        _require_positive(self, VisionSize)
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads = {self.heads}, got hidden = {self.hidden}")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size = {self.patch_size}, got image_size = {self.image_size}"
            )

    @property
    def patches(self) -> int:
        """Patches of one image, which become its visual tokens."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Length of the sequence inside the tower: the patches and the class token."""
        return self.patches + 1


@dataclass(frozen=True)
class ProjectorSize:
    """The two linear layers from the tower to the decoder: `inputs` to `outputs`, then `outputs` to `outputs`.

    Args:
        inputs: Hidden size of the vision tower.
        outputs: Hidden size of the decoder.

    Raises:
        TypeError: A field is not an int.
        ValueError: A field is below 1.
    """

    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        _require_positive(self, ProjectorSize)


CLIP_VIT_L_14_336 = VisionSize(layers=23, hidden=1024, heads=16, mlp=4096, image_size=336, patch_size=14)
"""The tower of LLaVA-1.5: 23 of its 24 layers are counted (see `VisionSize`)."""

GATED = ("llama", "mistral", "qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen3", "qwen3_vl_text")
"""Text decoders of the Hugging Face library, by `model_type`, whose MLP has a gate: three matrices."""

LLAVA_1_5_7B = DecoderSize(layers=32, hidden=4096, heads=32, kv_heads=32, head_dim=128, mlp=11_008, vocabulary=32_064)
"""Vicuna-7B. The vocabulary is that of the Hugging Face checkpoint, padded; the original has 32,000 words."""

LLAVA_1_5_13B = DecoderSize(layers=40, hidden=5120, heads=40, kv_heads=40, head_dim=128, mlp=13_824, vocabulary=32_064)
"""Vicuna-13B, with the vocabulary of the Hugging Face checkpoint."""

QWEN_2_5_VL_7B = DecoderSize(layers=28, hidden=3584, heads=28, kv_heads=4, head_dim=128, mlp=18_944, vocabulary=152_064)
"""The decoder of Qwen2.5-VL-7B: grouped-query attention. Its vision tower is another design and is not counted here."""

QWEN_2_5_VL_72B = DecoderSize(
    layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, mlp=29_568, vocabulary=152_064
)
"""The decoder of Qwen2.5-VL-72B; its vision tower is not counted here."""

LLAVA_NEXT_MISTRAL_7B = DecoderSize(
    layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, mlp=14_336, vocabulary=32_064
)
"""LLaVA-NeXT-7B on Mistral; the one on Vicuna-7B has the decoder of LLaVA-1.5-7B."""

LLAVA_1_5_7B_PROJECTOR = ProjectorSize(inputs=CLIP_VIT_L_14_336.hidden, outputs=LLAVA_1_5_7B.hidden)
"""The projector of LLaVA-1.5-7B, 1024 to 4096 to 4096."""

LLAVA_1_5_13B_PROJECTOR = ProjectorSize(inputs=CLIP_VIT_L_14_336.hidden, outputs=LLAVA_1_5_13B.hidden)
"""The projector of LLaVA-1.5-13B, 1024 to 5120 to 5120."""

DECODERS = {
    "llava-1.5-7b": LLAVA_1_5_7B,
    "llava-1.5-13b": LLAVA_1_5_13B,
    "llava-next-mistral-7b": LLAVA_NEXT_MISTRAL_7B,
    "qwen2.5-vl-7b": QWEN_2_5_VL_7B,
    "qwen2.5-vl-72b": QWEN_2_5_VL_72B,
}
"""The decoder presets by name."""

"""A batch of prompts: token ids, which of them are padding, and which image each placeholder belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .._numerics.arguments import require_tensor
from .config import LlavaConfig
from .vocabulary import Vocabulary

_HELD = {"attended": "booleans, or integers 0 and 1", "positions": "integers"}


@dataclass(frozen=True)
class Prompt:
    """What the model reads besides pixels.

    Attributes:
        ids: `(batch, sequence)`, token ids; one placeholder for every visual token.
        attended: `(batch, sequence)`, False for padding, wherever it stands.
        image_index: `(batch, sequence)`, number of the image in its prompt (0, 1, …), -1 for text and padding.
        positions: `(batch, sequence)`, rotary position: the number of attended tokens before.
    """

    ids: Int[Tensor, "batch sequence"]
    attended: Bool[Tensor, "batch sequence"]
    image_index: Int[Tensor, "batch sequence"]
    positions: Int[Tensor, "batch sequence"]

    @property
    def images(self) -> int:
        """Images in all prompts."""
        return int((self.image_index.amax(dim=1) + 1).sum())


def read_prompt(
    questions: Sequence[str] | Int[Tensor, "batch sequence"],
    config: LlavaConfig,
    attended: Bool[Tensor, "batch sequence"] | None = None,
    positions: Int[Tensor, "batch sequence"] | None = None,
) -> Prompt:
    """Returns a prompt from questions as text (one image each, padded at the left) or as token ids.

    Args:
        questions: Texts for a model with a vocabulary, or ids with placeholders already expanded.
        config: The model's.
        attended: With ids only: False (or 0) for padding. Default: no padding.
        positions: With ids only: rotary positions in place of the default.

    Raises:
        TypeError: `questions` is neither texts nor a tensor of integers.
        ValueError: Empty questions, an unknown word, ids out of range, a placeholder count that no number of images
            has, a mask of another shape, or one that leaves nothing of a prompt.
    """
    if isinstance(questions, Tensor):
        ids = require_ids("questions", questions, config)
        if ids.ndim != 2 or 0 in ids.shape:
            raise ValueError(f"questions must have shape (batch, sequence), neither empty, got {tuple(ids.shape)}")
    else:
        if isinstance(questions, str) or not all(isinstance(text, str) for text in questions):
            raise TypeError("questions must be a list of texts or a tensor of token ids")
        if attended is not None or positions is not None:
            raise ValueError("attended and positions must not be given for questions as text")
        ids, attended = _encode(questions, config)
    for name, value in (("attended", attended), ("positions", positions)):
        if value is None:
            continue
        if require_tensor(name, value).shape != ids.shape:
            raise ValueError(f"{name} must have the shape of questions, {tuple(ids.shape)}, got {tuple(value.shape)}")
        if value.is_floating_point() or value.is_complex() or (name == "positions" and value.dtype == torch.bool):
            raise TypeError(f"{name} must hold {_HELD[name]}, got {value.dtype}")
    if attended is not None and attended.dtype != torch.bool and ((attended != 0) & (attended != 1)).any():
        raise ValueError(f"attended must hold {_HELD['attended']}, got {int(attended.min())} to {int(attended.max())}")
    attended = torch.ones_like(ids, dtype=torch.bool) if attended is None else attended.bool()
    if not attended.any(dim=1).all():
        row = attended.any(dim=1).tolist().index(False)
        raise ValueError(f"attended must be True for at least one token of every prompt, got none in prompt {row}")
    if positions is None:
        positions = (attended.long().cumsum(dim=1) - 1).clamp(min=0)
    return Prompt(ids, attended, _image_index(ids, attended, config), positions)


def require_ids(name: str, value: object, config: LlavaConfig) -> Tensor:
    """Returns `value` if it is a tensor of token ids of the model."""
    ids = require_tensor(name, value)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must hold integer token ids, got {ids.dtype}")
    size = config.decoder.vocabulary
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
        raise ValueError(f"{name} must hold ids in [0, {size - 1}], got {int(ids.min())} to {int(ids.max())}")
    return ids


def _encode(questions: Sequence[str], config: LlavaConfig) -> tuple[Tensor, Tensor]:
    """Returns ids and mask of one prompt per question, padded at the left."""
    if not questions:
        raise ValueError("questions must have at least one entry, got none")
    vocabulary = Vocabulary.of(config)
    rows = [vocabulary.prompt(text, config.vision.patches) for text in questions]
    length = max(map(len, rows))
    ids = torch.tensor([[vocabulary.pad] * (length - len(row)) + row for row in rows], device="cpu")
    attended = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows], device="cpu")
    return ids, attended


def _image_index(ids: Tensor, attended: Tensor, config: LlavaConfig) -> Tensor:
    """Numbers the images of each row: every `patches` placeholders are one."""
    placeholder = (ids == config.image_token) & attended
    counts = placeholder.sum(dim=1)
    patches = config.vision.patches
    for row, count in enumerate(counts.tolist()):
        if count % patches:
            raise ValueError(
                f"questions must hold {patches} placeholders (id {config.image_token}) an image, "
                f"got {count} in prompt {row}"
            )
    number = (placeholder.long().cumsum(dim=1) - 1) // patches
    return torch.where(placeholder, number, -1)

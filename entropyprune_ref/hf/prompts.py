"""A question about images or a video, as a model of the library takes it, and where its visual tokens lie.

The text comes from the checkpoint's chat template and tokenizer, the pixels from its image processor. Placeholders are
written here, one for every visual token, by the layouts of `sheets`; where a model's own processor can be had, a test
compares them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .pixels import FILMS, QWEN, TILED, frame_pixels, image_pixels
from .sheets import Picture, Sheet

READABLE = ("llava", *TILED, *QWEN)
"""Model types whose prompts can be prepared here."""

TEMPLATES = {
    "qwen": "<|im_start|>user\n{visual}{question}<|im_end|>\n<|im_start|>assistant\n",
    "llava": "USER: {visual}\n{question} ASSISTANT:",
}
"""Used for checkpoints without a chat template."""


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        text: As the tokenizer got it, with one placeholder for every image.
        inputs: What the model is called with, on the CPU.
        sheets: Where the visual tokens lie, in the order of the prompt.
    """

    text: str
    inputs: dict[str, Tensor]
    sheets: list[Sheet]

    @property
    def visual_tokens(self) -> int:
        """How many of its tokens are visual."""
        return sum(sheet.tokens for sheet in self.sheets)

    def inputs_for(self, model: Any) -> dict[str, Tensor]:
        """Returns the inputs on the model's device, pixels in its dtype."""
        moved: dict[str, Tensor] = {}
        for name, value in self.inputs.items():
            moved[name] = value.to(model.device)
            if name.startswith("pixel_values"):
                moved[name] = moved[name].to(model.dtype)
        return moved


class Reader:
    """Prepares prompts for the models of one checkpoint.

    Args:
        config: Configuration of the model.
        tokenizer: Tokenizer of the checkpoint.
        processor: Its image processor.

    Raises:
        ValueError: A family whose prompts cannot be prepared here.
    """

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        if config.model_type not in READABLE:
            raise ValueError(
                f"model must be of a family whose prompts can be prepared here, {', '.join(READABLE)}, "
                f"got {config.model_type}; use entropyprune_ref.hf.pruned with its own processor"
            )
        self.config, self.tokenizer, self.processor = config, tokenizer, processor
        self.qwen = config.model_type in QWEN

    def prompt(
        self, question: str, *, images: Sequence[Picture] = (), frames: Sequence[Picture] = (), fps: float = 2.0
    ) -> Prompt:
        """Returns the prompt of a question about images, or about the frames of one video.

        Args:
            question: What to ask.
            images: Pictures `(height, width, 3)`, uint8.
            frames: The same, of one size.
            fps: Frames a second, above 0; only Qwen2.5-VL has positions in time.

        Raises:
            ValueError: Not exactly one of the two; `fps` out of range; a family without videos; frames of unequal size;
                a template that does not write one placeholder for each image.
        """
        if bool(images) == bool(frames):
            raise ValueError("exactly one of images and frames must be given")
        if not 0 < fps < math.inf:
            raise ValueError(f"fps must be above 0 and finite, got {fps}")
        if frames and self.config.model_type not in FILMS:
            raise ValueError(f"frames must be given to one of {', '.join(FILMS)}, got {self.config.model_type}")
        if len({frame.shape for frame in frames}) > 1:
            raise ValueError("frames must have one size, got several")
        kind = "video" if frames else "image"
        if frames:
            pixels = frame_pixels(self.config, self.processor, frames, fps)
        else:
            pixels = image_pixels(self.config, self.processor, images)
        text = self._text(question, kind, len(pixels.counts))
        return Prompt(text, {**self._tokens(text, kind, pixels.counts), **pixels.inputs}, pixels.sheets)

    def _text(self, question: str, kind: str, count: int) -> str:
        template = getattr(self.tokenizer, "chat_template", None)
        if template:
            content = [{"type": kind} for _ in range(count)] + [{"type": "text", "text": question}]
            messages = [{"role": "user", "content": content}]
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        placeholder = self.tokenizer.convert_ids_to_tokens(self._placeholder(kind))
        one = f"<|vision_start|>{placeholder}<|vision_end|>" if self.qwen else placeholder
        return TEMPLATES["qwen" if self.qwen else "llava"].format(visual=one * count, question=question)

    def _placeholder(self, kind: str) -> int:
        return int(getattr(self.config, f"{kind}_token_id"))

    def _tokens(self, text: str, kind: str, counts: list[int]) -> dict[str, Any]:
        """Ids with each placeholder repeated for every visual token of its image."""
        start = self.tokenizer.bos_token
        special = not (start and text.startswith(start))
        written = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        placeholder, found = self._placeholder(kind), 0
        ids: list[int] = []
        for token in written:
            if token != placeholder:
                ids.append(token)
                continue
            found += 1
            ids += [placeholder] * (counts[found - 1] if found <= len(counts) else 1)
        if found != len(counts):
            name = self.tokenizer.convert_ids_to_tokens(placeholder)
            raise ValueError(
                f"the prompt must have one placeholder {name!r} for each {kind}, {len(counts)}, got {found}; "
                "does the question contain one, or the chat template none?"
            )
        row = torch.tensor([ids])
        tokens = {"input_ids": row, "attention_mask": torch.ones_like(row)}
        if self.qwen:
            tokens["mm_token_type_ids"] = (row == placeholder).long() * (1 if kind == "image" else 2)
        return tokens

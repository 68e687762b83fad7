"""A question about images or a video, as a model of the library takes it, and where its visual tokens lie.

The text comes from the checkpoint's chat template and tokenizer, the pixels from its image processor. Placeholders are
written here, one for every visual token, by the layouts of `sheets`; where a model's own processor can be had, a test
compares them. Frames of a video are prepared as images are, for Qwen in pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from .sheets import Picture, Sheet, cropped, plain_sheet, tiled_sheets, whole

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
TILED = ("llava_next", "llava_next_video")
READABLE = ("llava", *TILED, *QWEN)
"""Model types whose prompts can be prepared here."""

FILMS = ("llava_next_video", "qwen2_vl", "qwen2_5_vl")
"""Those of which videos can be."""

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
    inputs: dict[str, Any]
    sheets: list[Sheet]

    @property
    def visual_tokens(self) -> int:
        """How many of its tokens are visual."""
        return sum(sheet.tokens for sheet in self.sheets)

    def inputs_for(self, model: Any) -> dict[str, Any]:
        """Returns the inputs on the model's device, pixels in its dtype."""
        moved = {}
        for name, value in self.inputs.items():
            if isinstance(value, Tensor):
                value = value.to(model.device, model.dtype if value.is_floating_point() else None)
            moved[name] = value
        return moved


@dataclass
class _Pixels:
    """What the image processor made of all pictures."""

    inputs: dict[str, Any] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, sheets: list[Sheet]) -> None:
        self.sheets += sheets
        self.counts.append(sum(sheet.tokens for sheet in sheets))

    @property
    def total(self) -> int:
        return sum(self.counts)


class Reader:
    """Prepares prompts for the models of one checkpoint.

    Args:
        config: Of the model.
        tokenizer: Of the checkpoint.
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
        pixels = self._frames(frames, fps) if frames else self._images(images)
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

    def _images(self, images: Sequence[Picture]) -> _Pixels:
        made = self._processed(images)
        pixels = _Pixels(made)
        for number, picture in enumerate(images):
            name = f"image {number + 1}, " if len(images) > 1 else ""
            first = pixels.total
            if self.qwen:
                _, rows, columns = (made["image_grid_thw"][number] // self._merge(grid=True)).tolist()
                pixels.add([plain_sheet(f"{name}whole", picture, whole(picture), rows, columns, first)])
            elif self.config.model_type in TILED:
                tower = self.config.vision_config
                canvases = self.config.image_grid_pinpoints
                pixels.add(tiled_sheets(picture, name, tower.image_size, tower.patch_size, canvases, first))
            else:
                side = self._side()
                pixels.add(
                    [plain_sheet(f"{name}as cropped", picture, cropped(picture, self.processor), side, side, first)]
                )
        return pixels

    def _frames(self, frames: Sequence[Picture], fps: float) -> _Pixels:
        if self.qwen:
            return self._qwen_frames(frames, fps)
        processor = self._frame_processor()
        values = processor(images=_opened(frames), return_tensors="pt")["pixel_values"]
        side = self._side() // int(self.config.spatial_pool_stride)
        pixels = _Pixels({"pixel_values_videos": values[None]}, counts=[len(frames) * side**2])
        for number, frame in enumerate(frames):
            area = cropped(frame, processor)
            pixels.sheets.append(plain_sheet(f"frame {number + 1}", frame, area, side, side, number * side**2))
        return pixels

    def _frame_processor(self) -> Any:
        """Frames are resized and cropped like the images of LLaVA-1.5, without tiles."""
        names = ("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor")
        return CLIPImageProcessorPil(**{name: getattr(self.processor, name) for name in names})

    def _qwen_frames(self, frames: Sequence[Picture], fps: float) -> _Pixels:
        """Frames two by two: a patch of a video spans both, where a patch of an image has one of them twice."""
        made, span = self._processed(frames), int(self.config.vision_config.temporal_patch_size)
        _, height, width = made["image_grid_thw"][0].tolist()
        patch = int(self.config.vision_config.patch_size)
        values = made["pixel_values"].reshape(len(frames), height * width, -1, span, patch**2)[:, :, :, 0]
        padding = -len(frames) % span
        values = torch.cat([values, values[-1:].expand(padding, -1, -1, -1)])
        steps = len(values) // span
        joined = values.reshape(steps, span, height * width, -1, patch**2).permute(0, 2, 3, 1, 4)
        pixels = _Pixels({"pixel_values_videos": joined.reshape(steps * height * width, -1)})
        pixels.inputs["video_grid_thw"] = torch.tensor([[steps, height, width]])
        if self.config.model_type == "qwen2_5_vl":
            pixels.inputs["second_per_grid_ts"] = torch.tensor([span / fps])
        rows, columns = height // self._merge(), width // self._merge()
        for step in range(steps):
            last = min(span * (step + 1), len(frames))
            title, frame = f"frames {span * step + 1} to {last}", frames[span * step]
            pixels.sheets.append(plain_sheet(title, frame, whole(frame), rows, columns, step * rows * columns))
        pixels.counts = [steps * rows * columns]
        return pixels

    def _processed(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        return dict(self.processor(images=_opened(pictures), return_tensors="pt"))

    def _side(self) -> int:
        """Patches on a side of a square picture."""
        tower = self.config.vision_config
        return int(tower.image_size // tower.patch_size)

    def _merge(self, grid: bool = False) -> Any:
        size = int(self.config.vision_config.spatial_merge_size)
        return torch.tensor([1, size, size]) if grid else size


def _opened(pictures: Sequence[Picture]) -> list[Image.Image]:
    return [Image.fromarray(np.asarray(picture)) for picture in pictures]

"""Pictures as a model of the library takes them, with the sheets that say what its visual tokens stand for.

Frames of a video are prepared as images are: for LLaVA-NeXT-Video cropped and without tiles, for Qwen in pairs.
"""

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
"""Model types that take an image at its own size, in blocks."""

TILED = ("llava_next", "llava_next_video")
"""Those that see it whole and in tiles."""

FILMS = ("llava_next_video", "qwen2_vl", "qwen2_5_vl")
"""Those whose videos can be prepared here."""


@dataclass
class Pixels:
    """What an image processor made of all pictures of a prompt.

    Attributes:
        inputs: For the model.
        sheets: Where its visual tokens lie, in order.
        counts: How many placeholders each image, or the video, needs.
    """

    inputs: dict[str, Tensor]
    sheets: list[Sheet] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def image_pixels(config: Any, processor: Any, images: Sequence[Picture]) -> Pixels:
    """Prepares the images of a prompt."""
    made = _processed(processor, images)
    pixels = Pixels(made)
    for number, picture in enumerate(images):
        name = f"image {number + 1}, " if len(images) > 1 else ""
        first, tower = sum(pixels.counts), config.vision_config
        if config.model_type in QWEN:
            _, height, width = made["image_grid_thw"][number].tolist()
            rows, columns = height // tower.spatial_merge_size, width // tower.spatial_merge_size
            sheets = [plain_sheet(f"{name}whole", picture, whole(picture), rows, columns, first)]
        elif config.model_type in TILED:
            canvases = config.image_grid_pinpoints
            sheets = tiled_sheets(picture, name, tower.image_size, tower.patch_size, canvases, first)
        else:
            side, area = tower.image_size // tower.patch_size, cropped(picture, processor)
            sheets = [plain_sheet(f"{name}as cropped", picture, area, side, side, first)]
        pixels.sheets += sheets
        pixels.counts.append(sum(sheet.tokens for sheet in sheets))
    return pixels


def frame_pixels(config: Any, processor: Any, frames: Sequence[Picture], fps: float) -> Pixels:
    """Prepares the frames of a video, of which there are `fps` a second."""
    if config.model_type in QWEN:
        return _paired_frames(config, processor, frames, fps)
    names = ("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor")
    cropping = CLIPImageProcessorPil(**{name: getattr(processor, name) for name in names})
    values = _processed(cropping, frames)["pixel_values"]
    tower = config.vision_config
    side = int(tower.image_size // tower.patch_size // config.spatial_pool_stride)
    pixels = Pixels({"pixel_values_videos": values[None]}, counts=[len(frames) * side**2])
    for number, frame in enumerate(frames):
        area, first = cropped(frame, cropping), number * side**2
        pixels.sheets.append(plain_sheet(f"frame {number + 1}", frame, area, side, side, first))
    return pixels


def _paired_frames(config: Any, processor: Any, frames: Sequence[Picture], fps: float) -> Pixels:
    """Frames two by two: a patch of a video spans both, where a patch of an image has one of them twice."""
    tower = config.vision_config
    made, span, patch = _processed(processor, frames), int(tower.temporal_patch_size), int(tower.patch_size)
    _, height, width = made["image_grid_thw"][0].tolist()
    values = made["pixel_values"].reshape(len(frames), height * width, -1, span, patch**2)[:, :, :, 0]
    values = torch.cat([values, values[-1:].expand(-len(frames) % span, -1, -1, -1)])
    steps = len(values) // span
    joined = values.reshape(steps, span, height * width, -1, patch**2).permute(0, 2, 3, 1, 4)
    pixels = Pixels({"pixel_values_videos": joined.reshape(steps * height * width, -1)})
    pixels.inputs["video_grid_thw"] = torch.tensor([[steps, height, width]])
    if config.model_type == "qwen2_5_vl":
        pixels.inputs["second_per_grid_ts"] = torch.tensor([span / fps])
    rows, columns = height // tower.spatial_merge_size, width // tower.spatial_merge_size
    for step in range(steps):
        title, frame = f"frames {span * step + 1} to {min(span * (step + 1), len(frames))}", frames[span * step]
        pixels.sheets.append(plain_sheet(title, frame, whole(frame), rows, columns, step * rows * columns))
    pixels.counts = [steps * rows * columns]
    return pixels


def _processed(processor: Any, pictures: Sequence[Picture]) -> dict[str, Tensor]:
    images = [Image.fromarray(np.asarray(picture)) for picture in pictures]
    return dict(processor(images=images, return_tensors="pt"))

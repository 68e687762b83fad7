"""A user's own image as the bundled model reads it: square, small, RGB."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entropyprune_ref.world.scenes import IMAGE_SIZE

if TYPE_CHECKING:
    from PIL import Image


_LARGEST = 32
"""Times the model's own size: what is larger is averaged down before it is padded."""


def read_image(path: Path, size: int = IMAGE_SIZE) -> tuple[np.ndarray, str]:
    """Reads an image file, pads it to a square with its mean colour as LLaVA-1.5 does, and resizes it.

    Sixteen bits a channel become eight; transparent pixels become mid-grey, the background of the little world; the
    orientation that a camera noted in the file is applied; of an animation the first frame is taken.

    Args:
        path: A file that Pillow reads.
        size: Pixels on a side, as the model reads them.

    Returns:
        `(size, size, 3)` uint8, RGB; and one sentence that says what was done to the image.

    Raises:
        ValueError: There is no such file, it is not an image that can be read whole, or its pixels are numbers of
            unknown range.
    """
    from PIL import Image, ImageOps  # only a user's own image needs it

    if not path.is_file():
        raise ValueError(
            f"image must be a file, got {path}, which {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    try:
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
            opened = ImageOps.exif_transpose(_eight_bits(file)).convert("RGBA")
    except (EOFError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image must be an image file that can be read, got {path}: {error}") from None
    backing = Image.new("RGBA", opened.size, (128, 128, 128, 255))
    image = Image.alpha_composite(backing, opened).convert("RGB")
    width, height = image.size
    name = str(path) if frames == 1 else f"the first of {frames} frames of {path}"
    if (width, height) == (size, size):
        return np.array(image), f"{name} is {width} × {height} pixels, as the model reads it"
    mean = tuple(round(float(level)) for level in np.asarray(image).mean(axis=(0, 1)))
    side = max(width, height)
    scale = min(1.0, _LARGEST * size / side)  # a long strip would become a square of gigabytes
    if scale < 1:
        image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    within = max(image.size)
    square = Image.new("RGB", (within, within), mean)
    square.paste(image, ((within - image.width) // 2, (within - image.height) // 2))
    padded = "" if width == height else f"padded to {side} × {side} with its mean colour and "
    resized = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized), f"{name}, {width} × {height} pixels, was {padded}resized to {size} × {size}"


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """The image with eight bits a channel; Pillow would cut larger numbers off at 255.

    Raises:
        ValueError: Its pixels are 32-bit or floating-point numbers, whose range the file does not tell.
    """
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # PNG has no more than 16 bits
        return Image.fromarray(np.round(np.asarray(image).astype(np.float64) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind} of unknown range; save it with 8 or 16 bits a channel")
    return image

"""A user's own image as the bundled model reads it: square, small, RGB."""

from pathlib import Path

import numpy as np

from entropyprune_ref.world.scenes import IMAGE_SIZE


def read_image(path: Path, size: int = IMAGE_SIZE) -> tuple[np.ndarray, str]:
    """Reads an image file, pads it to a square with its mean colour as LLaVA-1.5 does, and resizes it.

    Transparent pixels become mid-grey, the background of the little world; the orientation that a camera noted in the
    file is applied.

    Args:
        path: A file that Pillow reads.
        size: Pixels on a side, as the model reads them.

    Returns:
        `(size, size, 3)` uint8, RGB; and one sentence that says what was done to the image.

    Raises:
        ValueError: There is no such file, or it is not an image that can be read whole.
    """
    from PIL import Image, ImageOps  # only a user's own image needs it

    if not path.is_file():
        raise ValueError(
            f"image must be a file, got {path}, which {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    try:
        with Image.open(path) as file:
            opened = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image must be an image file that can be read, got {path}: {error}") from None
    backing = Image.new("RGBA", opened.size, (128, 128, 128, 255))
    image = Image.alpha_composite(backing, opened).convert("RGB")
    width, height = image.size
    if (width, height) == (size, size):
        return np.array(image), f"{path} is {width} × {height} pixels, as the model reads it"
    mean = tuple(round(float(level)) for level in np.asarray(image).mean(axis=(0, 1)))
    side = max(width, height)
    square = Image.new("RGB", (side, side), mean)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    padded = "" if width == height else f"padded to {side} × {side} with its mean colour and "
    resized = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized), f"{path}, {width} × {height} pixels, was {padded}resized to {size} × {size}"

"""What the commands on real models share: their options, and pictures read from files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ..pruner import EntropyPrune
from ..scoring import PAPER, RELEASED, ROW_NORMALIZED

CONVENTIONS = {"paper": PAPER, "row_normalized": ROW_NORMALIZED, "released": RELEASED}
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns several options as one decorator, in the order in which the help lists them."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


model_options = options(
    click.option("--model", "name", required=True, help="Folder of a checkpoint, or a name that can be resolved."),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ..., or auto for several."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16 or float64."),
    click.option("--attention", help="Attention implementation, such as eager or sdpa.  [default: the library's]"),
)

prompt_options = options(
    click.option("--image", "images", multiple=True, type=click.Path(path_type=Path), help="May be repeated."),
    click.option("--video", type=click.Path(path_type=Path), help="Folder of frames, in order of names, or a GIF."),
    click.option("--fps", default=2.0, show_default=True, help="Frames a second of the video."),
    click.option("--question", required=True, help="What to ask."),
)

pruner_options = options(
    click.option("--layer", default=2, show_default=True, help="Prune layer, the first that runs pruned."),
    click.option("--average", type=float, help="Budget: visual tokens per layer, averaged over all layers."),
    click.option("--keep", type=int, help="Budget: visual tokens kept from the prune layer on."),
    click.option("--ratio", type=float, help="Budget: share of the visual tokens that is dropped."),
    click.option(
        "--convention",
        type=click.Choice(list(CONVENTIONS)),
        default="paper",
        show_default=True,
        help="Formula of the token entropy.",
    ),
    click.option(
        "--over-images",
        type=click.Choice(["each", "all"]),
        default="each",
        show_default=True,
        help="Whether every image keeps its share, or all compete.",
    ),
)


def pruner_of(
    layer: int, average: float | None, keep: int | None, ratio: float | None, convention: str, over_images: Any
) -> EntropyPrune:
    """Returns the pruner that the options describe."""
    formula = CONVENTIONS[convention]
    return EntropyPrune(layer, keep, average=average, ratio=ratio, convention=formula, over_images=over_images)


def real() -> Any:
    """Returns the module for real models, or says what is missing for it."""
    try:
        from .. import hf
        from ..hf import checkpoints
    except ImportError as error:
        raise click.UsageError(str(error)) from None
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return hf, checkpoints


def pictures_of(images: tuple[Path, ...], video: Path | None) -> dict[str, list[np.ndarray]]:
    """Returns the pictures of a prompt, by the name of the argument that takes them."""
    if bool(images) == (video is not None):
        raise click.UsageError("--image or --video must be given, and not both")
    if video is None:
        return {"images": [read_picture(path) for path in images]}
    frames = [read_picture(path) for path in picture_files(video)] if video.is_dir() else read_frames(video)
    return {"frames": frames}


def picture_files(folder: Path) -> list[Path]:
    """Returns all image files of a folder, sorted by name."""
    if not folder.is_dir():
        raise click.UsageError(f"{folder} must be a folder of images, got {'a file' if folder.exists() else 'nothing'}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise click.UsageError(f"{folder} must hold images ({', '.join(IMAGE_ENDINGS)}), got none")
    return found


def read_picture(path: Path) -> np.ndarray:
    """Returns an image file as `(height, width, 3)`, uint8, upright."""
    return _read(path)[0]


def read_frames(path: Path) -> list[np.ndarray]:
    """Returns all frames of an animated image."""
    return _read(path, all_frames=True)


def _read(path: Path, all_frames: bool = False) -> list[np.ndarray]:
    try:
        with Image.open(path) as file:
            frames = ImageSequence.Iterator(file) if all_frames else [ImageOps.exif_transpose(file)]
            return [np.asarray(frame.convert("RGB")) for frame in frames]
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not an image that can be read"
        raise click.UsageError(f"{path} must be an image, got: {reason}") from None

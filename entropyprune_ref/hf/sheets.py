"""Where every visual token of a prompt lies on the user's own pictures: the whole image, its tiles, the frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropyprune_ref.flops import TiledImage, tiled_image

Picture = np.ndarray
"""`(height, width, 3)`, uint8."""


@dataclass(frozen=True)
class Sheet:
    """One picture with the grid of visual tokens that stand for it.

    Attributes:
        title: What it shows, such as "tiles" or "frame 3".
        picture: `(height, width, 3)`, uint8: as the user gave it.
        area: Left, top, right and bottom, in pixels of the picture, of what the grid covers; parts may lie outside.
        grid: `(rows, columns)`, int64: the number of the visual token of each cell, counted through the whole prompt.
        newlines: `(rows,)`, int64: the token that ends each row; empty where rows have none.
    """

    title: str
    picture: Picture
    area: tuple[float, float, float, float]
    grid: np.ndarray
    newlines: np.ndarray

    @property
    def tokens(self) -> int:
        """Visual tokens that lie on it."""
        return self.grid.size + self.newlines.size


def plain_sheet(
    title: str, picture: Picture, area: tuple[float, float, float, float], rows: int, columns: int, first: int
) -> Sheet:
    """Returns a sheet whose tokens are numbered row by row from `first` on."""
    grid = np.arange(first, first + rows * columns).reshape(rows, columns)
    return Sheet(title, picture, area, grid, np.empty(0, dtype=np.int64))


def whole(picture: Picture) -> tuple[float, float, float, float]:
    """The area of a picture that is squeezed as a whole into what the model sees."""
    return 0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])


def cropped(picture: Picture, processor: Any) -> tuple[float, float, float, float]:
    """The area that is left when an image processor has resized and cropped a picture, or padded it to a square."""
    height, width = picture.shape[:2]
    if getattr(processor, "do_pad", False) and not getattr(processor, "image_grid_pinpoints", None):
        side = max(height, width)
        return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2
    size, crop = processor.size, getattr(processor, "crop_size", None)
    edge = _entry(size, "shortest_edge")
    if edge is None or crop is None or not getattr(processor, "do_center_crop", False):
        return whole(picture)
    scale = edge / min(height, width)
    half_height, half_width = (_entry(crop, name) / scale / 2 for name in ("height", "width"))
    return width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height


def tiled_sheets(
    picture: Picture, name: str, tile: int, patch: int, canvases: Sequence[Any], first: int
) -> list[Sheet]:
    """Returns the two sheets of an image of LLaVA-NeXT: seen whole, and in tiles whose rows end in newlines."""
    height, width = picture.shape[:2]
    layout = tiled_image(height, width, tile=tile, patch=patch, canvases=canvases)
    view = plain_sheet(f"{name}whole", picture, whole(picture), layout.side, layout.side, first)
    places = first + layout.side**2 + np.arange(layout.rows * (layout.columns + 1))
    rows = places.reshape(layout.rows, layout.columns + 1)
    area = _tiles_area(height, width, layout, patch)
    return [view, Sheet(f"{name}in tiles", picture, area, rows[:, :-1], rows[:, -1])]


def _tiles_area(height: int, width: int, layout: TiledImage, patch: int) -> tuple[float, float, float, float]:
    """What the unpadded patches cover: the image is scaled, rounded up to pixels, and centred on the canvas."""
    canvas_height, canvas_width = (side * patch for side in layout.canvas)
    scale = min(canvas_height / height, canvas_width / width)
    top = (canvas_height - min(math.ceil(height * scale), canvas_height)) // 2
    left = (canvas_width - min(math.ceil(width * scale), canvas_width)) // 2
    row, column = layout.corner
    start = ((column * patch - left) / scale, (row * patch - top) / scale)
    return (*start, start[0] + layout.columns * patch / scale, start[1] + layout.rows * patch / scale)


def _entry(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)

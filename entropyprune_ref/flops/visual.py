r"""Section 6, how many visual tokens an image becomes where that depends on its size: LLaVA-NeXT and Qwen2.5-VL.

LLaVA-NeXT shows the whole image once, squeezed into a square, and then again in tiles: the image is scaled to fit one
of a few canvases, centred on it, and the canvas is cut into tiles. The patches of the padding are dropped again, and
every row of patches that is left ends in one learnt token, the *newline*. Qwen2.5-VL rounds height and width to whole
blocks of pixels, and every block is a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from entropyprune_ref._numerics.arguments import require_integer

LLAVA_NEXT_CANVASES = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""The canvases of LLaVA-NeXT (LLaVA-1.6), height before width, in the order in which they are tried."""

QWEN_2_5_VL_PIXELS = (56 * 56, 16_384 * 28 * 28)
"""Fewest and most pixels of an image in the checkpoints of Qwen2.5-VL."""


@dataclass(frozen=True)
class TiledImage:
    """How LLaVA-NeXT lays out the visual tokens of one image.

    Attributes:
        side: Patches on a side of a tile, and of the square view of the whole image, which comes first.
        canvas: Rows and columns of patches of all tiles together.
        rows: Rows of patches left when those of the padding are dropped.
        columns: Columns left.
    """

    side: int
    canvas: tuple[int, int]
    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """Visual tokens: the square view, the tiles, and a newline at the end of every row of the tiles."""
        return self.side**2 + self.rows * (self.columns + 1)

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the canvas where what is left begins: the same padding is dropped on both sides."""
        return (self.canvas[0] - self.rows) // 2, (self.canvas[1] - self.columns) // 2


def tiled_image(
    height: int,
    width: int,
    *,
    tile: int = 336,
    patch: int = 14,
    canvases: Sequence[Sequence[int]] = LLAVA_NEXT_CANVASES,
) -> TiledImage:
    r"""Says how LLaVA-NeXT lays out an image of any size.

    That canvas $(H, W)$ is taken on which the image, scaled by $s = \min(H / height, W / width)$, shows the most of its
    own pixels, $\min(\lfloor s \cdot height \rfloor \lfloor s \cdot width \rfloor, height \cdot width)$; of equal ones
    the one with the fewest pixels, then the first. In patches the canvas has $R = H / patch$ rows and $C = W / patch$
    columns. An image wider in proportion fills all columns and $r = \lfloor height \cdot C / width \rfloor$ rows, so
    that $\lfloor (R - r) / 2 \rfloor$ rows are dropped above and as many below; a taller one likewise in columns. What
    is left, with $n = tile / patch$:

    $$N = n^2 + rows \cdot (columns + 1)$$

    Args:
        height: Height of the image in pixels, at least 1.
        width: Width of the image in pixels, at least 1.
        tile: Height and width of a tile in pixels: the input of the vision tower.
        patch: Height and width of a patch in pixels, a divisor of `tile`.
        canvases: Pairs of height and width in pixels, multiples of `tile` (`image_grid_pinpoints`).

    Returns:
        The layout; its `tokens` is the number of visual tokens.

    Raises:
        TypeError: A size is not an int.
        ValueError: A size is out of range or does not divide; no canvas; an image so narrow that no pixel of it is left
            on any canvas.

    Examples:
        A square of 672 pixels fills four tiles, 24² + 48 · 49; 2,880 is the count without newlines.

        >>> tiled_image(672, 672).tokens, tiled_image(480, 640).tokens, tiled_image(336, 336).tokens
        (2928, 2340, 1176)

    Notes:
        The quotients are floating-point numbers, as in the models, rounded to 7 digits before they are cut: an image
        of exactly the canvas's proportions must lose no row to rounding.
    """
    require_integer("height", height, 1)
    require_integer("width", width, 1)
    require_integer("tile", tile, 1)
    require_integer("patch", patch, 1, tile)
    if tile % patch or not canvases or any(side < tile or side % tile for canvas in canvases for side in canvas):
        raise ValueError(
            f"canvases must be pairs of multiples of tile, and tile a multiple of patch, got canvases = {canvases}, "
            f"tile = {tile} and patch = {patch}"
        )
    best_height, best_width = _best_canvas(height, width, canvases)
    rows, columns = best_height // patch, best_width // patch
    canvas = rows, columns
    if width / height > columns / rows:
        rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
    else:
        columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
    return TiledImage(tile // patch, canvas, rows, columns)


def _best_canvas(height: int, width: int, canvases: Sequence[Sequence[int]]) -> tuple[int, int]:
    def shown(canvas: Sequence[int]) -> int:
        scale = min(canvas[1] / width, canvas[0] / height)
        return min(int(width * scale) * int(height * scale), height * width)

    best = max(canvases, key=lambda canvas: (shown(canvas), -canvas[0] * canvas[1]))
    if not shown(best):
        raise ValueError(f"height and width must leave a pixel on some canvas, got {height} × {width}")
    return best[0], best[1]


def block_grid(
    height: int, width: int, *, block: int = 28, pixels: tuple[int, int] = QWEN_2_5_VL_PIXELS
) -> tuple[int, int]:
    r"""Says how many rows and columns of visual tokens Qwen2-VL and Qwen2.5-VL make of an image of any size.

    A token is a block of 2 × 2 patches of 14 × 14 pixels, hence $b$ = `block` = 28. Height and width are rounded to
    the nearest multiples of $b$ (halves to the even one). If that is more than the most pixels $P$, both are divided
    by $\beta = \sqrt{height \cdot width / P}$ and rounded down, to at least one block; if it is fewer than the fewest,
    both are multiplied by the same factor and rounded up.

    $$N = rows \cdot columns$$

    Args:
        height: Height of the image in pixels, at least 1.
        width: Width of the image in pixels, at least 1.
        block: Pixels on a side of the block behind one token: patch size times merge size.
        pixels: Fewest and most pixels after resizing (`min_pixels`, `max_pixels`, or `size` of the processor).

    Returns:
        `(rows, columns)`; a video has as many for every pair of frames.

    Raises:
        TypeError: A size is not an int.
        ValueError: A size is out of range, or one side is more than 200 times the other, which the models refuse.

    Examples:
        >>> block_grid(480, 640)  # 480 / 28 = 17.1 and 640 / 28 = 22.9
        (17, 23)
        >>> block_grid(20, 20)  # raised to at least 56 x 56 pixels
        (2, 2)
    """
    require_integer("height", height, 1)
    require_integer("width", width, 1)
    require_integer("block", block, 1)
    low, high = (require_integer("pixels", count, 1) for count in pixels)
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"height and width must differ by at most a factor of 200, got {height} × {width}")
    rows, columns = round(height / block), round(width / block)
    if rows * columns * block**2 > high:
        shrink = math.sqrt(height * width / high)
        rows, columns = (max(1, math.floor(side / shrink / block)) for side in (height, width))
    elif rows * columns * block**2 < low:
        grow = math.sqrt(low / (height * width))
        rows, columns = (math.ceil(side * grow / block) for side in (height, width))
    return rows, columns

"""The little world: a few small coloured shapes on a noisy grey background, drawn from a seed.

Objects are about as wide as a patch and sit near the centre of one, so that each shows in one to four visual tokens
and most tokens show background: a selection that misses them loses the answer.
"""

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross")
COLORS = {
    "red": (0.90, 0.10, 0.10),
    "green": (0.10, 0.75, 0.15),
    "blue": (0.15, 0.25, 0.95),
    "yellow": (0.95, 0.90, 0.10),
    "purple": (0.70, 0.15, 0.85),
    "cyan": (0.10, 0.85, 0.90),
}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")

IMAGE_SIZE = 96
PATCH_SIZE = 8
GRID = IMAGE_SIZE // PATCH_SIZE
OBJECTS = (2, 5)
CROWD = (6, 9)
RADIUS = (3.4, 4.4)
JITTER = 1.5
SHOWN = 0.10
NOISE = 0.03


@dataclass(frozen=True)
class Thing:
    """One object: what it is, the cell of the 3 × 3 grid that holds it, its centre and radius in pixels."""

    shape: str
    color: str
    row: int
    column: int
    center: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class Scene:
    """One image with its ground truth.

    Attributes:
        image: `(96, 96, 3)` uint8, RGB.
        things: The objects, in the order they were drawn; no two overlap.
        coverage: `(things, 144)` float32, the share of each patch that each object covers.
    """

    image: np.ndarray
    things: tuple[Thing, ...]
    coverage: np.ndarray

    def patches_of(self, things: tuple[Thing, ...]) -> np.ndarray:
        """Returns the patches that show any of `things`, as a `(144,)` bool mask.

        A patch shows a thing when at least 10 % of its pixels are the thing's; every thing has at least one.
        """
        rows = [self.things.index(thing) for thing in things]
        return np.any(self.coverage[rows] >= SHOWN, axis=0)  # of no things: nowhere


def draw_scene(seed: int, index: int, *, crowded: bool = False) -> Scene:
    """Draws image number `index` of the stream `seed`; the same pair gives the same bytes.

    Args:
        seed: The stream: training and held-out images use different ones.
        index: Which image of the stream.
        crowded: Whether to draw 6 to 9 objects, more to learn from, in place of 2 to 5.

    Examples:
        >>> scene = draw_scene(seed=0, index=7)
        >>> scene.image.shape, len(scene.things) in range(2, 6)
        ((96, 96, 3), True)
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    things = _draw_things(random, CROWD if crowded else OBJECTS)
    canvas = _background(random)
    coverage = np.empty((len(things), GRID * GRID), dtype=np.float32)
    for row, thing in enumerate(things):
        inside = _silhouette(thing)
        color = np.asarray(COLORS[thing.color]) * random.uniform(0.85, 1.05)
        canvas += inside[..., None] * (color - canvas)
        coverage[row] = inside.reshape(GRID, PATCH_SIZE, GRID, PATCH_SIZE).mean(axis=(1, 3)).reshape(-1)
    canvas += random.normal(0.0, NOISE, canvas.shape)
    image = np.rint(np.clip(canvas, 0.0, 1.0) * 255).astype(np.uint8)
    return Scene(image, things, coverage)


def _draw_things(random: np.random.Generator, bounds: tuple[int, int]) -> tuple[Thing, ...]:
    """Draws distinct (shape, colour) pairs in distinct cells; few of them have a unique shape and a unique colour."""
    names = list(COLORS)
    while True:
        count = int(random.integers(bounds[0], bounds[1] + 1))
        pairs = random.choice(len(SHAPES) * len(names), count, replace=False)
        shapes = [SHAPES[pair // len(names)] for pair in pairs]
        colors = [names[pair % len(names)] for pair in pairs]
        unique = all(any(values.count(value) == 1 for value in values) for values in (shapes, colors))
        if unique or bounds == CROWD:
            break
    cells = random.choice(len(ROWS) * len(COLUMNS), count, replace=False)
    shift = random.integers(0, 2, size=2)  # within its cell of 4 × 4 patches a thing keeps one row and column free
    things = []
    for shape, color, cell in zip(shapes, colors, cells, strict=True):
        row, column = divmod(int(cell), len(COLUMNS))
        patch = np.array([column, row]) * (GRID // len(ROWS)) + shift + random.integers(0, 3, size=2)
        radius = float(random.uniform(*RADIUS))
        center = (patch + 0.5) * PATCH_SIZE + random.uniform(-JITTER, JITTER, size=2)
        x, y = np.clip(center, radius + 0.5, IMAGE_SIZE - radius - 0.5).tolist()  # wholly inside the image
        things.append(Thing(shape, color, row, column, (x, y), radius))
    return tuple(things)


def _background(random: np.random.Generator) -> np.ndarray:
    """Draws a grey level with a slight tint and a linear gradient."""
    level = random.uniform(0.30, 0.60) + random.uniform(-0.05, 0.05, size=3)
    slope = random.uniform(-0.15, 0.15, size=2)
    ramp = (np.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE - 0.5
    return level + (slope[0] * ramp[:, None] + slope[1] * ramp[None, :])[..., None]


def _silhouette(thing: Thing) -> np.ndarray:
    """Returns the share of every pixel that the thing covers, from its signed distance: one pixel of soft edge."""
    pixels = np.arange(IMAGE_SIZE) + 0.5
    x, y = pixels[None, :] - thing.center[0], pixels[:, None] - thing.center[1]
    radius = thing.radius
    if thing.shape == "circle":
        distance = np.sqrt(x * x + y * y) - radius
    elif thing.shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - 0.95 * radius
    elif thing.shape == "triangle":
        distance = np.maximum(0.894 * np.abs(x) - 0.447 * y - 0.5 * radius, y - 0.85 * radius)
    else:
        arm, half = 1.05 * radius, 0.34 * radius
        across = np.maximum(np.abs(x) - arm, np.abs(y) - half)
        distance = np.minimum(across, np.maximum(np.abs(x) - half, np.abs(y) - arm))
    return np.clip(0.5 - distance, 0.0, 1.0)

"""Why counting fails once the background is gone: objects kept whole, background filled in at random or by copies.

The question "how many things are there" is answered with every patch of every object kept, and the rest of the image
given back in three ways: as so many random background tokens; as copies of a few of them; not at all, with copies of
the objects instead. A copy has the state and the position of its original, so it adds weight in attention and nothing
else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.outputs import Reading
from entropyprune_ref.world.questions import NUMBERS, WORDS, ask
from entropyprune_ref.world.scenes import draw_scene

from .plan import HELD_OUT
from .reading import Asked, picked
from .statistics import mean_interval
from .summary import Summary

FILLED = (0, 4, 8, 16, 32, 64, 96)
"""Background tokens given back, drawn at random."""

COPIED = (1, 4, 16)
"""Background tokens whose copies fill the place of all others."""

DOUBLED = (2, 3)
"""How often each object's tokens stand in an image that keeps its background."""


@dataclass(frozen=True)
class Condition:
    """What a row holds: the objects so many times, so many background tokens, copied up to the full number or not."""

    objects: int
    background: int
    copied: bool = False


def conditions(background: int = 144) -> list[Condition]:
    """Returns everything that is tried; the last is the whole image."""
    return [
        *(Condition(1, filled) for filled in FILLED),
        *(Condition(1, copied, copied=True) for copied in COPIED),
        *(Condition(0, filled) for filled in (0, 32, background)),
        *(Condition(times, background) for times in DOUBLED),
        Condition(1, background),
    ]


def counted(
    model: Llava, layer: int, indices: Sequence[int], tried: Sequence[Condition]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the token said to "how many things are there" in every condition, and how many things there are.

    Args:
        model: A model of the little world.
        layer: From where on the tokens of a condition are all that is left.
        indices: Held-out images.
        tried: The conditions.

    Returns:
        `(conditions, images)` ids of the first word said, and `(images,)` numbers of things.
    """
    scenes = [draw_scene(HELD_OUT, index) for index in indices]
    questions = [ask(scene, HELD_OUT, index, ("count",)) for scene, index in zip(scenes, indices, strict=True)]
    asked, said = Asked(model, [scene.image for scene in scenes], questions), []
    first = int((asked.prompt.image_index[0] >= 0).nonzero()[0])
    for condition in tried:
        rows = [
            [*range(first), *(first + slot for slot in _slots(row[0].relevant, condition, index))]
            for row, index in zip(questions, indices, strict=True)
        ]
        said.append(asked.first(asked.resume(_of(asked.before(layer), rows)))[:, 0])
    return np.stack(said), np.array([len(scene.things) for scene in scenes])


def _slots(objects: np.ndarray, condition: Condition, index: int) -> Iterator[int]:
    """The visual tokens of one image in a condition, ascending; copies stand behind their original."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([HELD_OUT, index, 2])))
    background = random.permutation(np.flatnonzero(~objects))
    chosen = background[: condition.background]
    times = np.where(objects, condition.objects, 0)
    times[chosen] = 1
    if condition.copied:
        times[chosen] = len(background) // len(chosen)
        times[chosen[: len(background) % len(chosen)]] += 1
    return iter(np.repeat(np.arange(len(objects)), times).tolist())


def _of(reading: Reading, rows: Sequence[Sequence[int]]) -> Reading:
    """A prefix that holds the slots listed for every row, filled up in front."""
    length = max(map(len, rows))
    slots = torch.tensor([[0] * (length - len(row)) + list(row) for row in rows])
    real = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows])
    return picked(reading, torch.arange(len(rows)), slots, real)


def summarise(said: np.ndarray, things: np.ndarray, tried: Sequence[Condition]) -> list[dict[str, Any]]:
    """Returns, for every condition, how often the count is right, how far off, and what is said.

    Args:
        said: `(conditions, images)`, from `counted`.
        things: `(images,)`, how many there are.
        tried: The conditions.
    """
    numbers = {WORDS.index(word): value for value, word in enumerate(NUMBERS, start=1) if word in WORDS}
    rows = []
    for condition, words in zip(tried, said, strict=True):
        counts = np.array([numbers.get(int(word), 0) for word in words])
        known = counts > 0
        rows.append(
            {
                **asdict(condition),
                "right": mean_interval((counts == things).astype(float)),
                "too many": mean_interval((counts - things)[known].astype(float)) if known.any() else None,
                "said": {
                    str(number): {
                        str(count): int(((counts == count) & (things == number)).sum())
                        for count in sorted(set(counts[things == number].tolist()))
                    }
                    for number in sorted(set(things.tolist()))
                },
            }
        )
    return rows


def run(model: Llava, images: int, report: Callable[[int, int], None] | None = None, batch: int = 50) -> Summary:
    """Returns the summary of every condition at layers 1, 2 and 3, on held-out images.

    Args:
        model: A model of the little world.
        images: How many.
        report: Called with images done and images in all, of all layers.
        batch: Images in one step.
    """
    tried, found = conditions(), {}
    for layer in range(1, min(4, model.config.decoder.layers)):
        parts = []
        for first in range(0, images, batch):
            parts.append(counted(model, layer, range(first, min(first + batch, images)), tried))
            if report is not None:
                report((layer - 1) * images + min(first + batch, images), 3 * images)
        said, things = np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts])
        found[str(layer)] = summarise(said, things, tried)
    return {"images": images, "layers": found}

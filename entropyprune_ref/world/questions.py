"""Questions about a scene, their answers, and the patches that matter for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .scenes import COLORS, COLUMNS, OBJECTS, ROWS, SHAPES, Scene, Thing

NUMBERS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Question:
    """A question, its answer, and the ground truth of where the answer stands in the image.

    Attributes:
        kind: The question type, a key of `KINDS`.
        text: The question, words separated by spaces.
        answer: The answer, likewise.
        relevant: `(144,)` bool, the patches that matter: those that show the object asked about. For "is there" with
            answer no, the objects of that colour or of that shape; for "how many", every object.
    """

    kind: str
    text: str
    answer: str
    relevant: np.ndarray


def _unique(things: tuple[Thing, ...], attribute: str) -> list[Thing]:
    values = [getattr(thing, attribute) for thing in things]
    return [thing for thing, value in zip(things, values, strict=True) if values.count(value) == 1]


def _pick(random: np.random.Generator, things: list[Thing]) -> Thing:
    return things[int(random.integers(len(things)))]


def _color(scene: Scene, random: np.random.Generator) -> Question:
    thing = _pick(random, _unique(scene.things, "shape"))
    return Question("color", f"what color is the {thing.shape}", thing.color, scene.patches_of((thing,)))


def _shape(scene: Scene, random: np.random.Generator) -> Question:
    thing = _pick(random, _unique(scene.things, "color"))
    return Question("shape", f"what shape is the {thing.color} one", thing.shape, scene.patches_of((thing,)))


def _where(scene: Scene, random: np.random.Generator) -> Question:
    names = [(thing.shape, thing) for thing in _unique(scene.things, "shape")]
    names += [(f"{thing.color} one", thing) for thing in _unique(scene.things, "color")]
    name, thing = names[int(random.integers(len(names)))]
    place = f"{ROWS[thing.row]} {COLUMNS[thing.column]}"
    return Question("where", f"where is the {name}", place, scene.patches_of((thing,)))


def _exist(scene: Scene, random: np.random.Generator) -> Question:
    """Asks for yes half the time; three in four no's take a shape and a colour that are there, on different objects."""
    present = {(thing.shape, thing.color) for thing in scene.things}
    if random.random() < 0.5:
        thing = _pick(random, list(scene.things))
        text = f"is there a {thing.color} {thing.shape}"
        return Question("exist", text, "yes", scene.patches_of((thing,)))
    shapes, colors = ({getattr(thing, name) for thing in scene.things} for name in ("shape", "color"))
    absent = [(shape, color) for shape in SHAPES for color in COLORS if (shape, color) not in present]
    hard = [(shape, color) for shape, color in absent if shape in shapes and color in colors]
    choices = hard if hard and random.random() < 0.75 else absent
    shape, color = choices[int(random.integers(len(choices)))]
    near = tuple(thing for thing in scene.things if thing.shape == shape or thing.color == color)
    return Question("exist", f"is there a {color} {shape}", "no", scene.patches_of(near))


def _count(scene: Scene, random: np.random.Generator) -> Question:
    return Question(
        "count", "how many things are there", NUMBERS[len(scene.things) - 1], scene.patches_of(scene.things)
    )


def _next(scene: Scene, random: np.random.Generator) -> Question:
    """The neighbour in reading order of the only thing of its shape: find the thing, find its neighbour, name it."""
    things = sorted(scene.things, key=lambda thing: (thing.row, thing.column))
    pairs = [
        (f"what color is the thing {word} the {anchor.shape}", anchor, things[place + step])
        for word, step in (("after", 1), ("before", -1))
        for place, anchor in enumerate(things)
        if anchor in _unique(scene.things, "shape") and 0 <= place + step < len(things)
    ]
    text, anchor, thing = pairs[int(random.integers(len(pairs)))]
    return Question("next", text, thing.color, scene.patches_of((anchor, thing)))


KINDS: dict[str, Callable[[Scene, np.random.Generator], Question]] = {
    "color": _color,
    "shape": _shape,
    "where": _where,
    "exist": _exist,
    "count": _count,
    "next": _next,
}
"""Every question type and how one of it is asked."""

SHIPPED = ("color", "shape", "exist", "count")
"""The question types that the bundled model is trained on and evaluated with."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<image>", "user", "assistant")
ASKING = (
    "what",
    "color",
    "is",
    "the",
    "shape",
    "one",
    "where",
    "there",
    "a",
    "how",
    "many",
    "things",
    "are",
    "yes",
    "no",
)
WORDS = tuple(
    dict.fromkeys(
        (
            *SPECIAL,
            *ASKING,
            *SHAPES,
            *COLORS,
            *ROWS,
            *COLUMNS,
            *NUMBERS[OBJECTS[0] - 1 : OBJECTS[1]],
        )
    )
)
"""The vocabulary of the little world, by token id."""

DEEPER_WORDS = (*WORDS, "thing", "after", "before")
"""The same with what `next` asks, for a model that is to read the image deeper."""


def words_of(kinds: Iterable[str]) -> tuple[str, ...]:
    """Returns the vocabulary that questions of these kinds need."""
    return DEEPER_WORDS if "next" in kinds else WORDS


def ask(scene: Scene, seed: int, index: int, kinds: tuple[str, ...]) -> tuple[Question, ...]:
    """Asks one question of each of `kinds` (a kind may repeat) about a scene; the same arguments ask the same ones.

    Args:
        scene: What the questions are about.
        seed: The stream, as in `draw_scene`.
        index: Which image of the stream.
        kinds: Keys of `KINDS`.

    Examples:
        >>> from entropyprune_ref.world.scenes import draw_scene
        >>> for question in ask(draw_scene(0, 7), 0, 7, ("color", "where", "exist")):
        ...     print(question.text, "->", question.answer)
        what color is the cross -> green
        where is the cyan one -> top left
        is there a red circle -> yes
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, 1])))
    return tuple(KINDS[kind](scene, random) for kind in kinds)

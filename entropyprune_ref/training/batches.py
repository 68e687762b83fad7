"""What a step reads, drawn by any number of processes: it depends on recipe and step alone, not on who draws it."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.world.packing import Packed, pack
from entropyprune_ref.world.questions import ask, words_of
from entropyprune_ref.world.scenes import COLORS, GRID, SHAPES, SHOWN, Scene, draw_scene

from .recipe import TRAIN_STREAM, Recipe

DECODER_IMAGES = 10_000_000
"""Number of the first image of stage `decoder` in the training stream; those of stage `vision` begin at 0."""

AHEAD = 6
"""Batches that each drawing process may be ahead."""


@dataclass(frozen=True)
class VisionBatch:
    """Images, and what each patch and each image shows."""

    images: UInt8[Tensor, "images height width 3"]
    labels: Int[Tensor, "images patches 3"]
    present: Float[Tensor, "images pairs"]


@dataclass(frozen=True)
class DecoderBatch:
    """Images, and the questions packed behind each."""

    images: UInt8[Tensor, "images height width 3"]
    packed: Packed


@dataclass(frozen=True)
class VisionDraw:
    """Draws the batches of stage `vision`."""

    recipe: Recipe

    def __call__(self, step: int) -> VisionBatch:
        """Returns the batch of a step; no two steps share an image."""
        stream, batch = TRAIN_STREAM + self.recipe.seed, self.recipe.vision_batch
        scenes = [draw_scene(stream, index, crowded=True) for index in range(step * batch, (step + 1) * batch)]
        labels = torch.stack([_patch_labels(scene) for scene in scenes])
        return VisionBatch(_stacked(scenes), labels, torch.stack([_presence(scene) for scene in scenes]))


@dataclass(frozen=True)
class DecoderDraw:
    """Draws the batches of stage `decoder`."""

    recipe: Recipe

    def __call__(self, step: int) -> DecoderBatch:
        """Returns the batch of a step; no two steps share an image."""
        stream, batch = TRAIN_STREAM + self.recipe.seed, self.recipe.batch
        indices = range(DECODER_IMAGES + step * batch, DECODER_IMAGES + (step + 1) * batch)
        scenes = [draw_scene(stream, index) for index in indices]
        questions = [ask(scene, stream, index, self.recipe.asked) for scene, index in zip(scenes, indices, strict=True)]
        vocabulary = Vocabulary(words_of(self.recipe.asked))
        return DecoderBatch(_stacked(scenes), pack(questions, vocabulary, len(vocabulary.prefix(GRID * GRID))))


Batch = VisionBatch | DecoderBatch
Draw = VisionDraw | DecoderDraw


def drawn(draw: Draw, steps: range, workers: int = 0) -> Iterator[Batch]:
    """Yields the batches of `steps` in order, drawn here or ahead of time by `workers` processes."""
    if not workers:
        yield from map(draw, steps)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_modest) as pool:
        todo = iter(steps)
        waiting: deque[Future[Batch]] = deque(pool.submit(draw, step) for step in islice(todo, AHEAD * workers))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(draw, step) for step in islice(todo, 1))
            yield batch


def _modest() -> None:
    """A process that draws has one thread and steps back behind the one that trains."""
    torch.set_num_threads(1)
    os.nice(5)


def _stacked(scenes: list[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([scene.image for scene in scenes]))


def _patch_labels(scene: Scene) -> Tensor:
    """Shape, colour (0: none) and cell of every patch, `(144, 3)`."""
    best = scene.coverage.argmax(axis=0)
    shown = torch.from_numpy(scene.coverage.max(axis=0) >= SHOWN)
    shapes = torch.tensor([1 + SHAPES.index(thing.shape) for thing in scene.things])[best]
    colors = torch.tensor([1 + list(COLORS).index(thing.color) for thing in scene.things])[best]
    rows, columns = torch.arange(GRID * GRID) // GRID, torch.arange(GRID * GRID) % GRID
    cells = rows * 3 // GRID * 3 + columns * 3 // GRID
    return torch.stack([shapes * shown, colors * shown, cells], dim=-1)


def _presence(scene: Scene) -> Tensor:
    """Which of the (shape, colour) pairs the image shows."""
    present = torch.zeros(len(SHAPES) * len(COLORS))
    for thing in scene.things:
        present[SHAPES.index(thing.shape) * len(COLORS) + list(COLORS).index(thing.color)] = 1.0
    return present

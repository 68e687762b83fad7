"""Many questions after one image: each sees the prefix and itself, at the positions that it would have alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from entropyprune_ref.llava.vocabulary import Vocabulary

from .questions import Question

IGNORED = -100
"""Target of a slot that is not judged."""


@dataclass(frozen=True)
class Packed:
    """Questions of a batch of images, side by side behind a common prefix.

    Attributes:
        ids: `(images, questions * slots)`, question, "assistant" and answer of each, padded at the end.
        targets: The next token at each slot from "assistant" on (answer, then end of sequence), else `IGNORED`.
        positions: Rotary positions, counted on from the prefix for each question on its own.
        slots: Tokens given to one question.
    """

    ids: Int[Tensor, "images tokens"]
    targets: Int[Tensor, "images tokens"]
    positions: Int[Tensor, "images tokens"]
    slots: int

    def apart(self) -> "Packed":
        """Returns the same questions, each in a row of its own."""
        ids, targets, positions = (
            tensor.unflatten(1, (-1, self.slots)).flatten(0, 1) for tensor in (self.ids, self.targets, self.positions)
        )
        return Packed(ids, targets, positions, self.slots)

    def to(self, device: torch.device) -> "Packed":
        """Returns the same on a device."""
        return Packed(self.ids.to(device), self.targets.to(device), self.positions.to(device), self.slots)

    def mask(self, prefix: int) -> Bool[Tensor, "1 1 tokens keys"]:
        """Returns which keys every question token may look at: the cached prefix, and its own question so far."""
        order = torch.arange(self.ids.shape[1], device=self.ids.device)
        question = order // self.slots
        own = (question[None, :] == question[:, None]) & (order[None, :] <= order[:, None])
        return torch.cat([own.new_ones(len(order), prefix), own], dim=1)[None, None]


def pack(questions: Sequence[Sequence[Question]], vocabulary: Vocabulary, prefix: int) -> Packed:
    """Packs the same number of questions for every image.

    Args:
        questions: For each image its questions.
        vocabulary: Turns words into ids.
        prefix: Tokens before the question in the prompt, images expanded: the first question token's position.
    """
    rows = [[_encode(question, vocabulary) for question in of_image] for of_image in questions]
    slots = max(len(ids) for row in rows for ids, _ in row)
    shape = (len(rows), len(rows[0]), slots)
    ids = torch.full(shape, vocabulary.pad)
    targets = torch.full(shape, IGNORED)
    for i, row in enumerate(rows):
        for j, (tokens, wanted) in enumerate(row):
            ids[i, j, : len(tokens)] = torch.tensor(tokens)
            targets[i, j, len(tokens) - len(wanted) : len(tokens)] = torch.tensor(wanted)
    positions = (prefix + torch.arange(slots)).expand(shape)
    return Packed(ids.flatten(1), targets.flatten(1), positions.flatten(1), slots)


def _encode(question: Question, vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """Token ids to feed, and the tokens wanted at the last of them."""
    answer = vocabulary.encode(question.answer)
    return [*vocabulary.question(question.text), *answer], [*answer, vocabulary.eos]

"""Images read once and every question behind them once, layer by layer: what all cells of an evaluation share."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from entropyprune_ref.llava.cache import Cache, LayerCache
from entropyprune_ref.llava.decoder import DecoderOutput
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.outputs import LlavaOutput, Reading
from entropyprune_ref.llava.prompt import Prompt
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.scorers.view import LayerView
from entropyprune_ref.world.packing import IGNORED, pack
from entropyprune_ref.world.questions import Question


class Asked:
    """Some images and the questions about them, as the unpruned model reads them up to every layer.

    The part of the prompt before the question is common to all questions about an image; it is read, pruned and read
    on by `Llava.read` and `Llava.resume`. The questions, with their answers, are packed behind it.

    Args:
        model: A model of the little world.
        images: uint8, as the world draws them.
        questions: For each image as many.
    """

    @torch.no_grad()
    def __init__(self, model: Llava, images: Sequence[np.ndarray], questions: Sequence[Sequence[Question]]) -> None:
        self.model, self.questions, self.kinds = model, questions, len(questions[0])
        self.depth, vocabulary = model.config.decoder.layers, Vocabulary.of(model.config)
        ids = torch.tensor(vocabulary.prefix(model.config.vision.patches)).expand(len(images), -1)
        self.prefix = ids.shape[1]
        self.packed = pack(questions, vocabulary, self.prefix).to(model.device)
        batch = pixels(torch.from_numpy(np.stack(images)))
        whole = model.read(batch, ids, self.depth, keep_trace=True)
        self.prompt, self.states = whole.prompt, [*whole.trace.states, whole.trace.hidden]
        # the prefix up to each layer: its queries and keys are those of the layer before
        keys = [cache.keys for cache in whole.cache.layers]
        self.prefixes = [
            _reading(
                self.prompt, layer, self.depth, self.states[layer], whole.trace.all_queries[layer - 1], keys[layer - 1]
            )
            for layer in range(1, self.depth + 1)
        ]
        hidden, mask = model.decoder.embed_tokens(self.packed.ids), self.packed.mask(self.prefix)
        self.behind: list[DecoderOutput] = [DecoderOutput(hidden, hidden.new_empty(0), hidden.new_empty(0))]
        for layer in range(self.depth):
            self.behind.append(
                model.decoder(self.behind[-1].hidden, self.packed.positions, mask, [layer], whole.cache.layers)
            )

    def visual_states(self) -> Tensor:
        """Returns the states of the visual tokens, `(images, layers + 1, tokens, hidden)`."""
        visual = self.prompt.image_index[0] >= 0
        return torch.stack([state[:, visual] for state in self.states], dim=1)

    def before(self, layer: int) -> Reading:
        """Returns the prefix that the layers before `layer` have read, a row for every image."""
        return self.prefixes[layer - 1]

    def view(self, layer: int) -> LayerView:
        """Returns what a scorer sees that reads no text: the prefix alone, a row for every image. On the CPU."""
        return self.before(layer).view().to("cpu")

    def view_with_questions(self, layer: int) -> LayerView:
        """Returns what any other scorer sees: its own tokens behind the prefix, a row for every question. On the CPU.

        The answer, which is packed behind the question, counts as padding.
        """
        slots, front, back = self.packed.slots, self.before(layer).view(), self.behind[layer]

        def joined(front: Tensor, back: Tensor, axis: int) -> Tensor:
            """Axis 0 becomes images × questions, `axis` becomes prefix + slots."""
            own = back.unflatten(axis, (self.kinds, slots)).movedim(axis, 1).flatten(0, 1)
            return torch.cat([front.repeat_interleave(self.kinds, dim=0), own], dim=axis).cpu()

        judged = (self.packed.targets != IGNORED).long()
        seen = judged.unflatten(1, (self.kinds, slots)).cumsum(dim=2).flatten(1) - judged < 1  # to the first judged
        nothing = torch.full(seen.shape, -1)
        return LayerView(
            joined(front.hidden, back.hidden, 1),
            joined(front.queries, back.queries, 2),
            joined(front.keys, back.keys, 2),
            joined(front.image_index, nothing, 1),
            joined(front.attended, seen.cpu(), 1),
        )

    def resume(self, reading: Reading, kept: Bool[Tensor, "rows prefix"] | None = None) -> Tensor:
        """Returns the token said at every slot of the packed questions, `(images, kinds, slots)`.

        Args:
            reading: The prefix, a row for every image or for every question.
            kept: What is left of it from there on; `None` for all.
        """
        with torch.no_grad():
            return self._behind(reading, self.model.resume(reading, kept))

    def _behind(self, reading: Reading, left: LlavaOutput) -> Tensor:
        """The packed questions from the prune layer on, behind what is left of the prefix."""
        back, packed, decoder = self.behind[reading.layer].hidden, self.packed, self.model.decoder
        if len(left.attended) != len(back):
            back, packed = back.unflatten(1, (self.kinds, packed.slots)).flatten(0, 1), packed.apart()
        own, length = packed.mask(0), left.attended.shape[1]
        prefix = left.attended.to(back.device)[:, None, None, :].expand(-1, -1, own.shape[2], -1)
        mask = torch.cat([prefix, own.expand(len(back), -1, -1, -1)], dim=-1)
        assert mask.shape[-1] == length + packed.ids.shape[1]
        layers = range(reading.layer, self.depth)
        final = decoder(back, packed.positions, mask, layers, left.cache.layers).hidden
        said: Tensor = self.model.lm_head(decoder.norm(final)).argmax(-1)
        return said.reshape(-1, self.kinds, packed.slots)

    def right(self, said: Int[Tensor, "images kinds slots"]) -> np.ndarray:
        """Returns which answers are right, `(images, kinds)`: every word, and the end behind the last."""
        targets = self.packed.targets.reshape(said.shape)
        right: np.ndarray = ((said == targets) | (targets == IGNORED)).all(dim=-1).cpu().numpy()
        return right

    def first(self, said: Int[Tensor, "images kinds slots"]) -> np.ndarray:
        """Returns the first word of each answer, `(images, kinds)`."""
        place = (self.packed.targets.reshape(said.shape) != IGNORED).long().argmax(dim=-1, keepdim=True)
        words: np.ndarray = said.gather(2, place)[..., 0].cpu().numpy()
        return words

    def recall(self, kept: Bool[Tensor, "rows tokens"]) -> np.ndarray:
        """Returns the share of each question's relevant patches that is kept; NaN where no patch is relevant."""
        relevant = np.stack([[question.relevant for question in row] for row in self.questions])
        mask = kept.cpu().numpy().reshape(len(relevant), -1, kept.shape[1])
        with np.errstate(invalid="ignore"):
            share = ((relevant & mask).sum(-1) / relevant.sum(-1)).astype(np.float32)
        return np.broadcast_to(share, (len(relevant), self.kinds))


def picked(
    reading: Reading, rows: Tensor, slots: Int[Tensor, "rows length"], real: Bool[Tensor, "rows length"]
) -> Reading:
    """Returns a prefix made of the tokens of another: copies, another order, other rows; it can be resumed like any.

    Args:
        reading: Where the tokens come from.
        rows: Of which row each new row is made.
        slots: Which tokens it holds, in order.
        real: False for filler, which nothing attends to.
    """
    old, device = reading.prompt, reading.trace.hidden.device
    prompt = Prompt(
        *(part[rows[:, None], slots] for part in (old.ids, old.attended, old.image_index, old.positions)),
    )
    prompt = Prompt(prompt.ids, prompt.attended & real, prompt.image_index, prompt.positions)
    hidden = reading.trace.hidden[rows.to(device)[:, None], slots.to(device)]
    unseen = hidden.new_empty(len(rows), 0, slots.shape[1], 0)  # what was chosen from is not chosen from again
    return _reading(prompt, reading.layer, len(reading.cache.layers), hidden, unseen, unseen)


def repeated(reading: Reading, times: int) -> Reading:
    """Returns every row `times` times in a row, for as many selections from it."""
    length = reading.prompt.ids.shape[1]
    rows = torch.arange(len(reading.prompt.ids)).repeat_interleave(times)
    slots = torch.arange(length).expand(len(rows), -1)
    return picked(reading, rows, slots, torch.ones_like(slots, dtype=torch.bool))


def _reading(prompt: Prompt, layer: int, depth: int, hidden: Tensor, queries: Tensor, keys: Tensor | None) -> Reading:
    """A prefix that enters `layer` of `depth`. Earlier layers need no cache: the questions have passed them already."""
    assert keys is not None  # every layer has run
    after = prompt.positions.masked_fill(~prompt.attended, -1).amax(dim=1) + 1
    cache = Cache([LayerCache() for _ in range(depth)], [], after)
    return Reading(prompt, layer, DecoderOutput(hidden, queries, keys), cache)

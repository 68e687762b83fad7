"""Accuracy under pruning: every scorer at every prune layer and budget, on the same held-out questions; resumable.

Each image's prefix runs once and each question is read behind its cache, so the cost is that of the shortened
sequences. The answer tokens are fed and every one of them must be the model's first choice, which is what greedy
decoding with the same pruner says (`test_evaluation_agrees_with_generate`).
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from entropyprune_ref.collapse import layer_entropy
from entropyprune_ref.llava.attention import causal_mask
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.pruning import gather_index, kept_mask, prune_plan
from entropyprune_ref.scorers import RIVALS, LastTokenAttention, MeanAttention, Random
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView, Scorer
from entropyprune_ref.scoring import CONVENTIONS
from entropyprune_ref.training.packing import IGNORED, Packed, pack
from entropyprune_ref.world.questions import SHIPPED, Question, ask
from entropyprune_ref.world.scenes import draw_scene

HELD_OUT = 42
"""The stream of held-out images; training streams start at a million."""

SHARES = (72, 48, 32, 16, 8)
"""Visual tokens kept of 144: 50, 33.3, 22.2, 11.1 and 5.6 %."""

GROUND_TRUTH = "ground-truth"


@dataclass(frozen=True)
class Cell:
    """One way to prune: by which scorer, at which layer, to how many visual tokens."""

    scorer: str
    layer: int
    keep: int


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Args:
        images: Held-out images.
        kinds: Question types; each image is asked one question of each.
        layers: Prune layers.
        averages: Mean visual tokens per layer; those that a layer cannot reach are left out.
        keeps: Visual tokens kept from the prune layer on, besides those that the averages lead to.
        batch: Images in one step; a stopped run continues after the last whole step.
    """

    images: int = 500
    kinds: tuple[str, ...] = SHIPPED
    layers: tuple[int, ...] = (1, 2, 3, 4)
    averages: tuple[int, ...] = SHARES
    keeps: tuple[int, ...] = SHARES
    batch: int = 25

    def cells(self, model: Llava) -> list[Cell]:
        """Returns every cell: unpruned, then scorer by layer by budget, then "drop every visual token" by layer."""
        depth, visual = model.config.decoder.layers, model.config.vision.patches
        cells = [Cell("unpruned", depth, visual)]
        for scorer in scorers():
            for layer in self.layers:
                reached = [keep_of(average, layer, model) for average in self.averages]
                keeps = {*self.keeps, *(keep for keep in reached if keep is not None)}
                cells += [Cell(scorer, layer, keep) for keep in sorted(keeps, reverse=True)]
        return cells + [Cell("none kept", layer, 0) for layer in range(1, depth)]


def keep_of(average: int, layer: int, model: Llava) -> int | None:
    """Returns the tokens to keep for an average budget, or None where it is infeasible (Eq. 5.1)."""
    depth, visual = model.config.decoder.layers, model.config.vision.patches
    try:
        return prune_plan(visual_tokens=visual, layers=depth, prune_layer=layer, average=average).keep
    except ValueError:
        return None


def scorers() -> dict[str, Scorer | None]:
    """Returns every scorer by name; the ground truth comes with the question."""
    own = {f"token-entropy-{name}": EntropyScorer(convention) for name, convention in CONVENTIONS.items()}
    return {GROUND_TRUTH: None, **own, **RIVALS}


@dataclass
class Outcome:
    """What every cell did with every question.

    Attributes:
        cells: Names of the first axis.
        kinds: Names of the last axis.
        correct: `(cells, images, kinds)`, bool.
        recall: `(cells, images, kinds)`, the share of the patches that matter which was kept; NaN where none matters.
        curves: `(images, layers + 1)`, entropy of the visual tokens' states, in nats.
    """

    cells: list[Cell]
    kinds: tuple[str, ...]
    correct: np.ndarray
    recall: np.ndarray
    curves: np.ndarray


def evaluate(model: Llava, plan: Plan, folder: Path, report: Callable[[int, int], None] | None = None) -> Outcome:
    """Runs `plan` and writes one file per step into `folder`, so that a stopped run can continue.

    Args:
        model: A model of the little world.
        plan: What to run.
        folder: Made if needed; `plan.json` in it guards against mixing two plans or two models.
        report: Called with images done and images in all.

    Raises:
        ValueError: `folder` holds another plan's or another model's results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard = {"plan": repr(plan), "weights": sum(float(p.detach().double().abs().sum()) for p in model.parameters())}
    path = folder / "plan.json"
    if path.exists() and json.loads(path.read_text()) != guard:
        raise ValueError(f"folder must be empty or hold results of the same plan and model, got another's in {folder}")
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(guard))
    os.replace(partial, path)
    parts = []
    for first in range(0, plan.images, plan.batch):
        part = folder / f"images-{first:05d}.npz"
        if not part.exists():
            indices = range(first, min(first + plan.batch, plan.images))
            correct, recall, curves = Batch(model, plan, indices).run()
            temporary = part.with_suffix(".partial.npz")
            np.savez_compressed(temporary, correct=correct, recall=recall, curves=curves)
            os.replace(temporary, part)
        with np.load(part) as loaded:
            parts.append({name: loaded[name] for name in ("correct", "recall", "curves")})
        if report is not None:
            report(min(first + plan.batch, plan.images), plan.images)
    joined = {name: np.concatenate([part[name] for part in parts], axis=axis) for name, axis in _AXES.items()}
    return Outcome(plan.cells(model), plan.kinds, **joined)


_AXES = {"correct": 1, "recall": 1, "curves": 0}


@dataclass
class Half:
    """States, queries and keys of some tokens at the input of every layer run so far."""

    hidden: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)


class Batch:
    """Some images with their questions, and all that the cells share about them."""

    @torch.no_grad()
    def __init__(self, model: Llava, plan: Plan, indices: Sequence[int]) -> None:
        self.model, self.plan, self.decoder, self.indices = model, plan, model.decoder, indices
        scenes = [draw_scene(HELD_OUT, index) for index in indices]
        self.questions: list[tuple[Question, ...]] = [
            ask(scene, HELD_OUT, index, plan.kinds) for scene, index in zip(scenes, indices, strict=True)
        ]
        vocabulary = Vocabulary.of(model.config)
        ids = torch.tensor(vocabulary.prefix(model.config.vision.patches)).expand(len(scenes), -1)
        self.prefix = ids.shape[1]
        self.visual = torch.cat([torch.full((2,), -1), torch.zeros(self.prefix - 2, dtype=torch.int64)])
        self.packed: Packed = pack(self.questions, vocabulary, self.prefix)
        images = pixels(torch.stack([torch.from_numpy(scene.image) for scene in scenes]))
        words = self.decoder.embed_tokens
        hidden = torch.cat([words(ids[:, :2]), model.projector(model.vision_tower(images))], dim=1)
        self.positions = torch.arange(self.prefix).expand(len(scenes), -1)
        self.depth = model.config.decoder.layers
        # the image is read once and every question behind it, layer by layer
        self.caches = [LayerCache() for _ in range(self.depth)]
        self.front = self._read(
            hidden, self.positions, causal_mask(torch.ones_like(ids).bool(), self.prefix, ids.device)
        )
        mask = self.packed.mask(self.prefix)
        self.back = self._read(words(self.packed.ids), self.packed.positions, mask)

    def _read(self, hidden: Tensor, positions: Tensor, mask: Tensor) -> Half:
        half = Half([hidden])
        for layer in range(self.depth):
            trace = self.decoder(half.hidden[-1], positions, mask, [layer], self.caches)
            half.hidden.append(trace.hidden)
            half.queries.append(trace.queries)
            half.keys.append(trace.keys)
        return half

    @torch.no_grad()
    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns correctness and recall of every cell, and the entropy curves."""
        correct, recall = [], []
        chosen: dict[tuple[str, int], Tensor] = {}
        for cell in self.plan.cells(self.model):
            key = (cell.scorer, cell.layer)
            if key not in chosen:
                chosen = {key: self._scores(*key)}  # cells of one scorer and layer are neighbours
            right, found = self._cell(cell, chosen[key])
            correct.append(right)
            recall.append(found)
        states = torch.stack([state[:, 2:] for state in self.front.hidden], dim=1)
        return np.stack(correct), np.stack(recall), layer_entropy(states).numpy()

    def _scores(self, name: str, layer: int) -> Tensor:
        """Scores of the visual tokens: `(images, 144)`, or `(images, questions, 144)` where the question decides."""
        if name in ("unpruned", "none kept"):
            return torch.zeros(len(self.questions), self.prefix - 2)
        if name == GROUND_TRUTH:
            return torch.from_numpy(np.stack([[q.relevant for q in row] for row in self.questions])).double()
        scorer = scorers()[name]
        assert scorer is not None
        if isinstance(scorer, LastTokenAttention | MeanAttention):
            return scorer(self._view_with_questions(layer))[:, 2 : self.prefix].unflatten(0, (-1, len(self.plan.kinds)))
        seen = torch.ones_like(self.positions, dtype=torch.bool)
        front, before = self.front, layer - 1
        image_index = self.visual.expand(len(seen), -1)
        view = LayerView(front.hidden[layer], front.queries[before], front.keys[before], image_index, seen)
        if isinstance(scorer, Random):  # a draw of its own for every image
            return torch.cat([Random(index)(view)[:1, 2:] for index in self.indices])
        return scorer(view)[:, 2:]

    def _view_with_questions(self, layer: int) -> LayerView:
        """One row a question: the prefix, then its own tokens up to "assistant"; its answer is padding."""
        count, slots = len(self.plan.kinds), self.packed.slots

        def joined(front: Tensor, back: Tensor, axis: int) -> Tensor:
            """Axis 0 becomes images × questions, `axis` becomes prefix + slots."""
            own = back.unflatten(axis, (count, slots)).movedim(axis, 1).flatten(0, 1)
            return torch.cat([front.repeat_interleave(count, dim=0), own], dim=axis)

        judged = (self.packed.targets != IGNORED).unflatten(1, (count, slots)).flatten(0, 1)
        asked = judged.long().cumsum(dim=1) - judged.long() < 1  # up to and with the first judged slot
        seen = torch.cat([torch.ones(len(asked), self.prefix, dtype=torch.bool), asked], dim=1)
        image_index = torch.cat([self.visual, torch.full((slots,), -1)]).expand(len(asked), -1)
        front, back, before = self.front, self.back, layer - 1
        return LayerView(
            joined(front.hidden[layer], back.hidden[layer], 1),
            joined(front.queries[before], back.queries[before], 2),
            joined(front.keys[before], back.keys[before], 2),
            image_index,
            seen,
        )

    def _cell(self, cell: Cell, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Returns correctness and recall, `(images, kinds)` each."""
        count, slots, layer = len(self.plan.kinds), self.packed.slots, cell.layer
        per_question = scores.ndim == 3
        flat = scores.flatten(0, -2)
        padded = torch.cat([torch.zeros(len(flat), 2, dtype=flat.dtype), flat], dim=1)
        kept = kept_mask(padded, self.visual.expand(len(flat), -1), [cell.keep] * len(flat))
        index, _ = gather_index(kept)

        def rows(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(count, dim=0) if per_question else tensor

        front = rows(self.front.hidden[layer]).gather(
            1, index[..., None].expand(-1, -1, self.front.hidden[0].shape[-1])
        )
        back, packed = self.back.hidden[layer], self.packed
        if per_question:
            back, packed = back.unflatten(1, (count, slots)).flatten(0, 1), packed.apart()
        length = index.shape[1]
        caches = [LayerCache() for _ in range(self.depth)]
        layers = range(layer, self.depth)
        mask = causal_mask(torch.ones_like(index).bool(), length, index.device)
        self.decoder(front, rows(self.positions).gather(1, index), mask, layers, caches)
        final = self.decoder(back, packed.positions, packed.mask(length), layers, caches).hidden
        guesses = self.model.lm_head(self.decoder.norm(final)).argmax(-1)
        right = ((guesses == packed.targets) | (packed.targets == IGNORED)).reshape(-1, count, slots).all(dim=-1)
        return right.numpy(), self._recall(kept[:, 2:], per_question)

    def _recall(self, kept: Bool[Tensor, "rows 144"], per_question: bool) -> np.ndarray:
        """Returns the share of each question's relevant patches that is kept; NaN where none is relevant."""
        count = len(self.plan.kinds)
        relevant = np.stack([[q.relevant for q in row] for row in self.questions])
        mask = kept.numpy().reshape(-1, count if per_question else 1, kept.shape[1])
        with np.errstate(invalid="ignore"):
            return ((relevant & mask).sum(-1) / relevant.sum(-1)).astype(np.float32)

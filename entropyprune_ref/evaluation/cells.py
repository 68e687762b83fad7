"""Every cell of a plan on some images, by the prune path of `Llava`: read, choose, resume.

Each image's prefix runs once and each question is read behind its cache, so the cost is that of the shortened
sequences. The answer tokens are fed and every one of them must be the model's first choice, which is what greedy
decoding with the same pruner says (`test_evaluation_agrees_with_generate`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from entropyprune_ref.collapse import layer_entropy
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.scorers.view import LayerView, Scorer, for_image, reads_text
from entropyprune_ref.world.questions import ask
from entropyprune_ref.world.scenes import draw_scene

from .plan import GROUND_TRUTH, HELD_OUT, NONE_KEPT, UNPRUNED, Cell, Plan, scorers
from .reading import Asked, repeated


class Batch:
    """Some held-out images with their questions, and what every cell of a plan makes of them."""

    def __init__(self, model: Llava, plan: Plan, indices: Sequence[int]) -> None:
        self.model, self.plan, self.indices = model, plan, indices
        scenes = [draw_scene(HELD_OUT, index) for index in indices]
        self.questions = [ask(scene, HELD_OUT, index, plan.kinds) for scene, index in zip(scenes, indices, strict=True)]
        self.asked = Asked(model, [scene.image for scene in scenes], self.questions)
        self.depth = self.asked.depth

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns correctness and recall of every cell, `(cells, images, kinds)`, and the entropy curves."""
        correct, recall = [], []
        chosen: dict[tuple[str, int], tuple[LayerView, Tensor]] = {}
        for cell in self.plan.cells(self.model):
            key = (cell.scorer, cell.layer)
            if key not in chosen:
                chosen = {key: self.scores(*key)}  # cells of one scorer and layer are neighbours
            right, found = self.cell(cell, *chosen[key])
            correct.append(right)
            recall.append(found)
        return np.stack(correct), np.stack(recall), layer_entropy(self.asked.visual_states().cpu()).numpy()

    def scores(self, name: str, layer: int) -> tuple[LayerView, Tensor]:
        """Returns what a scorer saw at a layer, a row an image or a question, and what it made of it."""
        if name in (UNPRUNED, NONE_KEPT):  # nothing to choose
            view = self.asked.view(1)
            return view, torch.zeros(view.image_index.shape)
        scorer = scorers()[name]
        if scorer is None:
            assert name == GROUND_TRUTH
            view = self.asked.view_with_questions(layer)
            relevant = torch.from_numpy(np.stack([q.relevant for row in self.questions for q in row]))
            scores = torch.zeros(view.image_index.shape, dtype=torch.float64)
            scores[view.visual] = relevant.double().flatten()
            return view, scores
        if reads_text(scorer):
            view, repeats = self.asked.view_with_questions(layer), self.asked.kinds
        else:
            view, repeats = self.asked.view(layer), 1
        return view, self._scored(scorer, view, repeats)

    def _scored(self, scorer: Scorer, view: LayerView, repeats: int) -> Tensor:
        """The scores of all rows; one image at a time for a scorer that differs from image to image."""
        own = [for_image(scorer, index) for index in self.indices]
        if all(each is scorer for each in own):
            return EntropyPrune(1, keep=0, scorer=scorer).scores(view)
        rows = (slice(place * repeats, (place + 1) * repeats) for place in range(len(own)))
        parts = [
            EntropyPrune(1, keep=0, scorer=each).scores(view.rows(part)) for each, part in zip(own, rows, strict=True)
        ]
        return torch.cat(parts)

    def kept(self, cell: Cell, view: LayerView, scores: Tensor) -> Bool[Tensor, "rows prefix"]:
        """Returns which tokens of the prefix the pruner of a cell keeps."""
        if cell.scorer == UNPRUNED:
            return self.asked.prompt.attended
        pruner = EntropyPrune(cell.layer, cell.keep)
        return pruner.select(scores, view, [cell.keep] * len(scores))[:, : self.asked.prefix]

    def cell(self, cell: Cell, view: LayerView, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Returns correctness and recall, `(images, kinds)` each."""
        asked, kept = self.asked, self.kept(cell, view, scores)
        reading = asked.before(cell.layer)
        if len(kept) > len(self.questions):  # a selection for every question
            reading = repeated(reading, asked.kinds)
        visual = asked.prompt.image_index[0] >= 0
        return asked.right(asked.resume(reading, kept)), asked.recall(kept[:, visual])

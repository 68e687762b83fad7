"""What is evaluated: which scorer prunes where, and to how many tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.scorers import RIVALS
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import Scorer
from entropyprune_ref.scoring import CONVENTIONS
from entropyprune_ref.world.questions import SHIPPED, ask, words_of
from entropyprune_ref.world.scenes import draw_scene

from .budgets import keep_at_cost, keep_of, prefill_cost

HELD_OUT = 42
"""The stream of held-out images; training streams start at a million."""

SHARES = (72, 48, 32, 16, 8)
"""Visual tokens kept of 144: 50, 33.3, 22.2, 11.1 and 5.6 %."""

COSTS = (110, 100, 90, 80, 72, 64, 58, 50, 40)
"""Visual tokens per layer in the mean, of 144, at which layers are compared."""

GROUND_TRUTH = "ground-truth"
UNPRUNED = "unpruned"
NONE_KEPT = "none kept"

METHOD = {name: f"token-entropy-{name}" for name in CONVENTIONS}
"""The conventions, under the names by which the evaluation knows them."""


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
        layers: Prune layers; those that the model does not have are left out.
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
        return list(self._cells(model))

    def compared(self) -> tuple[str, ...]:
        """Whom the plan compares."""
        return tuple(scorers())

    def budgets(self, model: Llava) -> dict[int, set[int]]:
        """Visual tokens kept from each prune layer on."""
        layers = [layer for layer in self.layers if layer < model.config.decoder.layers]
        reached = {layer: [keep_of(average, layer, model.config) for average in self.averages] for layer in layers}
        return {layer: {*self.keeps, *(k for k in keeps if k is not None)} for layer, keeps in reached.items()}

    def _cells(self, model: Llava) -> Iterator[Cell]:
        depth = model.config.decoder.layers
        yield Cell(UNPRUNED, depth, model.config.vision.patches)
        budgets = self.budgets(model)
        for scorer in self.compared():
            for layer, keeps in budgets.items():
                for keep in sorted(keeps, reverse=True):
                    yield Cell(scorer, layer, keep)
        for layer in range(1, depth):
            yield Cell(NONE_KEPT, layer, 0)


@dataclass(frozen=True)
class EqualCost(Plan):
    """Every layer that can, at equal average, and at the FLOPs that this average costs at layer 1."""

    layers: tuple[int, ...] = ()
    averages: tuple[int, ...] = COSTS
    keeps: tuple[int, ...] = ()

    def compared(self) -> tuple[str, ...]:
        """The method, its best rivals, the floor of random choice, and what the question is about."""
        rivals = ("last-token-attention", "query-norm-low", "hidden-norm-low", "max-min-diversity", "random")
        return (GROUND_TRUTH, *METHOD.values(), *rivals)

    def budgets(self, model: Llava) -> dict[int, set[int]]:
        """Visual tokens kept from each prune layer on; 0 is left to "none kept"."""
        reached: dict[int, set[int]] = {}
        for row in self.kept(model):
            for _, layer, keep in row:
                reached.setdefault(layer, set()).update({keep} if keep else ())
        return reached

    def kept(self, model: Llava) -> list[list[tuple[str, int, int]]]:
        """For every average: (equal in what, layer, tokens kept) wherever it is feasible."""
        config, texts = model.config, text_tokens(self.kinds)
        rows = []
        for average in self.averages:
            row = []
            first = keep_of(average, 1, config)
            for layer in range(1, config.decoder.layers):
                keep = keep_of(average, layer, config)
                row += [] if keep is None else [("average", layer, keep)]
                if first is not None:
                    keep = keep_at_cost(prefill_cost(config, texts, 1, first), layer, config, texts)
                    row += [] if keep is None else [("flops", layer, keep)]
            rows.append(row)
        return rows


def text_tokens(kinds: tuple[str, ...]) -> list[int]:
    """Returns the text tokens of a prompt of each kind, those of the first held-out image."""
    questions = ask(draw_scene(HELD_OUT, 0), HELD_OUT, 0, kinds)
    return [len(Vocabulary(words_of(kinds)).prompt(question.text, 0)) for question in questions]


def scorers() -> dict[str, Scorer | None]:
    """Returns every scorer by name; the ground truth comes with the question."""
    own = {METHOD[name]: EntropyScorer(convention) for name, convention in CONVENTIONS.items()}
    return {GROUND_TRUTH: None, **own, **RIVALS}

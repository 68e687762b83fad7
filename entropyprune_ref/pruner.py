"""The pruner that a model takes: where, how many, by which score."""

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from entropyprune_ref._numerics.arguments import (
    require_choice,
    require_integer,
    require_integer_fields,
    require_kind,
    require_tensor,
)
from entropyprune_ref.pruning import Number, PrunePlan, kept_mask, prune_plan, require_one_budget
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView, Scorer
from entropyprune_ref.scoring import PAPER, Convention


@dataclass(frozen=True)
class EntropyPrune:
    r"""Drops visual tokens at the input of decoder layer `layer`, once, in prefill (section 5).

    The budget is given in exactly one of three ways. Scores come from layer `layer - 1`; every text token stays;
    kept tokens keep their order and their rotary positions.

    Args:
        layer: The prune layer $K$, 0-based, at least 1: the first decoder layer that runs pruned.
        keep: Visual tokens that remain in each prompt (all its images together).
        average: Visual tokens per layer, averaged over all layers of the model (Eq. 5.1).
        ratio: Share of the visual tokens that is *dropped* at `layer` (Eq. 5.3).
        convention: Which formula of token entropy scores.
        scorer: Another scorer in its place; any function of a `LayerView`.
        over_images: `"each"`: every image keeps its share (Eq. 5.4); `"all"`: the images of a prompt compete.
        lower_prune_layer: Whether an infeasible `average` lowers the prune layer until it is feasible.

    Raises:
        ValueError: Not exactly one budget; `layer` below 1; an unknown `over_images`; a `convention` beside a `scorer`.

    Examples:
        >>> EntropyPrune(2, average=192).plan(visual_tokens=576, layers=32)
        PrunePlan(prune_layer=2, keep=166)
    """

    layer: int
    keep: int | None = None
    average: Number | None = field(default=None, kw_only=True)
    ratio: Number | None = field(default=None, kw_only=True)
    convention: Convention | None = None
    scorer: Scorer | None = None
    over_images: Literal["each", "all"] = "each"
    lower_prune_layer: bool = False

    def __post_init__(self) -> None:
        require_integer_fields(self, 1, ["layer"])
        require_choice("over_images", self.over_images, ("each", "all"))
        require_one_budget(keep=self.keep, average=self.average, ratio=self.ratio)
        if self.convention is not None and self.scorer is not None:
            raise ValueError("convention must not be given beside scorer, which replaces it")
        if self.convention is not None:
            require_kind("convention", self.convention, Convention)
        if self.scorer is not None and not callable(self.scorer):
            raise TypeError(f"scorer must be a function of a LayerView, got {type(self.scorer).__name__}")
        require_kind("lower_prune_layer", self.lower_prune_layer, bool)

    def plan(self, visual_tokens: int, layers: int) -> PrunePlan:
        """Returns where to prune and how many tokens to keep, for a prompt and a model of these sizes."""
        return prune_plan(
            visual_tokens=visual_tokens,
            layers=layers,
            prune_layer=self.layer,
            average=self.average,
            keep=self.keep,
            ratio=self.ratio,
            lower_prune_layer=self.lower_prune_layer,
        )

    def plans(self, image_index: Tensor, layers: int) -> list[PrunePlan]:
        """Returns the plan of every row of a batch; a row without an image keeps its 0 visual tokens and stays whole.

        Raises:
            ValueError: Rows that a lowered prune layer would prune at different layers.
        """
        counts = (image_index >= 0).sum(dim=1).tolist()
        plans = {row: self.plan(count, layers) for row, count in enumerate(counts) if count}
        found = [plan.prune_layer for plan in plans.values()]
        if len(set(found)) > 1:
            raise ValueError(f"lower_prune_layer must lead to one prune layer for the whole batch, got {found}")
        whole = PrunePlan(found[0] if found else require_integer("layer", self.layer, 1, layers - 1), keep=0)
        return [plans.get(row, whole) for row in range(len(counts))]

    def choose(self, view: LayerView, keep: list[int]) -> Bool[Tensor, "batch sequence"]:
        """Returns which positions remain, given what the layer before `layer` shows."""
        return self.select(self.scores(view), view, keep)

    def scores(self, view: LayerView) -> Float[Tensor, "batch sequence"]:
        """Returns what the scorer gives every position.

        Raises:
            TypeError: The scorer returns no tensor.
            ValueError: Not one score a position.
        """
        scorer = EntropyScorer(self.convention or PAPER) if self.scorer is None else self.scorer
        scores = require_tensor("scorer(view)", scorer(view))
        if scores.shape != view.image_index.shape:
            raise ValueError(
                f"scorer must return one score a position, shape {tuple(view.image_index.shape)}, "
                f"got shape {tuple(scores.shape)}"
            )
        return scores

    def select(
        self, scores: Float[Tensor, "batch sequence"], view: LayerView, keep: list[int]
    ) -> Bool[Tensor, "batch sequence"]:
        """Returns which positions remain, given their scores.

        Raises:
            ValueError: A prompt of which nothing would be left.
        """
        kept = kept_mask(scores, view.image_index, keep, over_images=self.over_images)
        empty = ~(kept & view.attended).any(dim=1)
        if empty.any():
            raise ValueError(
                f"keep must be at least 1 for a prompt without text, got 0 in prompt {int(empty.nonzero()[0])}"
            )
        return kept

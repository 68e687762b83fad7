r"""Rivals that no paper proposes: what a method must beat to have shown anything."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from entropyprune_ref._numerics.arguments import require_integer, require_integer_fields
from entropyprune_ref.scoring import PAPER, Convention

from ._reading import Scores, blank, per_head, visual_hidden, visual_rows
from .entropy import EntropyScorer
from .view import LayerView


@dataclass(frozen=True)
class Random:
    """A random choice, the floor that every method must beat.

    The draw depends on `seed` and on a token's place among the visual tokens of its row, on nothing else: not on the
    other rows, not on padding, not on the device. Rows with as many visual tokens therefore share one draw; to average
    over draws, score with several seeds, `Random(0)`, `Random(1)` and so on.

    Source: none, a control.

    Args:
        seed: Any int of at least 0.
    """

    seed: int = 0
    reads_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_integer_fields(self, 0)
        require_integer("seed", self.seed, 0, 2**64 - 1)

    def for_image(self, number: int) -> "Random":
        """A draw of its own for every image."""
        return replace(self, seed=self.seed + number)

    def __call__(self, view: LayerView) -> Scores:
        """Returns scores in [0, 1)."""
        device = view.image_index.device
        scores = blank(view, device)
        for row, positions in visual_rows(view):
            generator = torch.Generator("cpu").manual_seed(self.seed)
            draw = torch.rand(len(positions), generator=generator, dtype=torch.float64, device="cpu")
            scores[row, positions] = draw.to(device)
        return scores


@dataclass(frozen=True)
class UniformStride:
    r"""Tokens evenly spaced over the raster order of each image, whatever their number.

    A scorer does not know how many tokens will be kept, so no fixed stride can be used. With $\varphi$ the golden
    ratio, the points $x_i = i\varphi + 1/2 \bmod 1$ are spread evenly over the unit interval however many are taken.
    An image of n tokens takes n of them; the token at place p belongs to the p-th smallest point, and tokens are kept
    in the order of $i$.

    Source: none, a control. Departs from plain striding as said: gaps between kept tokens take several values.

    Examples:
        Five tokens take the points 0.5, 0.118, 0.736, 0.354 and 0.972, in this order: the middle token comes first.

        >>> image_index = torch.zeros(1, 5, dtype=torch.int64)
        >>> nothing = torch.zeros(1, 1, 5, 1)
        >>> UniformStride()(LayerView(nothing[0], nothing, nothing, image_index, image_index == 0)).tolist()
        [[-1.0, -3.0, 0.0, -2.0, -4.0]]

    Notes:
        Even in raster order is not even in two dimensions: like any stride, it lines up in columns where its gaps
        meet the width of the patch grid (`test_uniform_stride_lines_up_in_columns_like_any_stride`).
    """

    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Scores:
        """Returns scores 0, -1, -2, ... in the order of keeping, anew for every image."""
        scores = blank(view, view.image_index.device)
        for row, _ in visual_rows(view):
            images = view.image_index[row]
            for image in torch.unique(images[images >= 0]):
                positions = (images == image).nonzero().squeeze(-1)
                count = torch.arange(len(positions), dtype=torch.float64, device=positions.device)
                points = (count * (1 + 5**0.5) / 2 + 0.5) % 1
                scores[row, positions] = (-points.argsort()).double()
        return scores


@dataclass(frozen=True)
class QueryNorm:
    r"""The Frobenius norm of a token's queries over all heads, $\lVert Q_t \rVert_F$.

    Source: none, a control. The lowest norms matter because the released convention of token entropy follows low query
    energy once queries are large (Eq. 3.4); that energy is centred over heads, this norm is not.

    Args:
        highest: Whether high norms are kept, or low ones.
    """

    highest: bool = True
    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Scores:
        """Returns the norm, negative if low ones are kept."""
        queries = per_head("queries", view.queries, view.visual).transpose(1, 2).flatten(2)  # a token's lie together
        norm = queries.square().sum(dim=-1).sqrt()
        return norm if self.highest else 0 - norm


@dataclass(frozen=True)
class HiddenNorm:
    r"""The Euclidean norm of a token's hidden state at the input of the prune layer.

    Source: none, a control.

    Args:
        highest: Whether high norms are kept, or low ones.
    """

    highest: bool = True
    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Scores:
        """Returns the norm, negative if low ones are kept."""
        norm = visual_hidden(view).square().sum(dim=-1).sqrt()
        return norm if self.highest else 0 - norm


@dataclass(frozen=True)
class LowestEntropy:
    """The method upside down: keeps the tokens of lowest entropy.

    Source: none, a control. If it does as well as the method, entropy does not tell which tokens matter.

    Args:
        convention: Which token entropy, Eqs. 3.1 to 3.3.
    """

    convention: Convention = PAPER
    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Scores:
        """Returns minus the entropy, in nats (of the convention's kind)."""
        return 0 - EntropyScorer(self.convention)(view)

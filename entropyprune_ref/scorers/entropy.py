"""The method itself as a scorer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref.scoring import PAPER, Convention, token_entropy

from .view import LayerView


@dataclass(frozen=True)
class EntropyScorer:
    """The method itself as a scorer: `token_entropy` of the queries of all visual tokens.

    Queries before rotary embedding are read where the view has them, so that equal tokens tie exactly and the earlier
    one is kept; after it they would differ by rounding.

    Attributes:
        convention: Which formula.

    Examples:
        >>> from entropyprune_ref import RELEASED
        >>> queries = torch.tensor([[[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 1.0]], [[0.0, -1.0]]]])  # 4 heads, 1 token
        >>> seen = torch.ones(1, 1, dtype=torch.bool)
        >>> view = LayerView(torch.zeros(1, 1, 8), queries, queries, torch.zeros(1, 1, dtype=torch.int64), seen)
        >>> EntropyScorer(RELEASED)(view).numpy().round(6).tolist()
        [[0.5]]
    """

    convention: Convention = PAPER
    reads_text: ClassVar[bool] = False

    def __call__(self, view: LayerView) -> Float64[Tensor, "batch sequence"]:
        """Returns `(batch, sequence)`, float64, on the device of the queries; 0 outside images."""
        queries = view.queries if view.unrotated is None else view.unrotated
        rows, columns = (index.to(queries.device) for index in torch.nonzero(view.visual, as_tuple=True))
        scores = torch.zeros(view.visual.shape, dtype=torch.float64, device=queries.device)
        if len(rows):
            scores[rows, columns] = token_entropy(queries[rows, :, columns], self.convention)
        return scores

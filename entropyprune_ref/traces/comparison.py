"""The two sides of a comparison, and what it finds of one array."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from entropyprune_ref.pruning import split_keep

from .tolerances import CONVENTIONS, rounding, score_tolerance

Status = Literal["agrees", "near tie", "parts", "not given", "not judged"]


@dataclass(frozen=True)
class Finding:
    """What came of one array.

    Attributes:
        array: Its name.
        status: "agrees"; "near tie": other tokens, but only where scores nearly tie; "parts"; "not given"; "not
            judged": an earlier difference makes it incomparable.
        message: What was found.
        error: The worst error in units of what is allowed, for floating-point arrays.
    """

    array: str
    status: Status
    message: str = ""
    error: float | None = None


class Comparison:
    """The arrays of a trace and of an engine, and what every stage needs of them."""

    def __init__(
        self, record: Mapping[str, Any], arrays: dict[str, Tensor], theirs: dict[str, Tensor], dtype: str
    ) -> None:
        self.record, self.ours, self.theirs = record, arrays, theirs
        self.unit = rounding(dtype, record["model"]["dtype"])
        self.convention = CONVENTIONS[record["pruner"]["convention"]]
        self.visual = (arrays["image_index"] >= 0).nonzero().flatten()
        self.tolerance = score_tolerance(arrays["queries"], self.convention, self.unit)

    def groups(self) -> list[tuple[Tensor, int]]:
        """Which visual tokens compete with each other, and how many of them are kept."""
        images = self.ours["image_index"][self.visual]
        keep = len(self.ours["kept"])
        if self.record["pruner"]["over_images"] == "all":
            return [(torch.ones_like(images, dtype=torch.bool), keep)]
        members = [images == image for image in images.unique()]
        return list(zip(members, split_keep(keep, [int(own.sum()) for own in members]), strict=True))

    def same_tokens_kept(self) -> bool:
        """Whether the engine keeps what the trace keeps, as far as it says."""
        return "kept" not in self.theirs or torch.equal(self.theirs["kept"], self.ours["kept"])

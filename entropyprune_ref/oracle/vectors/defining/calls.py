"""How an implementation is asked: inputs by name become a call, and what it returns becomes outputs by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....flops import DecoderSize, prefill_flops, pruned_prefill_flops
from ....pruning import select_tokens
from ....scoring import CONVENTIONS, token_entropy

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class VectorContract:
    """One kind of call.

    Attributes:
        says: What is computed, in a sentence with its equation.
        inputs: By name: shape or range, and meaning.
        outputs: By name: shape, unit and meaning.
        ask: Calls an implementation with the inputs of a case; gives what it answers by name.
        reference: The implementation of this package, by convention.
        optional: Inputs that a case may lack.
    """

    says: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    ask: Callable[[Callable[..., Any], Inputs], dict[str, Any]]
    reference: Callable[[str | None], Callable[..., Any]]
    optional: tuple[str, ...] = ()


SIZE = {
    "layers": "L, decoder layers",
    "hidden": "d, hidden size",
    "heads": "h, query heads",
    "kv_heads": "key/value heads",
    "head_dim": "d_h, features of a head; heads * head_dim need not be hidden",
    "mlp": "m, inner size of the MLP",
    "mlp_matrices": "matrices of the MLP: 3 for a gated one",
    "vocabulary": "rows of the language-model head",
}
"""Inputs of the FLOPs counts that describe the decoder."""


def as_tensor(value: Any) -> Tensor:
    """Returns a number, a list or a tensor in float64 or int64."""
    if isinstance(value, Tensor):
        return value.to(torch.float64 if value.is_floating_point() else torch.int64)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)


def layer(found: Any) -> int:
    """The layer, or 0 for none: from an int, None, or an object whose attribute `layer` is either."""
    return int(getattr(found, "layer", found) or 0)


def prefilled(run: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
    """Calls as the contract `pruned_prefill` says."""
    options = {"kept": None, **inputs}
    order = [options.pop(name) for name in ("weights", "embeddings", "positions", "prune_layer", "keep")]
    options["attended"] = options["attended"].bool()
    kept, logits = run(*order, **options)
    return {"kept": kept, "logits": logits}


def count_flops(**options: Any) -> int:
    """The reference: pruned where it is said how many are kept."""
    size = DecoderSize(**{name: options.pop(name) for name in SIZE})
    return (pruned_prefill_flops if "keep" in options else prefill_flops)(size, **options).total


def token_scores(convention: str | None) -> Callable[..., Any]:
    """The reference of a convention."""
    chosen = CONVENTIONS[convention or "paper"]
    return lambda queries: token_entropy(queries, chosen)


def token_choice(convention: str | None) -> Callable[..., Any]:
    """The reference of a convention, and the selection after it."""
    score = token_scores(convention)
    return lambda queries, keep: select_tokens(score(queries), keep)

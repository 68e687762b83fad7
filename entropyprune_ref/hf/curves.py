"""The entropy curve of a model of the library on one prompt, one state in memory at a time."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from entropyprune_ref.entropy import matrix_entropy

from .families import anatomy


@torch.no_grad()
def entropy_curve(
    model: Any, inputs: dict[str, Any], *, report: Callable[[int, int], None] | None = None
) -> Float64[Tensor, " states"]:
    """Matrix entropy of the visual tokens at every state of one prompt (Eq. 4.1).

    Each entropy is computed as its state goes by, so that no more than one state is kept beside what the model itself
    holds: all 33 of a LLaVA-NeXT-7B would be 1.6 GB in float32. Nothing is pruned, and no logits are computed.

    Args:
        model: A model of one of the `FAMILIES`.
        inputs: What it takes: one prompt, with `input_ids` and the pixels of an image or a video.
        report: Called with the states done and their number.

    Returns:
        `(layers + 1,)`, in nats: state i enters decoder layer i, the last one leaves the last layer, before the final
        norm.

    Raises:
        TypeError: Another model.
        ValueError: Not one prompt with a visual token.
    """
    parts = anatomy(model)
    ids = inputs["input_ids"]
    kinds = [parts.token_id(kind) for kind in parts.family.visual]
    visual = torch.isin(ids, torch.tensor(kinds, device=ids.device))
    if len(ids) != 1 or not visual.any():
        raise ValueError(
            f"inputs must hold one prompt with visual tokens, got {len(ids)} with {int(visual.sum())} visual tokens"
        )
    curve: list[float] = []

    def note(states: Tensor) -> None:
        curve.append(float(matrix_entropy(states[0, visual[0].to(states.device)])))
        if report is not None:
            report(len(curve), len(parts.layers) + 1)

    def entering(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        note(args[0] if args else kwargs["hidden_states"])

    def leaving(module: Any, args: tuple[Any, ...], output: Any) -> None:
        note(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as stack:
        for layer in parts.layers:
            stack.callback(layer.register_forward_pre_hook(entering, with_kwargs=True).remove)
        stack.callback(parts.layers[-1].register_forward_hook(leaving).remove)
        parts.base(**inputs, use_cache=False)
    return torch.tensor(curve, dtype=torch.float64)

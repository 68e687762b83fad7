"""What the reference does on one real prompt, noted for others to compare with."""

from contextlib import ExitStack
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from entropyprune_ref import __version__
from entropyprune_ref.pruner import EntropyPrune
from entropyprune_ref.pruning import split_keep
from entropyprune_ref.scoring import PAPER
from entropyprune_ref.traces import Trace
from entropyprune_ref.traces.tolerances import CONVENTIONS

from .families import anatomy
from .pruned import pruned


@torch.no_grad()
def traced(model: Any, inputs: dict[str, Any], pruner: EntropyPrune, *, new_tokens: int = 8) -> Trace:
    """Answers one prompt greedily, pruned in place, and notes every step.

    Args:
        model: A model of one of the `FAMILIES`.
        inputs: One prompt on its device, without padding.
        pruner: Pruner by the method itself, without another scorer.
        new_tokens: Most tokens of the answer, at least 1.

    Returns:
        The trace. Its record lacks what only the caller knows: the name of the model, the question and the pictures.

    Raises:
        TypeError: Another model.
        ValueError: Another scorer, more than one prompt, padding, or nothing to prune.
    """
    parts = anatomy(model)
    if pruner.scorer is not None:
        raise ValueError("pruner must score by token entropy to be traced, got another scorer")
    if len(inputs["input_ids"]) != 1 or not bool(inputs.get("attention_mask", torch.ones(1)).all()):
        raise ValueError(f"inputs must hold one prompt without padding, got {len(inputs['input_ids'])} or padding")
    steps: list[Tensor] = []
    fed: list[Tensor] = []

    def decoder_called(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        fed.append(kwargs["position_ids"])

    def head_called(module: Any, args: tuple[Any, ...], output: Tensor) -> None:
        steps.append(output[0, -1].detach().to("cpu"))

    with pruned(model, pruner, keep_view=True) as run, ExitStack() as stack:
        stack.callback(parts.decoder.register_forward_pre_hook(decoder_called, with_kwargs=True).remove)
        stack.callback(model.lm_head.register_forward_hook(head_called).remove)
        output = model.generate(
            **inputs, max_new_tokens=new_tokens, do_sample=False, num_beams=1, return_dict_in_generate=True
        )
        last = run.last
    visual = last.image_index[0] >= 0
    if not visual.any() or last.view is None or last.positions is None:
        raise ValueError("inputs must hold an image or a video, got text alone")
    tokens = output.sequences[0, inputs["input_ids"].shape[1] :]
    cache, decoded = output.past_key_values, len(tokens) - 1
    unrotated = last.view.unrotated if last.view.unrotated is not None else last.view.queries
    positions = _row(last.positions)
    arrays = {
        "input_ids": last.input_ids[0],
        "image_index": last.image_index[0],
        "positions": positions,
        "queries": unrotated[0, :, visual.to(unrotated.device)].transpose(0, 1),
        "scores": last.scores[0, visual.to(last.scores.device)],
        "kept": (last.kept[0] & visual.to(last.kept.device)).nonzero().flatten(),
        "left_positions": positions[..., last.kept[0].to(positions.device)],
        "cache_lengths": torch.tensor([cache.get_seq_length(i) - decoded for i in range(len(parts.layers))]),
        "decode_positions": torch.cat([_row(step) for step in fed[1:]], dim=-1) if decoded else positions[..., :0],
        "tokens": tokens,
        "logits": torch.stack(steps),
    }
    arrays = {name: _stored(array) for name, array in arrays.items()}
    return Trace(_record(model, parts, pruner, last.plan[0], arrays), arrays)


def _row(positions: Tensor) -> Tensor:
    """Positions of the only row: `(n,)`, or `(3, n)` where time, height and width have their own."""
    return positions[-3:, 0] if positions.ndim == 3 else positions[0]


def _stored(array: Tensor) -> Tensor:
    """16-bit numbers as float32, which every reader of safetensors has; nothing is lost."""
    array = array.detach().to("cpu")
    return array.float() if array.dtype in (torch.bfloat16, torch.float16) else array.contiguous()


def _record(model: Any, parts: Any, pruner: EntropyPrune, plan: Any, arrays: dict[str, Tensor]) -> dict[str, Any]:
    text = parts.decoder.config
    convention = pruner.convention or PAPER
    budget = {name: getattr(pruner, name) for name in ("keep", "average", "ratio")}
    return {
        "generator": {
            "entropyprune_ref": __version__,
            **{name: metadata.version(name) for name in ("transformers", "torch")},
        },
        "model": {
            "class": type(model).__name__,
            "model_type": model.config.model_type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": str(text._attn_implementation),
            "layers": len(parts.layers),
            "hidden": parts.hidden,
            "heads": text.num_attention_heads,
            "kv_heads": text.num_key_value_heads,
            "head_dim": arrays["queries"].shape[-1],
            "vocabulary": arrays["logits"].shape[-1],
        },
        "prompt": {
            "tokens": len(arrays["input_ids"]),
            "visual_tokens": len(arrays["scores"]),
            "text_tokens": len(arrays["input_ids"]) - len(arrays["scores"]),
        },
        "pruner": {
            "prune_layer": plan.prune_layer,
            "keep": plan.keep,
            "budget": {name: float(value) for name, value in budget.items() if value is not None},
            "convention": next(name for name, known in CONVENTIONS.items() if known == convention),
            "over_images": pruner.over_images,
        },
        "cut": _cuts(arrays, pruner.over_images),
    }


def _cuts(arrays: dict[str, Tensor], over_images: str) -> list[dict[str, Any]]:
    """Where every image, or the prompt, is cut: the last token kept, the first dropped, and the gap between."""
    places = (arrays["image_index"] >= 0).nonzero().flatten()
    images = arrays["image_index"][places]
    chosen = torch.isin(places, arrays["kept"])
    numbers = [int(image) for image in images.unique()]
    groups: list[tuple[int | None, Tensor]] = [(None, torch.ones_like(chosen))]
    if over_images == "each":
        groups = [(image, images == image) for image in numbers]
    assert over_images == "all" or [int((chosen & own).sum()) for _, own in groups] == split_keep(
        int(chosen.sum()), [int(own.sum()) for _, own in groups]
    )
    cuts = []
    for image, own in groups:
        low = _extreme(arrays["scores"], places, chosen & own, lowest=True)
        high = _extreme(arrays["scores"], places, ~chosen & own, lowest=False)
        gap = low["score"] - high["score"] if low and high else None
        counts = {"visual_tokens": int(own.sum()), "keep": int((chosen & own).sum())}
        cuts.append({"image": image, **counts, "lowest_kept": low, "highest_dropped": high, "gap": gap})
    return cuts


def _extreme(scores: Tensor, places: Tensor, among: Tensor, *, lowest: bool) -> dict[str, Any] | None:
    if not among.any():
        return None
    value = scores[among].min() if lowest else scores[among].max()
    at = int((among & (scores == value)).nonzero()[-1 if lowest else 0])
    return {"place": int(places[at]), "score": float(value)}

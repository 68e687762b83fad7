"""The hooks that a `pruned` block puts into a model, and how they are taken out again."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from .families import Anatomy
from .images import feature_lengths, image_index, with_features
from .masks import attended_tokens, require_entries
from .passes import Pass, Passes, whole_prefill
from .refusals import require_behind_deepstack, require_inference, require_one_sequence_a_row


def install(parts: Anatomy, passes: Passes, stack: ExitStack) -> None:
    """Puts every hook in its place; leaving the stack takes them all out."""

    def hook(handle: Any) -> None:
        stack.callback(handle.remove)

    hook(parts.model.register_forward_pre_hook(_refuse, with_kwargs=True))
    hook(parts.base.register_forward_pre_hook(functools.partial(_begin, parts, passes), with_kwargs=True))
    hook(parts.base.register_forward_hook(lambda *_: _end(passes), always_call=True))
    hook(parts.decoder.register_forward_pre_hook(functools.partial(_positions, passes), with_kwargs=True))
    for number, layer in enumerate(parts.layers):
        hook(layer.register_forward_pre_hook(functools.partial(_layer, passes, number), with_kwargs=True))
    for number in range(passes.pruner.layer):
        attention = parts.attention(number)
        for name, letter in (("queries", "q"), ("keys", "k")):
            last = getattr(attention, f"{letter}_norm", None) or getattr(attention, f"{letter}_proj")
            hook(last.register_forward_hook(functools.partial(_projection, passes, number, name)))
    stack.enter_context(_kept_attribute(parts.model, "generate"))
    parts.model.generate = _unchunked(parts.model.generate, parts.model)
    if hasattr(parts.base, "rope_deltas"):
        stack.enter_context(_kept_attribute(parts.base, "rope_deltas"))


@contextmanager
def _kept_attribute(owner: Any, name: str) -> Iterator[None]:
    """Restores an attribute of the instance, or that it has none."""
    missing = object()
    before = vars(owner).get(name, missing)
    try:
        yield
    finally:
        if before is not missing:
            setattr(owner, name, before)
        elif name in vars(owner):
            delattr(owner, name)


def _named(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a call by their names."""
    if not args:
        return kwargs
    return {**dict(zip(inspect.signature(module.forward).parameters, args, strict=False)), **kwargs}


def _refuse(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    require_inference(model)
    if _named(model, args, kwargs).get("labels") is not None:
        raise ValueError("labels must be None while the model is pruned: its logits are shorter than the prompt")


def _begin(
    parts: Anatomy, passes: Passes, base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[()], dict[str, Any]]:
    """Before the decoder: where the images are, and where the rows of the batch are to be pruned."""
    passes.current = None
    inputs = with_features(parts, _named(base, args, kwargs))
    cache, ids = inputs.get("past_key_values"), inputs.get("input_ids")
    lengths = feature_lengths(parts, inputs.get("mm_encoder_outputs"))
    require_one_sequence_a_row(inputs)
    before = 0 if cache is None else int(cache.get_seq_length())
    if cache is not None and not before:  # a cache that was emptied and is used again
        passes.past.pop(cache, None)
    past = passes.past.get(cache) if before else None
    if ids is None and (lengths or not before):
        raise ValueError("input_ids must be given while the model is pruned, which finds images by their placeholders")
    given = ids if ids is not None else inputs["inputs_embeds"]
    tokens = before + given.shape[1]
    attended = attended_tokens(parts.decoder, inputs.get("attention_mask"), given, tokens, cache)
    if past is None and before:
        require_entries(cache, len(parts.layers) - 1, before)
    if lengths or not before:
        passes.current = _prompt(parts, passes, ids, attended, before, lengths)
        if past is not None and passes.current is not None and passes.current.layer != past.layer:
            raise ValueError(
                f"all turns on one cache must be pruned at the same layer, got {past.layer} and {passes.current.layer}"
            )
    if passes.current is None and past is not None:
        passes.current = Pass(past.layer, before, attended, ids)
    return (), inputs


def _prompt(
    parts: Anatomy, passes: Passes, ids: Any, attended: Tensor, before: int, lengths: dict[str, list[int]]
) -> Pass | None:
    """The pass of a prompt that is to be pruned, or `None` for one without an image."""
    new = attended[:, before:]
    index = image_index(parts, ids, new, lengths)
    plan = passes.pruner.plans(index, len(parts.layers))
    if not bool((index >= 0).any()):
        passes.last = whole_prefill(ids, new, plan)
        return None
    require_behind_deepstack(parts, plan[0].prune_layer)
    return Pass(plan[0].prune_layer, before, attended, ids, index, plan)


def _end(passes: Passes) -> None:
    passes.current = None


def _positions(passes: Passes, decoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    positions = kwargs.get("position_ids")
    if passes.current is not None and positions is not None:
        passes.current.positions = positions[-3:] if positions.ndim == 3 else positions


def _layer(
    passes: Passes, number: int, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    changed = passes.at_layer(number, args[0], kwargs)
    return None if changed is None else ((changed[0], *args[1:]), changed[1])


def _projection(passes: Passes, number: int, name: str, module: Any, args: tuple[Any, ...], output: Tensor) -> None:
    passes.at_projection(number, name, output)


def _unchunked(generate: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """`generate`, except that it refuses to read a prompt in chunks and does not compile its steps."""

    @functools.wraps(generate)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        arguments = {**dict(zip(inspect.signature(generate).parameters, args, strict=False)), **kwargs}
        config = arguments.get("generation_config")
        size = arguments.get("prefill_chunk_size", (config or model.generation_config).prefill_chunk_size)
        if size is not None:
            raise ValueError(
                "prefill_chunk_size must be None while the model is pruned: a budget is one of the whole prompt, "
                f"got {size}"
            )
        if config is None:
            arguments["disable_compile"] = True
        else:
            arguments["generation_config"] = copy.deepcopy(config)
            arguments["generation_config"].disable_compile = True
        return generate(**arguments)

    return wrapped

"""The slow reference: the same model, unpruned, on the whole sequence, dropped tokens masked out as keys.

Nothing is cached, nothing is gathered. Masks are written out and handed to every layer in place of the library's.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor
from transformers.models.clip import modeling_clip
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.models.qwen2_vl import modeling_qwen2_vl
from transformers.models.qwen3_vl import modeling_qwen3_vl

from tests.hf.prompts import Prompt

IN_FLOAT32 = (
    modeling_clip,
    modeling_llama,
    modeling_mistral,
    modeling_qwen2,
    modeling_qwen2_vl,
    modeling_qwen2_5_vl,
    modeling_qwen3_vl,
)


class WideTorch:
    """PyTorch, except that its float32 is float64: norms and softmax of a float64 model then are in float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


class Forced(LogitsProcessor):
    """Makes `generate` say given words."""

    def __init__(self, words: Tensor, prompt: int) -> None:
        self.words, self.prompt = words, prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = self.words.repeat_interleave(len(scores) // len(self.words), dim=0)
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter(1, rows[:, input_ids.shape[1] - self.prompt, None], 0.0)


def with_words(prompt: Prompt, words: Tensor) -> dict[str, Tensor]:
    """The inputs of a prompt with words behind every row."""
    inputs = dict(prompt.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], words], dim=1)
    inputs["attention_mask"] = torch.cat([inputs["attention_mask"], torch.ones_like(words)], dim=1)
    if "mm_token_type_ids" in inputs:
        text = torch.zeros_like(words, dtype=torch.int32)
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], text], dim=1)
    return inputs


def positioned(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the positions that `generate` gives a one-dimensional model: the number of attended tokens before."""
    if "mm_token_type_ids" in inputs:
        return inputs
    return inputs | {"position_ids": (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)}


@contextmanager
def masked_out(model: Any, attended: Tensor, kept: Tensor, layer: int) -> Iterator[dict[str, Tensor]]:
    """Every layer attends causally to attended tokens, those from `layer` on only to kept ones.

    The model must be run without a cache. Words behind those of `kept` are kept; rows are repeated for beams.

    Yields:
        Queries of layer `layer - 1` before rotary embedding, once the model has run.
    """
    eager = model.config._attn_implementation == "eager"
    seen: dict[str, Tensor] = {}

    def masks(number: int) -> Any:
        def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            batch, length, _ = args[0].shape
            keys = attended & kept if number >= layer else attended
            keys = torch.cat([keys, torch.ones(len(keys), length - keys.shape[1], dtype=torch.bool)], dim=1)
            keys = keys.repeat_interleave(batch // len(keys), dim=0)
            allowed = torch.ones(length, length, dtype=torch.bool).tril()[None, None] & keys[:, None, None, :]
            if eager:
                lowest = torch.finfo(args[0].dtype).min
                allowed = torch.zeros(allowed.shape, dtype=args[0].dtype).masked_fill(~allowed, lowest)
            return args, {**kwargs, "attention_mask": allowed}

        return hook

    def queries(module: Any, args: Any, output: Tensor) -> None:
        seen["queries"] = output.unflatten(-1, (-1, attention.head_dim)) if output.ndim == 3 else output

    layers = model.get_decoder().layers
    attention = layers[layer - 1].self_attn
    with ExitStack() as stack:
        for number, module in enumerate(layers):
            stack.callback(module.register_forward_pre_hook(masks(number), with_kwargs=True).remove)
        last = getattr(attention, "q_norm", None) or attention.q_proj
        stack.callback(last.register_forward_hook(queries).remove)
        yield seen

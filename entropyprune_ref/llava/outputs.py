"""Results of the model: a prompt read up to the prune layer, a finished prefill, an answer."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..scorers.view import LayerView
from .cache import Cache
from .decoder import DecoderOutput
from .prompt import Prompt


@dataclass
class Reading:
    """A prompt that the layers before `layer` have read: what a scorer looks at, and where `Llava.resume` continues.

    Attributes:
        prompt: The prompt.
        layer: Number of decoder layers that have run, and so the next layer.
        trace: State `layer`, and the queries and keys of layer `layer - 1`.
        cache: Keys and values of the layers that have run.
    """

    prompt: Prompt
    layer: int
    trace: DecoderOutput
    cache: Cache

    def view(self) -> LayerView:
        """Returns what a scorer may look at when the input of `layer` is pruned."""
        return LayerView(
            self.trace.hidden, self.trace.queries, self.trace.keys, self.prompt.image_index, self.prompt.attended
        )


@dataclass
class LlavaOutput:
    """What a prefill returns.

    Attributes:
        logits: `(batch, length, vocabulary)`, for the tokens that are left at the end.
        kept: `(batch, sequence)`, bool: which tokens of the prompt are left; padding counts as left.
        index: `(batch, length)`, int64: the place in the prompt of every token that is left.
        attended: `(batch, length)`, False where a slot holds padding or filler.
        positions: `(batch, length)`, rotary positions of the tokens that are left: those they had in the prompt.
        cache: Keys and values to decode with.
        prompt: The prompt.
        states: On request, `L + 1` tensors `(batch, n or length, hidden)`: state i enters layer i, state L leaves the
            last layer, before the final norm. States from the prune layer on are of the shortened sequence.
        queries: On request, `L` tensors `(batch, heads, n or length, head_dim)`, after rotary embedding.
        view: With a pruner: what its scorer saw.
    """

    logits: Float[Tensor, "batch length vocabulary"]
    kept: Bool[Tensor, "batch sequence"]
    index: Int[Tensor, "batch length"]
    attended: Bool[Tensor, "batch length"]
    positions: Int[Tensor, "batch length"]
    cache: Cache
    prompt: Prompt
    states: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    view: LayerView | None = None

    def kept_visual(self) -> list[Int[Tensor, " kept"]]:
        """Returns, for each row, the visual tokens that are left, counted from its first visual token, ascending."""
        rows = zip(self.kept, self.prompt.image_index >= 0, strict=True)
        return [torch.nonzero(kept[visual]).flatten() for kept, visual in rows]

    def last_logits(self) -> Float[Tensor, "batch vocabulary"]:
        """Returns the logits of the last attended token of each row, from which the first new token is chosen."""
        order = torch.arange(self.attended.shape[1], device=self.attended.device)
        last = order.masked_fill(~self.attended, -1).amax(dim=1).to(self.logits.device)
        return self.logits[torch.arange(len(last), device=last.device), last]


@dataclass
class Generation:
    """What `generate` returns.

    Attributes:
        tokens: `(batch, new tokens)`, int64; padded with the end-of-sequence id.
        texts: The answers as words, for a model with a vocabulary.
        prefill: The prefill's output.
    """

    tokens: Int[Tensor, "batch new"]
    texts: list[str]
    prefill: LlavaOutput

"""The whole model: images and a prompt in, logits out; pruned on request in the middle of the decoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._numerics.arguments import require_floating, require_integer
from ..pruner import EntropyPrune
from ..pruning import gather_index
from ..scorers.view import LayerView
from .attention import causal_mask
from .config import Attention, LlavaConfig
from .decoder import Decoder, LayerCache
from .prompt import Prompt, read_prompt
from .vision import Projector, VisionTower
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration


@dataclass
class Stretch:
    """Consecutive decoder layers that see the same sequence: before the prune layer, and from it on."""

    layers: range
    attended: Bool[Tensor, "batch keys"]


@dataclass
class Cache:
    """What decoding goes on from: keys and values of every layer, and the next rotary position of every row."""

    layers: list[LayerCache]
    stretches: list[Stretch]
    next_positions: Int[Tensor, " batch"]

    def lengths(self) -> list[int]:
        """Entries that each layer holds."""
        return [len(layer) for layer in self.layers]


@dataclass
class LlavaOutput:
    """What a prefill returns.

    Attributes:
        logits: `(batch, length, vocabulary)`, for the tokens that are left at the end.
        kept: `(batch, sequence)`, bool: which tokens of the prompt are left; padding counts as left.
        index: `(batch, length)`, int64: the place in the prompt of every token that is left.
        attended: `(batch, length)`, False where a slot holds padding or filler.
        positions: `(batch, length)`, rotary positions of the tokens that are left: those they had in the prompt.
        cache: To decode with.
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


@dataclass
class Generation:
    """What `generate` returns.

    Attributes:
        tokens: `(batch, new tokens)`, int64; padded with the end-of-sequence id behind the end.
        texts: The answers as words, for a model with a vocabulary.
        prefill: The prefill's output.
    """

    tokens: Int[Tensor, "batch new"]
    texts: list[str]
    prefill: LlavaOutput


def pixels(images: Tensor) -> Float[Tensor, "images 3 height width"]:
    """Returns uint8 images `(images, height, width, 3)` as the float32 that the bundled model reads, in [-1, 1]."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (images, height, width, 3), got {images.dtype} {tuple(images.shape)}")
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


class Llava(nn.Module):
    """LLaVA-1.5's architecture: vision tower, projector, and a decoder whose placeholders become visual tokens.

    Args:
        config: All sizes.

    Examples:
        >>> model = Llava.from_pretrained()
        >>> model.config.decoder.head_dim // model.config.decoder.heads
        4
    """

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = VisionTower(config.vision, config.attention)
        self.projector = Projector(config.vision.hidden, config.decoder.hidden)
        self.decoder = Decoder(config.decoder, config.attention)
        self.lm_head = nn.Linear(config.decoder.hidden, config.decoder.vocabulary_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        return self.lm_head.weight.dtype

    def forward(
        self,
        images: Float[Tensor, "images 3 height width"] | None,
        questions: Sequence[str] | Int[Tensor, "batch sequence"],
        *,
        attended: Bool[Tensor, "batch sequence"] | None = None,
        positions: Int[Tensor, "batch sequence"] | None = None,
        pruner: EntropyPrune | None = None,
        keep_trace: bool = False,
    ) -> LlavaOutput:
        """Prefill: reads images and prompts, and prunes on the way if a pruner is given.

        Masks and positions are kept where the ids are, which may be the CPU for a model elsewhere.

        Args:
            images: All images of the batch in reading order, as the vision tower reads them; `None` if there are none.
            questions: Texts with one image each, or token ids with a placeholder for every visual token.
            attended: With ids: False for padding, anywhere.
            positions: With ids: rotary positions; default: the number of attended tokens before.
            pruner: Where, how many and by which score to prune.
            keep_trace: Whether to return every state and every layer's queries.

        Raises:
            TypeError: Arguments of another type.
            ValueError: Images of another size, or not as many as the prompts have places for; a bad prompt; a pruner
                that does not fit the model.
        """
        prompt = read_prompt(questions, self.config, attended, positions)
        hidden = self.embed(images, prompt)
        layers = self.config.decoder.layers
        plans = None if pruner is None else pruner.plans(prompt.image_index, layers)
        stop = layers if plans is None else plans[0].prune_layer
        cache = Cache([LayerCache() for _ in range(layers)], [Stretch(range(stop), prompt.attended)], _after(prompt))

        mask = causal_mask(prompt.attended, hidden.shape[1], self.device)
        trace = self.decoder(hidden, prompt.positions, mask, range(stop), cache.layers, keep_trace)
        states, queries = trace.states, trace.all_queries
        kept = torch.ones_like(prompt.attended)
        index, attended, positions = _identity(prompt), prompt.attended, prompt.positions
        view = None
        if pruner is not None and plans is not None and trace.queries is not None and trace.keys is not None:
            view = LayerView(trace.hidden, trace.queries, trace.keys, prompt.image_index, prompt.attended)
            kept = pruner.choose(view, [plan.keep for plan in plans])
            index, real = gather_index(kept)
            attended = prompt.attended.gather(1, index) & real
            positions = prompt.positions.gather(1, index)
            hidden = trace.hidden.gather(1, index.to(self.device)[..., None].expand(-1, -1, trace.hidden.shape[-1]))
            cache.stretches.append(Stretch(range(stop, layers), attended))

            mask = causal_mask(attended, hidden.shape[1], self.device)
            trace = self.decoder(hidden, positions, mask, range(stop, layers), cache.layers, keep_trace)
            states, queries = states + trace.states, queries + trace.all_queries
        if keep_trace:
            states = [*states, trace.hidden]
        logits = self.lm_head(self.decoder.norm(trace.hidden))
        return LlavaOutput(logits, kept, index, attended, positions, cache, prompt, states, queries, view)

    def embed(self, images: Tensor | None, prompt: Prompt) -> Float[Tensor, "batch sequence hidden"]:
        """Returns state 0: word embeddings, with the projected patches in the places of the placeholders."""
        size, wanted = self.config.vision.image_size, prompt.images
        hidden: Tensor = self.decoder.embed_tokens(prompt.ids.to(self.device))
        if images is None:
            if wanted:
                raise ValueError(
                    f"images must hold the {wanted} image(s) that the prompts have placeholders for, got None"
                )
            return hidden
        require_floating("images", images, ("images", "3", "height", "width"), batched=False)
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"images must have shape (images, 3, {size}, {size}), got {tuple(images.shape)}")
        if len(images) != wanted:
            raise ValueError(
                f"images must be as many as the prompts have placeholders for, {wanted} "
                f"({wanted * self.config.vision.patches} visual tokens), got {len(images)}"
            )
        visual = self.projector(self.vision_tower(images.to(self.device, self.dtype)))
        rows, columns = torch.nonzero(prompt.image_index >= 0, as_tuple=True)
        return hidden.index_put((rows.to(self.device), columns.to(self.device)), visual.flatten(0, 1))

    def step(self, tokens: Int[Tensor, "batch 1"], cache: Cache) -> Float[Tensor, "batch 1 vocabulary"]:
        """Decodes one token a row with the cache, at the position behind the whole prompt, pruned or not."""
        tokens = tokens.to(cache.next_positions.device)
        hidden, positions = self.decoder.embed_tokens(tokens.to(self.device)), cache.next_positions[:, None]
        for stretch in cache.stretches:
            stretch.attended = torch.cat([stretch.attended, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
            mask = causal_mask(stretch.attended, 1, self.device)
            hidden = self.decoder(hidden, positions, mask, stretch.layers, cache.layers).hidden
        cache.next_positions = cache.next_positions + 1
        logits: Tensor = self.lm_head(self.decoder.norm(hidden))
        return logits

    @torch.no_grad()
    def generate(
        self,
        images: Float[Tensor, "images 3 height width"] | None,
        questions: Sequence[str] | Int[Tensor, "batch sequence"],
        *,
        attended: Bool[Tensor, "batch sequence"] | None = None,
        pruner: EntropyPrune | None = None,
        max_new_tokens: int = 8,
        end: int | None = None,
    ) -> Generation:
        """Answers greedily: prefill, pruned or not, then one token at a time with the cache.

        Args:
            images: As in `forward`.
            questions: As in `forward`.
            attended: As in `forward`.
            pruner: As in `forward`; pruning happens in prefill only.
            max_new_tokens: Where to stop at the latest, at least 1.
            end: Id that ends an answer; default: the vocabulary's, or none for a model without one.
        """
        require_integer("max_new_tokens", max_new_tokens, 1)
        vocabulary = Vocabulary.of(self.config) if self.config.vocabulary else None
        end = vocabulary.eos if end is None and vocabulary else end
        prefill = self(images, questions, attended=attended, pruner=pruner)
        last = _last(prefill.attended).to(prefill.logits.device)
        token = prefill.logits[torch.arange(len(last), device=last.device), last].argmax(-1, keepdim=True)
        cache = replace(prefill.cache, layers=[replace(layer) for layer in prefill.cache.layers])
        cache.stretches = [replace(stretch) for stretch in cache.stretches]
        tokens, ended = [token], token == end
        while len(tokens) < max_new_tokens and not (end is not None and bool(ended.all())):
            token = self.step(token, cache)[:, -1].argmax(-1, keepdim=True)
            if end is not None:
                token = token.masked_fill(ended, end)
                ended = ended | (token == end)
            tokens.append(token)
        answer = torch.cat(tokens, dim=1)
        texts = [vocabulary.decode(row) for row in answer.tolist()] if vocabulary else []
        return Generation(answer, texts, prefill)

    def with_attention(self, attention: Attention) -> "Llava":
        """Returns the same weights (shared, not copied) with another attention implementation."""
        with torch.device("meta"):
            other = Llava(replace(self.config, attention=attention))
        other.load_state_dict(self.state_dict(keep_vars=True), assign=True)
        return other.train(self.training)

    def save(self, path: Path) -> None:
        """Writes weights and configuration as safetensors; never leaves a half-written file under `path`."""
        from .weights import save

        save(self, path)

    @classmethod
    def from_pretrained(cls, path: Path | None = None) -> "Llava":
        """Returns the bundled model, or one that `save` wrote, ready to evaluate.

        Args:
            path: A safetensors file; default: the weights in the package, whose hash is checked.

        Raises:
            FileNotFoundError: No such file.
            ValueError: A truncated or altered file, or one of something else.
        """
        from .weights import load

        return load(path)

    @classmethod
    def from_transformers(cls, model: "LlavaForConditionalGeneration") -> "Llava":
        """Returns a Hugging Face LLaVA (Llama text, CLIP vision) as a model of this class, weights copied.

        Raises:
            ValueError: Another architecture, or an option of theirs that this model does not have.
        """
        from .convert import from_transformers

        return from_transformers(model)


def _after(prompt: Prompt) -> Tensor:
    """The position behind the whole prompt, a row."""
    return prompt.positions.masked_fill(~prompt.attended, -1).amax(dim=1) + 1


def _identity(prompt: Prompt) -> Tensor:
    """Every token in its place."""
    return torch.arange(prompt.ids.shape[1], device=prompt.ids.device).expand_as(prompt.ids)


def _last(attended: Tensor) -> Tensor:
    """Place of the last attended token, a row."""
    order = torch.arange(attended.shape[1], device=attended.device)
    return order.masked_fill(~attended, -1).amax(dim=1)

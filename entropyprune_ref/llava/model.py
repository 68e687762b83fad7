"""The whole model: images and a prompt in, logits out; pruned on request in the middle of the decoder.

Read in the order `Llava.forward`, `read`, `resume`, `step`, `generate`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._numerics.arguments import require_floating, require_integer, require_tensor
from ..pruner import EntropyPrune
from ..pruning import gather_index
from . import weights
from .attention import causal_mask
from .cache import Cache, LayerCache, LayerSpan
from .config import Attention, LlavaConfig
from .convert import from_transformers
from .decoder import Decoder
from .outputs import Generation, LlavaOutput, Reading
from .prompt import Prompt, read_prompt, require_ids
from .vision import Projector, VisionTower
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration


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
        self.lm_head = nn.Linear(config.decoder.hidden, config.decoder.vocabulary, bias=False)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
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
        """Runs the prefill: reads images and prompts, and prunes on the way if a pruner is given.

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
        depth = self.config.decoder.layers
        if pruner is None:
            return self.resume(self.read(images, questions, depth, attended, positions, keep_trace))
        prompt = read_prompt(questions, self.config, attended, positions)
        plans = pruner.plans(prompt.image_index, depth)
        reading = self._read(images, prompt, plans[0].prune_layer, keep_trace)
        return self.resume(reading, pruner.choose(reading.view(), [plan.keep for plan in plans]))

    def read(
        self,
        images: Float[Tensor, "images 3 height width"] | None,
        questions: Sequence[str] | Int[Tensor, "batch sequence"],
        layer: int,
        attended: Bool[Tensor, "batch sequence"] | None = None,
        positions: Int[Tensor, "batch sequence"] | None = None,
        keep_trace: bool = False,
    ) -> Reading:
        """Runs the decoder layers before `layer` on whole prompts: the first half of `forward`.

        Args:
            images: As in `forward`.
            questions: As in `forward`.
            layer: The first layer that is *not* run, in `[1, layers]`.
            attended: As in `forward`.
            positions: As in `forward`.
            keep_trace: As in `forward`.

        Raises:
            TypeError: As in `forward`, or `layer` is not an int.
            ValueError: As in `forward`, or `layer` is out of range.
        """
        require_integer("layer", layer, 1, self.config.decoder.layers)
        return self._read(images, read_prompt(questions, self.config, attended, positions), layer, keep_trace)

    def _read(self, images: Tensor | None, prompt: Prompt, layer: int, keep_trace: bool) -> Reading:
        after = prompt.positions.masked_fill(~prompt.attended, -1).amax(dim=1) + 1  # after the whole prompt
        layers = [LayerCache() for _ in range(self.config.decoder.layers)]
        cache = Cache(layers, [LayerSpan(range(layer), prompt.attended)], after)
        hidden = self.embed(images, prompt)
        mask = causal_mask(prompt.attended, hidden.shape[1], self.device)
        trace = self.decoder(hidden, prompt.positions, mask, range(layer), cache.layers, keep_trace)
        return Reading(prompt, layer, trace, cache)

    def resume(self, reading: Reading, kept: Bool[Tensor, "batch sequence"] | None = None) -> LlavaOutput:
        """Runs the remaining decoder layers on the tokens that are kept: the second half of `forward`.

        The reading is not changed, so that one reading can be resumed many times.

        Args:
            reading: From `read`.
            kept: Which tokens remain, as from `EntropyPrune.choose`; `None` for all.

        Raises:
            TypeError: `kept` is not a tensor.
            ValueError: `kept` is not bool or has another shape than the prompt.
        """
        prompt, trace, layers = reading.prompt, reading.trace, range(reading.layer, self.config.decoder.layers)
        remaining = torch.ones_like(prompt.attended) if kept is None else require_tensor("kept", kept)
        if remaining.shape != prompt.attended.shape:
            raise ValueError(
                f"kept must have the shape of the prompt, {tuple(prompt.attended.shape)}, got {tuple(remaining.shape)}"
            )
        index, real = gather_index(remaining)  # (batch, length): shortened, in order, aligned at the right end
        attended, positions = prompt.attended.gather(1, index) & real, prompt.positions.gather(1, index)
        hidden = trace.hidden.gather(1, index.to(self.device)[..., None].expand(-1, -1, trace.hidden.shape[-1]))

        cache = reading.cache.copy()
        cache.spans.append(LayerSpan(layers, attended))
        mask = causal_mask(attended, hidden.shape[1], self.device)
        rest = self.decoder(hidden, positions, mask, layers, cache.layers, bool(trace.states))
        states = [*trace.states, *rest.states, rest.hidden] if trace.states else []
        return LlavaOutput(
            logits=self.lm_head(self.decoder.norm(rest.hidden)),
            kept=remaining,
            index=index,
            attended=attended,
            positions=positions,
            cache=cache,
            prompt=prompt,
            states=states,
            queries=trace.all_queries + rest.all_queries,
            view=None if kept is None else reading.view(),
        )

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
        visual = self.projector(self.vision_tower(images.to(self.device, self.dtype))).to(hidden.dtype)
        rows, columns = torch.nonzero(prompt.image_index >= 0, as_tuple=True)
        return hidden.index_put((rows.to(self.device), columns.to(self.device)), visual.flatten(0, 1))

    def step(self, tokens: Int[Tensor, "batch 1"], cache: Cache) -> Float[Tensor, "batch 1 vocabulary"]:
        """Decodes one token per row with the cache, at the position after the whole prompt, pruned or not.

        Args:
            tokens: `(batch, 1)`, integer ids.
            cache: Cache of a prefill of the same batch; it is appended to.

        Raises:
            TypeError: `tokens` is not a tensor of integers.
            ValueError: `tokens` has another shape, for each row has one next position, or ids out of range.
        """
        wanted = (len(cache.next_positions), 1)
        tokens = require_ids("tokens", tokens, self.config)
        if tuple(tokens.shape) != wanted:
            raise ValueError(f"tokens must have shape (batch, 1) = {wanted}, got {tuple(tokens.shape)}")
        tokens = tokens.to(cache.next_positions.device)
        hidden, positions = self.decoder.embed_tokens(tokens.to(self.device)), cache.next_positions[:, None]
        for span in cache.spans:
            span.attended = torch.cat([span.attended, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
            mask = causal_mask(span.attended, 1, self.device)
            hidden = self.decoder(hidden, positions, mask, span.layers, cache.layers).hidden
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
        token, cache = prefill.last_logits().argmax(-1, keepdim=True), prefill.cache.copy()
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
        """Returns a model with the same weights (shared, not copied) and another attention implementation."""
        shared = {id(tensor): tensor for tensor in [*self.parameters(), *self.buffers()]}
        other = copy.deepcopy(self, shared)
        other.config = replace(self.config, attention=attention)
        for module in other.modules():
            if hasattr(module, "attention"):
                vars(module)["attention"] = attention
        return other

    def save(self, path: Path) -> None:
        """Writes weights and configuration as safetensors; never leaves a half-written file under `path`."""
        weights.write(path, self.config, self.state_dict())

    @classmethod
    def from_pretrained(cls, path: Path | None = None) -> "Llava":
        """Returns the bundled model, or one that `save` wrote, ready to evaluate.

        Args:
            path: A safetensors file; default: the weights in the package, whose hash is checked.

        Raises:
            FileNotFoundError: No such file.
            ValueError: A truncated or altered file, or one of something else.
        """
        path = weights.bundled() if path is None else path
        return cls._of(*weights.read(path), origin=str(path))

    @classmethod
    def from_transformers(cls, model: "LlavaForConditionalGeneration") -> "Llava":
        """Returns a Hugging Face LLaVA (Llama text, CLIP vision) as a model of this class, weights copied.

        Raises:
            TypeError: A configuration in place of a model.
            ValueError: Another architecture, or an option of theirs that this model does not have.
        """
        return cls._of(*from_transformers(model), origin="model")

    @classmethod
    def _of(cls, config: LlavaConfig, tensors: Mapping[str, Tensor], origin: str) -> "Llava":
        """Makes a model of a configuration and the tensors that it asks for."""
        with torch.device("meta"):
            model = cls(config)
        wanted = model.state_dict()
        if differing := sorted(set(tensors) ^ set(wanted)):
            raise ValueError(
                f"{origin} must hold the {len(wanted)} tensors of its configuration, got a difference in "
                f"{', '.join(differing[:3])}"
            )
        for name, tensor in wanted.items():
            if tensors[name].shape != tensor.shape:
                raise ValueError(
                    f"{origin} must hold {name} in shape {tuple(tensor.shape)}, got shape {tuple(tensors[name].shape)}"
                )
        model.load_state_dict(tensors, assign=True)
        return model.eval().requires_grad_(False)

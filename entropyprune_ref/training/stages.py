"""The two stages of training: the vision tower alone, then projector and decoder on questions.

Stage `vision` stands in for CLIP's pretraining: from its penultimate state every patch names the shape and the colour
that it shows and its own cell, and the pooled class token names the objects in the image. Stage `decoder` freezes the
tower, as LLaVA-1.5 does, and learns to answer questions, many of them packed behind one image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from entropyprune_ref.llava.attention import causal_mask
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.world.packing import IGNORED
from entropyprune_ref.world.scenes import COLORS, SHAPES

from .batches import Batch, DecoderBatch, DecoderDraw, Draw, VisionBatch, VisionDraw
from .muon import Muon
from .recipe import Recipe

LABELS = (len(SHAPES) + 1, len(COLORS) + 1, 9)
"""What a patch can be: a shape or none, a colour or none, a cell."""


class Stage:
    """A named run of steps with its own parameters, optimisers, batches and loss."""

    name: str
    steps: int
    rate: float
    draw: Draw

    def __init__(self, model: Llava, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.modules = self.trained()
        parameters = [parameter for parameter in self.modules.parameters() if parameter.requires_grad]
        matrices = [p for name, p in self.modules.named_parameters() if p.ndim == 2 and "embed" not in name]
        chosen = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in chosen]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=self.rate, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(others, lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def trained(self) -> nn.Module:
        """Returns the modules whose parameters this stage changes."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Returns the loss of a batch."""
        raise NotImplementedError


class VisionStage(Stage):
    """Patch labels from the penultimate state and object presence from the pooled class token."""

    name = "vision"

    def __init__(self, model: Llava, recipe: Recipe) -> None:
        self.steps, self.rate, self.draw = recipe.vision_steps, recipe.vision_rate, VisionDraw(recipe)
        width = model.config.vision.hidden
        # drawn on the CPU like the model, so that a seed means the same weights on every device
        self.patch_head = nn.Linear(width, sum(LABELS)).to(model.device)
        self.image_head = nn.Linear(width, len(SHAPES) * len(COLORS)).to(model.device)
        super().__init__(model, recipe)

    def trained(self) -> nn.Module:
        """Returns the tower and two heads that are discarded afterwards."""
        return nn.ModuleList([self.model.vision_tower, self.patch_head, self.image_head])

    def loss(self, batch: Batch) -> Tensor:
        """Returns the cross-entropy of shape, colour and cell per patch, plus that of presence per image."""
        assert isinstance(batch, VisionBatch)
        device = self.model.device
        states = self.model.vision_tower.penultimate(pixels(batch.images.to(device)))
        wanted = batch.labels.to(device)
        guesses = self.patch_head(states[:, 1:]).split(LABELS, dim=-1)
        # two in three patches show only background: weigh the others up
        weight = torch.where(wanted[..., 0] > 0, 4.0, 1.0)
        parts = [
            (F.cross_entropy(guess.flatten(0, 1), label.flatten(), reduction="none") * weight.flatten()).sum()
            / weight.sum()
            for guess, label in zip(guesses, wanted.unbind(-1), strict=True)
        ]
        pooled = self.image_head(self.model.vision_tower.pooled(states))
        return sum(parts, F.binary_cross_entropy_with_logits(pooled, batch.present.to(device)))


class DecoderStage(Stage):
    """Next-token loss on answers, the tower frozen."""

    name = "decoder"

    def __init__(self, model: Llava, recipe: Recipe) -> None:
        self.steps, self.rate, self.draw = recipe.decoder_steps, recipe.rate, DecoderDraw(recipe)
        self.vocabulary = Vocabulary.of(model.config)
        super().__init__(model, recipe)

    def trained(self) -> nn.Module:
        """Returns projector and language model."""
        return nn.ModuleList([self.model.projector, self.model.decoder, self.model.lm_head])

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean cross-entropy over the answer tokens of all packed questions."""
        assert isinstance(batch, DecoderBatch)
        device, decoder = self.model.device, self.model.decoder
        with torch.no_grad():
            features = self.model.vision_tower(pixels(batch.images.to(device)))
        prefix_ids = torch.tensor(self.vocabulary.prefix(self.model.config.vision.patches))
        prefix_ids = prefix_ids.to(device).expand(len(batch.images), -1)
        prefix = prefix_ids.shape[1]
        # found where the targets were drawn: finding them on the device would make every step wait for it
        judged = (batch.packed.targets.flatten() != IGNORED).nonzero().squeeze(-1).to(device)
        packed = batch.packed.to(device)
        layers = range(self.model.config.decoder.layers)
        cache = [LayerCache() for _ in layers]
        words = decoder.embed_tokens(prefix_ids[:, :2])
        mask = causal_mask(torch.ones(prefix_ids.shape, dtype=torch.bool), prefix, device)
        positions = torch.arange(prefix, device=device).expand_as(prefix_ids)
        # the prefix runs once; gradients reach it through the keys and values that the questions read
        decoder(torch.cat([words, self.model.projector(features)], dim=1), positions, mask, layers, cache)
        hidden = decoder.embed_tokens(packed.ids)
        hidden = decoder(hidden, packed.positions, packed.mask(prefix), layers, cache).hidden
        answers = decoder.norm(hidden.flatten(0, 1)[judged])
        return F.cross_entropy(self.model.lm_head(answers), packed.targets.flatten()[judged])

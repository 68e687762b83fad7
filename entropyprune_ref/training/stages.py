"""Trains the bundled model: first the vision tower alone, then projector and decoder on questions; resumable, seeded.

Stage `vision` stands in for CLIP's pretraining: from its penultimate state every patch names the shape and the colour
that it shows and its own cell, and the pooled class token names the objects in the image. Stage `decoder` freezes the
tower, as LLaVA-1.5 does, and learns to answer questions, many of them packed behind one image.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from entropyprune_ref.llava.attention import causal_mask
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.config import DecoderConfig, LlavaConfig, VisionConfig
from entropyprune_ref.llava.model import Llava
from entropyprune_ref.llava.vision import pixels
from entropyprune_ref.llava.vocabulary import Vocabulary
from entropyprune_ref.world.questions import WORDS, ask
from entropyprune_ref.world.scenes import COLORS, GRID, IMAGE_SIZE, PATCH_SIZE, SHAPES, SHOWN, Scene, draw_scene

from .muon import Muon
from .packing import IGNORED, pack

TRAIN_STREAM = 1_000_000
"""Training images of seed s come from stream `TRAIN_STREAM + s`; held-out images use streams below it."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run.

    Args:
        seed: Seeds the initial weights and names the stream of images.
        vision_steps: Steps of stage `vision`.
        decoder_steps: Steps of stage `decoder`.
        vision_batch: Images in a step of stage `vision`.
        batch: Images in a step of stage `decoder`.
        asked: Questions on each image of stage `decoder`, by kind.
        vision_rate: Peak learning rate of stage `vision`.
        rate: Peak learning rate of stage `decoder`.
        weight_decay: Of all matrices.
        warmup: Steps of linear warm-up; the rest is a cosine down to 2 % of the peak.
    """

    seed: int = 0
    vision_steps: int = 1500
    decoder_steps: int = 900
    vision_batch: int = 32
    batch: int = 16
    asked: tuple[str, ...] = ("color",) * 3 + ("shape",) * 4 + ("exist",) * 4 + ("count",)
    vision_rate: float = 2e-3
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100


def bundled_config() -> LlavaConfig:
    """Returns the architecture of the bundled model: LLaVA-1.5's, small; `head_dim / heads` is 4 as in the 7B model."""
    return LlavaConfig(
        vision=VisionConfig(hidden=96, layers=3, heads=4, mlp=384, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE),
        decoder=DecoderConfig(hidden=128, layers=6, heads=8, kv_heads=8, head_dim=32, mlp=256, vocabulary=len(WORDS)),
        vocabulary=WORDS,
    )


Report = Callable[[str, int, int, float], None]
"""Called after every step with stage, steps done, steps in all, loss."""


def train(recipe: Recipe, folder: Path, report: Report | None = None, save_every: int = 200) -> Llava:
    """Trains a model and leaves `model.safetensors` and `training.json` in `folder`.

    A stopped run continues from its last checkpoint, to the same weights as an undisturbed one on the same
    machine.

    Args:
        recipe: What to run. A checkpoint of another recipe in `folder` is an error.
        folder: Made if it does not exist.
        report: Progress callback.
        save_every: Steps between checkpoints.

    Raises:
        ValueError: If `folder` holds a checkpoint of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = Llava(bundled_config())
    seconds = 0.0
    for stage in (VisionStage(model, recipe), DecoderStage(model, recipe)):
        seconds += _run(stage, folder, report or (lambda *_: None), save_every)
    model.eval()
    model.save(folder / "model.safetensors")
    record = {"recipe": asdict(recipe), "hours": seconds / 3600, "threads": torch.get_num_threads()}
    _write(folder / "training.json", lambda path: path.write_text(json.dumps(record, indent=2) + "\n"))
    for stage_name in ("vision", "decoder"):
        (folder / f"{stage_name}.checkpoint").unlink(missing_ok=True)
    return model


class Stage:
    """A named run of steps with its own parameters, optimisers and loss."""

    name: str
    steps: int
    rate: float

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

    def loss(self, step: int) -> Tensor:
        """Returns the loss of the step's batch."""
        raise NotImplementedError

    def scenes(self, step: int, batch: int) -> Iterator[tuple[int, Scene]]:
        """Returns the step's images with their numbers in the training stream; no two steps share one."""
        offset = 0 if self.name == "vision" else 10_000_000
        for index in range(offset + step * batch, offset + (step + 1) * batch):
            yield index, draw_scene(TRAIN_STREAM + self.recipe.seed, index, crowded=self.name == "vision")


class VisionStage(Stage):
    """Patch labels from the penultimate state and object presence from the pooled class token."""

    name = "vision"

    def __init__(self, model: Llava, recipe: Recipe) -> None:
        self.steps, self.rate = recipe.vision_steps, recipe.vision_rate
        width = model.config.vision.hidden
        self.patch_head = nn.Linear(width, len(SHAPES) + 1 + len(COLORS) + 1 + 9)
        self.image_head = nn.Linear(width, len(SHAPES) * len(COLORS))
        super().__init__(model, recipe)

    def trained(self) -> nn.Module:
        """Returns the tower and two heads that are discarded afterwards."""
        return nn.ModuleList([self.model.vision_tower, self.patch_head, self.image_head])

    def loss(self, step: int) -> Tensor:
        """Returns the cross-entropy of shape, colour and cell per patch, plus that of presence per image."""
        scenes = [scene for _, scene in self.scenes(step, self.recipe.vision_batch)]
        states = self.model.vision_tower.penultimate(pixels(torch.stack([torch.from_numpy(s.image) for s in scenes])))
        wanted = torch.stack([_patch_labels(scene) for scene in scenes])
        sizes = (len(SHAPES) + 1, len(COLORS) + 1, 9)
        guesses = self.patch_head(states[:, 1:]).split(sizes, dim=-1)
        # two in three patches show only background: weigh the others up
        weight = torch.where(wanted[..., 0] > 0, 4.0, 1.0)
        parts = [
            (F.cross_entropy(guess.flatten(0, 1), label.flatten(), reduction="none") * weight.flatten()).sum()
            / weight.sum()
            for guess, label in zip(guesses, wanted.unbind(-1), strict=True)
        ]
        present = torch.stack([_presence(scene) for scene in scenes])
        pooled = self.image_head(self.model.vision_tower.pooled(states))
        return sum(parts, F.binary_cross_entropy_with_logits(pooled, present))


class DecoderStage(Stage):
    """Next-token loss on answers, the tower frozen."""

    name = "decoder"

    def __init__(self, model: Llava, recipe: Recipe) -> None:
        self.steps, self.rate = recipe.decoder_steps, recipe.rate
        self.vocabulary = Vocabulary.of(model.config)
        super().__init__(model, recipe)

    def trained(self) -> nn.Module:
        """Returns projector and language model."""
        return nn.ModuleList([self.model.projector, self.model.decoder, self.model.lm_head])

    def loss(self, step: int) -> Tensor:
        """Returns the mean cross-entropy over the answer tokens of all packed questions."""
        drawn = list(self.scenes(step, self.recipe.batch))
        images = pixels(torch.stack([torch.from_numpy(scene.image) for _, scene in drawn]))
        questions = [ask(scene, TRAIN_STREAM + self.recipe.seed, index, self.recipe.asked) for index, scene in drawn]
        with torch.no_grad():
            features = self.model.vision_tower(images)
        prefix_ids = torch.tensor(self.vocabulary.prefix(self.model.config.vision.patches)).expand(len(drawn), -1)
        prefix = prefix_ids.shape[1]
        packed = pack(questions, self.vocabulary, prefix)
        decoder = self.model.decoder
        layers = range(self.model.config.decoder.layers)
        cache = [LayerCache() for _ in layers]
        words = decoder.embed_tokens(prefix_ids[:, :2])
        mask = causal_mask(torch.ones_like(prefix_ids, dtype=torch.bool), prefix, prefix_ids.device)
        positions = torch.arange(prefix).expand_as(prefix_ids)
        # the prefix runs once; gradients reach it through the keys and values that the questions read
        decoder(torch.cat([words, self.model.projector(features)], dim=1), positions, mask, layers, cache)
        hidden = decoder.embed_tokens(packed.ids)
        hidden = decoder(hidden, packed.positions, packed.mask(prefix), layers, cache).hidden
        judged = packed.targets != IGNORED
        answers = decoder.norm(hidden[judged])
        return F.cross_entropy(self.model.lm_head(answers), packed.targets[judged])


def _patch_labels(scene: Scene) -> Tensor:
    """Shape, colour (0: none) and cell of every patch, `(144, 3)`."""
    best = scene.coverage.argmax(axis=0)
    shown = torch.from_numpy(scene.coverage.max(axis=0) >= SHOWN)
    shapes = torch.tensor([1 + SHAPES.index(thing.shape) for thing in scene.things])[best]
    colors = torch.tensor([1 + list(COLORS).index(thing.color) for thing in scene.things])[best]
    rows, columns = torch.arange(GRID * GRID) // GRID, torch.arange(GRID * GRID) % GRID
    cells = rows * 3 // GRID * 3 + columns * 3 // GRID
    return torch.stack([shapes * shown, colors * shown, cells], dim=-1)


def _presence(scene: Scene) -> Tensor:
    """Which of the (shape, colour) pairs the image shows."""
    present = torch.zeros(len(SHAPES) * len(COLORS))
    for thing in scene.things:
        present[SHAPES.index(thing.shape) * len(COLORS) + list(COLORS).index(thing.color)] = 1.0
    return present


def _run(stage: Stage, folder: Path, report: Report, save_every: int) -> float:
    """Runs a stage from its last checkpoint to its end; returns its seconds over all sessions."""
    path = folder / f"{stage.name}.checkpoint"
    done, before = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        if state["recipe"] != json.dumps(asdict(stage.recipe)):
            raise ValueError(f"folder must be empty or hold a run of the same recipe, got another recipe's in {folder}")
        stage.model.load_state_dict(state["model"])
        stage.modules.load_state_dict(state["modules"])
        for optimizer, saved in zip(stage.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        done, before = state["done"], state["seconds"]
    started = time.perf_counter()
    for step in range(done, stage.steps):
        for optimizer in stage.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * _schedule(step, stage.steps, stage.recipe.warmup)
            optimizer.zero_grad()
        loss = stage.loss(step)
        loss.backward()
        nn.utils.clip_grad_norm_(stage.modules.parameters(), 1.0)
        for optimizer in stage.optimizers:
            optimizer.step()
        report(stage.name, step + 1, stage.steps, loss.item())
        if (step + 1) % save_every == 0 or step + 1 == stage.steps:
            checkpoint = {
                "recipe": json.dumps(asdict(stage.recipe)),
                "model": stage.model.state_dict(),
                "modules": stage.modules.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in stage.optimizers],
                "done": step + 1,
                "seconds": before + time.perf_counter() - started,
            }
            _write(path, partial(torch.save, checkpoint))
    return before + time.perf_counter() - started


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """Writes to a temporary file, then renames: never a half-written file under the final name."""
    temporary = path.with_name(path.name + ".partial")
    save(temporary)
    os.replace(temporary, path)

"""What decides a training run, and the model that it starts from."""

from dataclasses import dataclass

from entropyprune_ref.llava.config import DecoderConfig, LlavaConfig, VisionConfig
from entropyprune_ref.world.questions import words_of
from entropyprune_ref.world.scenes import IMAGE_SIZE, PATCH_SIZE

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
        weight_decay: Weight decay of all matrices.
        warmup: Steps of linear warm-up; the rest is a cosine down to 2 % of the peak.
        layers: Layers of the decoder.
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
    layers: int = 6

    def config(self) -> LlavaConfig:
        """Returns the architecture: LLaVA-1.5's, small; `head_dim / heads` is 4 as in the 7B model."""
        words = words_of(self.asked)
        return LlavaConfig(
            vision=VisionConfig(hidden=96, layers=3, heads=4, mlp=384, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE),
            decoder=DecoderConfig(
                hidden=128, layers=self.layers, heads=8, kv_heads=8, head_dim=32, mlp=256, vocabulary=len(words)
            ),
            vocabulary=words,
        )


DEEPER = Recipe(
    asked=("color",) * 2 + ("shape",) * 2 + ("exist",) * 2 + ("count",) + ("next",) * 5, decoder_steps=3000, layers=8
)
"""A model that must read the image deeper: most of its questions are about the neighbour of a thing."""

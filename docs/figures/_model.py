"""What several figures share: the bundled model, its untrained twin, and what both do on held-out images."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from entropyprune_ref import Llava
from entropyprune_ref.demo.run import draw
from entropyprune_ref.demo.where import entropy_curves
from entropyprune_ref.evaluation.plan import Plan
from entropyprune_ref.llava import Vocabulary, pixels
from entropyprune_ref.world.questions import Question
from entropyprune_ref.world.scenes import Scene


@cache
def model() -> Llava:
    """The bundled model."""
    return Llava.from_pretrained()


@cache
def untrained(seed: int = 0) -> Llava:
    """The same architecture with the random weights that `entropyprune-ref collapse --seed` draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Llava(model().config).eval().requires_grad_(False)


@cache
def asked(n: int) -> tuple[tuple[Scene, tuple[Question, ...]], ...]:
    """The first `n` images of the demonstration, which no training saw, each with a question of every type."""
    return tuple(zip(*draw(n, 0, Plan().kinds), strict=True))


@cache
def scenes(n: int) -> tuple[Scene, ...]:
    """The first `n` images of the demonstration."""
    return tuple(draw(n, 0, ())[0])


@cache
def images(n: int) -> Float[Tensor, "n 3 height width"]:
    """The same as the model reads them."""
    return pixels(torch.from_numpy(np.stack([scene.image for scene in scenes(n)])))


@cache
def curves(trained: bool, n: int) -> Float64[Tensor, "n states"]:
    """Entropy of the visual tokens at every state, in nats."""
    return entropy_curves(model() if trained else untrained(), np.stack([scene.image for scene in scenes(n)]))


@cache
@torch.no_grad()
def queries(layer: int, n: int) -> Float[Tensor, "n tokens heads head_dim"]:
    """Queries of the visual tokens in decoder layer `layer` of the bundled model, after rotary embedding."""
    question = Vocabulary.of(model().config).words[-1]  # stands behind the image: no question changes its queries
    output = model()(images(n), [question] * n, keep_trace=True)
    visual = output.prompt.image_index[0] >= 0
    return output.queries[layer][:, :, visual].transpose(1, 2)

"""Inputs of a pruned prefill: tiny random decoders with prompts, and strategies that draw them.

A case is plain numbers and a seed; `build` makes decoder and prompt of it. Every family but "mixed" adds one trait to
the ordinary prompt (one image between words, one key/value head for every query head, positions 0, 1, 2, ..., no
padding), so that the law that breaks says which trait was not minded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from ..plain.decoder import Run, parameter_shapes
from ..tolerances import ROTARY_ERROR, weight_error
from .case import Case, Draw, Setting
from .layouts import laid_out
from .sizes import rungs

FAMILIES = ("ordinary", "given positions", "padded", "several images", "grouped queries", "no image", "mixed")

FAR = (254, 255, 2047, 2048, 4096, 32_767, 32_768, 40_000, 65_535, 131_071)
"""First positions behind which rotary tables end, or 16 or 17 bits."""


@dataclass(frozen=True)
class Prompt:
    """A decoder, a prompt for it, and how it is to be pruned.

    Attributes:
        weights: By the names of Hugging Face checkpoints.
        sizes: Sizes of the decoder.
        embeddings: `(sequence, hidden)`, state 0. What stands in padding is arbitrary.
        positions: `(sequence,)`, rotary positions, ascending from one attended token to the next.
        image_index: `(sequence,)`, the number of the image that a visual token belongs to; -1 for text and padding.
        attended: `(sequence,)`, False for padding.
        prune_layer: First layer that runs pruned.
        keep: Visual tokens that remain.
        injected: `(text + keep,)`, a random choice of what remains, ascending.
        continuation: `(steps, hidden)`, embeddings of the tokens that are decoded afterwards.
    """

    weights: Mapping[str, Tensor]
    sizes: Mapping[str, int | float]
    embeddings: Float[Tensor, "sequence hidden"]
    positions: Real[Tensor, " sequence"]
    image_index: Int[Tensor, " sequence"]
    attended: Bool[Tensor, " sequence"]
    prune_layer: int
    keep: int
    injected: Int[Tensor, " remaining"]
    continuation: Float[Tensor, "steps hidden"]

    @property
    def text(self) -> Bool[Tensor, " sequence"]:
        """Which positions hold words."""
        return self.attended & (self.image_index < 0)

    @property
    def image_sizes(self) -> list[int]:
        """Visual tokens of each image."""
        return torch.bincount(self.image_index[self.image_index >= 0]).tolist()

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.image_sizes)

    def whole(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, positions and `attended` of the prompt with its continuation, which goes on behind its end."""
        steps = len(self.continuation)
        later = self.positions[self.attended].max() + 1 + torch.arange(steps)
        return (
            torch.cat([self.embeddings, self.continuation]),
            torch.cat([self.positions, later]),
            torch.cat([self.attended, torch.ones(steps, dtype=torch.bool)]),
        )

    def remaining(self, kept: Int[Tensor, " left"]) -> Bool[Tensor, " whole"]:
        """Which tokens of prompt and continuation the later layers see, when `kept` of the prompt are."""
        seen = torch.zeros(len(self.embeddings) + len(self.continuation), dtype=torch.bool)
        seen[kept] = True
        seen[len(self.embeddings) :] = True
        return seen

    def run(self, decoder: Callable[..., Run], remaining: Bool[Tensor, " whole"]) -> Run:
        """Runs `masked_run` or `pruned_run` on prompt and continuation."""
        embeddings, positions, attended = self.whole()
        return decoder(self.weights, embeddings, positions, self.prune_layer, remaining, attended, self.sizes)

    def to(self, dtype: torch.dtype) -> "Prompt":
        """The same numbers in another dtype."""
        return replace(
            self,
            weights={name: weight.to(dtype) for name, weight in self.weights.items()},
            embeddings=self.embeddings.to(dtype),
            continuation=self.continuation.to(dtype),
        )

    def shaken(self, dtype: torch.dtype, seed: int) -> "Prompt":
        """In float64, every number off by as much as rounding in `dtype` may amount to, at random up or down.

        Weights and embeddings are moved by `weight_error`; positions, and the weights of queries and keys once more, by
        `ROTARY_ERROR`.
        """
        generator = torch.Generator().manual_seed(seed)
        longest = max(int(self.sizes["heads"] * self.sizes["head_dim"]), int(self.sizes["hidden"]))
        longest = max(longest, int(self.sizes["mlp"]), len(self.embeddings) + len(self.continuation))
        error = weight_error(longest, dtype)
        errors = {name: error + ROTARY_ERROR * ("q_proj" in name or "k_proj" in name) for name in self.weights}
        return replace(
            self,
            weights={name: _moved(weight, errors[name], generator) for name, weight in self.weights.items()},
            embeddings=_moved(self.embeddings, error, generator),
            continuation=_moved(self.continuation, error, generator),
            positions=_moved(self.positions, ROTARY_ERROR, generator),
        )


def _moved(values: Tensor, by: float, generator: torch.Generator) -> Tensor:
    sign = 2.0 * torch.randint(2, values.shape, generator=generator).double() - 1
    return values.double() * (1 + by * sign)


def build(case: Case, dtype: torch.dtype) -> Prompt:
    """Returns the decoder and the prompt that a case describes.

    Its numbers: the sizes of the decoder; `layout`, the parts of the prompt: n > 0 for n words, n < 0 for an image of
    -n tokens; `padding`: before which of these tokens (or behind all of them) a padding slot stands; `start` and
    `stride` of the positions: the first, and the longest step from one to the next; `prune_layer`, `keep`, `steps`,
    `seed`; and `view`, how weights and embeddings lie in memory.

    Raises:
        ValueError: An unknown family, or numbers that do not fit together.
    """
    if case.family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(map(repr, FAMILIES))}, got {case.family!r}")
    numbers = dict(case.numbers)
    try:
        return _built(dtype, **numbers)
    except (TypeError, KeyError, IndexError, RuntimeError, ValueError) as error:
        raise ValueError(f"numbers must describe a prompt, got {numbers}: {error}") from None


def _built(
    dtype: torch.dtype,
    *,
    layout: list[int],
    padding: list[int],
    start: int,
    stride: int,
    prune_layer: int,
    keep: int,
    steps: int,
    seed: int,
    view: str = "contiguous",
    **sizes: Any,
) -> Prompt:
    generator = torch.Generator().manual_seed(seed)
    hidden = sizes["hidden"]
    tokens = [(number if part < 0 else -1) for number, part in _numbered(layout) for _ in range(abs(part))]
    slots: list[int | None] = []
    for place in range(len(tokens) + 1):
        slots += [None] * padding.count(place) + [*tokens[place : place + 1]]
    attended = torch.tensor([slot is not None for slot in slots])
    image_index = torch.tensor([-1 if slot is None else slot for slot in slots])
    jumps = torch.randint(1, stride + 1, (len(slots),), generator=generator) * attended
    idle = torch.arange(len(slots)) * 7919 % (2 * (start + int(jumps.sum())) + 9)  # of padding: any number will do
    visual = torch.nonzero(image_index >= 0).flatten()
    chosen = visual[torch.randperm(len(visual), generator=generator)[:keep]]
    text = torch.nonzero(attended & (image_index < 0)).flatten()
    if not (len(text) and 0 <= keep <= len(visual) and 1 <= prune_layer < sizes["layers"]):
        raise IndexError("no word, or keep or prune_layer out of range")
    return Prompt(
        weights={
            name: laid_out(weight.to(dtype), view if weight.ndim > 1 else "contiguous")
            for name, weight in _weights(sizes, generator).items()
        },
        sizes=sizes,
        embeddings=laid_out(torch.randn(len(slots), hidden, generator=generator, dtype=torch.float64).to(dtype), view),
        positions=torch.where(attended, start + jumps.cumsum(0) - jumps[attended][0], idle),
        image_index=image_index,
        attended=attended,
        prune_layer=prune_layer,
        keep=keep,
        injected=torch.cat([text, chosen]).sort().values,
        continuation=torch.randn(steps, hidden, generator=generator, dtype=torch.float64).to(dtype),
    )


def _numbered(layout: list[int]) -> list[tuple[int, int]]:
    """Every part with the number of images before it."""
    return [(sum(part < 0 for part in layout[:place]), part) for place, part in enumerate(layout)]


def _weights(sizes: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights, in float64, of a size that makes attention far from uniform."""
    drawn = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in parameter_shapes(sizes).items()
    }
    return {
        name: 1 + 0.2 * weight if weight.ndim == 1 else 1.5 / weight.shape[1] ** 0.5 * weight
        for name, weight in drawn.items()
    }


@st.composite
def prompts(draw: Draw, family: str, *, keep: str = "some", steps: bool = False, view: bool = False) -> Case:
    """Draws a case of a family.

    Args:
        draw: Hypothesis's way to draw.
        family: One of `FAMILIES`.
        keep: "some" (neither all nor none, where there are two visual tokens), "all" or "none".
        steps: Whether one to three tokens are decoded behind the prompt; none otherwise.
        view: Whether weights and embeddings are views.
    """
    mixed = family == "mixed"
    large = draw(st.sampled_from(["", "", "", "", "", "image", "layers"]), label="large")
    layers = draw(st.integers(2, 4 if mixed else 3), label="layers") if large != "layers" else draw(rungs(12, 7))
    kv_heads, group = draw(st.integers(3, 4), label="heads"), 1
    if family == "grouped queries" or (mixed and draw(st.booleans(), label="grouped")):
        kv_heads, group = draw(st.sampled_from([(2, 2), (1, 3), (2, 3), (3, 2)]), label="kv_heads, queries for each")
    words, image = st.integers(1, 3), st.integers(2, 6).map(lambda tokens: -tokens)
    first_image = rungs(129, 7).map(lambda tokens: -tokens) if large == "image" else image
    some, other = st.lists(words, max_size=1), st.lists(st.one_of(image, words), max_size=2)
    first = [draw(words, label="first")] if mixed else draw(some, label="first")  # a prompt may begin with an image
    last = draw(some, label="last") if mixed else [draw(words, label="last")]  # and end with one
    layout = [*first, draw(first_image, label="image"), *last]
    if family == "several images" or mixed:
        layout = [*first, draw(image, label="another image"), *draw(other, label="parts"), *layout[len(first) :]]
    if family == "no image":
        layout = [draw(rungs(129) if large == "image" else words, label="words")]
    length, visual = sum(map(abs, layout)), -sum(part for part in layout if part < 0)
    padded, placed = family == "padded" or mixed, family == "given positions" or mixed
    slots = st.lists(st.integers(0, length), min_size=int(family == "padded"), max_size=4).map(sorted)
    return Case(
        family,
        {
            "layers": layers,
            "hidden": draw(st.integers(4, 16), label="hidden"),
            "heads": kv_heads * group,
            "kv_heads": kv_heads,
            "head_dim": draw(st.sampled_from([2, 4, 6]), label="head_dim"),
            "mlp": draw(st.integers(4, 16), label="mlp"),
            "vocabulary": draw(st.integers(4, 9), label="vocabulary"),
            "rope_theta": draw(st.sampled_from([100.0, 10000.0, 500000.0]), label="theta") if placed else 10000.0,
            "norm_eps": draw(st.sampled_from([1e-6, 1e-5, 1e-2]), label="eps") if mixed else 1e-5,
            "layout": layout,
            "padding": draw(slots, label="padding") if padded else [],
            "start": draw(st.one_of(st.integers(0, 30), st.integers(0, 30), st.sampled_from(FAR)), label="start")
            if placed
            else 0,
            "stride": draw(st.integers(2, 5), label="stride") if placed else 1,
            "prune_layer": draw(st.integers(1, layers - 1), label="prune_layer"),
            "keep": visual
            if keep == "all"
            else 0
            if keep == "none" or not visual
            else draw(st.integers(1, visual - 1), label="keep"),
            "steps": draw(st.integers(1, 3), label="steps") if steps else 0,
            "seed": draw(st.integers(0, 2**16), label="seed"),
        }
        | ({"view": draw(st.sampled_from(VIEWS), label="view")} if view else {}),
    )


VIEWS = ("transposed", "strided", "offset", "leading strided")


def real(setting: Setting) -> list[Case]:
    """Long prompts, positions beyond 2,048, 32,768 and 131,072, deep and wide decoders; the first six are quick."""
    common = {"hidden": 16, "heads": 4, "kv_heads": 2, "head_dim": 4, "mlp": 12, "vocabulary": 9, "rope_theta": 10000.0}
    wide = {"layers": 2, "layout": [-9, 3, -70, 4], "prune_layer": 1, "keep": 41, "steps": 2, "hidden": 330, "mlp": 330}
    sizes = [
        {"layers": 9, "layout": [8, -288, 12], "prune_layer": 2, "keep": 83, "steps": 2},
        {
            "layers": 12,
            "layout": [3, -44, 2, *[-13] * 11, 9],
            "prune_layer": 11,
            "keep": 60,
            "start": 2049,
            "stride": 3,
        },
        {"layers": 3, "layout": [5, -120, 7], "prune_layer": 1, "keep": 40, "stride": 2400, "steps": 1},
        {"layers": 2, "layout": [40, -1100, 30], "prune_layer": 1, "keep": 1050, "steps": 3, "heads": 2},
        {**wide, "heads": 3, "kv_heads": 1, "head_dim": 290, "vocabulary": 1100},
        {**wide, "heads": 75, "kv_heads": 75, "hidden": 70, "mlp": 1030},
        {"layers": 9, "layout": [5, -200, 7], "prune_layer": 5, "keep": 40, "start": 32_700, "steps": 1},
        {"layers": 12, "layout": [35, -576, 20], "prune_layer": 2, "keep": 166, "steps": 3},
        {"layers": 9, "layout": [5, *[-64] * 8, 7], "prune_layer": 1, "keep": 100, "stride": 2, "steps": 1},
        {"layers": 66, "layout": [3, -9, 4], "prune_layer": 64, "keep": 5, "steps": 1},
        {"layers": 2, "layout": [60, -4200, 50], "prune_layer": 1, "keep": 2100, "steps": 2, "heads": 2, "kv_heads": 1},
    ]
    rest: dict[str, Any] = {"padding": [0, 0, 11], "start": 0, "stride": 1, "steps": 0, "norm_eps": 1e-5}
    seed = setting.seed % 2**16
    return [Case("mixed", common | rest | size | {"seed": seed + number}) for number, size in enumerate(sizes)]

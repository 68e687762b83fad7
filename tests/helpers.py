"""Tiny random models and prompts, and forward passes written out plainly, for every test of the minimal LLaVA."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig
from entropyprune_ref.llava.decoder import rotary_angles

IMAGE_TOKEN = 3
WORDS = ("<pad>", "<bos>", "<eos>", "<image>", "user", "assistant", "what", "color", "is", "circle", "red", "blue")

# Float64 through at most five decoder layers, less than 100 terms a sum, and two orders of summation: each step is off
# by less than 100 x 2^-53 = 1e-14, which the layers may amplify.
ROUNDING = {"rtol": 1e-10, "atol": 1e-10}


@dataclass(frozen=True)
class Batch:
    """Images and prompts. What stands in padding is arbitrary, placeholders among it.

    Attributes:
        images: `(images, 3, height, width)`, of all rows in reading order.
        ids: `(batch, sequence)`.
        attended: `(batch, sequence)`, False for padding.
        image_index: `(batch, sequence)`, number of the image in its row, -1 for text and padding.
    """

    images: Tensor
    ids: Tensor
    attended: Tensor
    image_index: Tensor

    @property
    def visual(self) -> Tensor:
        return self.image_index >= 0

    @property
    def positions(self) -> Tensor:
        """How many attended tokens stand before each token; at padding, anything."""
        return torch.tensor(
            [[max(0, sum(row[: i + 1]) - 1) for i in range(len(row))] for row in self.attended.tolist()]
        )

    def images_of(self, row: int) -> Tensor:
        """The images of one row."""
        counts = (self.image_index.amax(dim=1) + 1).tolist()
        return self.images[sum(counts[:row]) : sum(counts[: row + 1])]

    def rows(self, order: list[int]) -> "Batch":
        """Some rows in some order, with their images."""
        images = torch.cat([self.images_of(row) for row in order])
        return Batch(images, self.ids[order], self.attended[order], self.image_index[order])

    def alone(self, row: int) -> "Batch":
        """One row without its padding."""
        real = self.attended[row]
        ids, index = self.ids[row, real][None], self.image_index[row, real][None]
        return Batch(self.images_of(row), ids, torch.ones_like(ids, dtype=torch.bool), index)


def draw_weights(model: torch.nn.Module, seed: int) -> None:
    """Draws every weight, norms and biases too, so that attention is far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            if weight.ndim > 1 and "embed" not in name:
                drawn *= 1.5 / weight[0].numel() ** 0.5
            if weight.ndim == 1:
                drawn = 0.2 * drawn + float("norm" in name and name.endswith("weight"))
            weight.copy_(drawn)


def random_llava(config: LlavaConfig, seed: int = 0, dtype: torch.dtype = torch.float64) -> Llava:
    """A model whose every weight is random."""
    model = Llava(config).to(dtype)
    draw_weights(model, seed)
    return model.eval().requires_grad_(False)


def tiny_config(**decoder: int) -> LlavaConfig:
    """A fixed small model with grouped-query attention whose heads do not fill its width."""
    sizes = {"hidden": 12, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 6, "mlp": 10} | decoder
    return LlavaConfig(
        VisionConfig(hidden=8, layers=2, heads=2, mlp=12, image_size=6, patch_size=2),
        DecoderConfig(vocabulary=len(WORDS), **sizes),
        image_token=IMAGE_TOKEN,
        vocabulary=WORDS,
    )


@st.composite
def configs(draw: st.DrawFn, min_layers: int = 2, min_heads: int = 1) -> LlavaConfig:
    """Small models of every shape: grouped queries, heads that do not fill the width, both kinds of attention."""
    kv_heads, groups = draw(
        st.tuples(st.integers(1, 3), st.integers(1, 3)).filter(lambda both: both[0] * both[1] >= min_heads),
        label="kv_heads, queries for each",
    )
    vision_heads = draw(st.integers(1, 3), label="vision heads")
    patch_size = draw(st.integers(1, 2), label="patch size")
    return LlavaConfig(
        VisionConfig(
            # a layer norm of one or two features makes visual tokens equal, and a choice among them arbitrary
            hidden=vision_heads * draw(st.integers(4 - vision_heads, 4)),
            layers=draw(st.integers(2, 3)),
            heads=vision_heads,
            mlp=draw(st.integers(1, 9)),
            image_size=patch_size * draw(st.integers(1, 3)),
            patch_size=patch_size,
        ),
        DecoderConfig(
            hidden=draw(st.integers(4, 14), label="hidden"),
            layers=draw(st.integers(min_layers, 5), label="layers"),
            heads=kv_heads * groups,
            kv_heads=kv_heads,
            head_dim=draw(st.sampled_from([2, 4, 6]), label="head_dim") if min_heads == 1 else 6,
            mlp=draw(st.integers(2, 12)),
            vocabulary=11,
        ),
        image_token=IMAGE_TOKEN,
        attention=draw(st.sampled_from(["explicit", "fused"]), label="attention"),
    )


def make_batch(layout: list[list[int]], config: LlavaConfig, seed: int, padding: str = "anywhere") -> Batch:
    """Prompts from their layout: each row lists its parts, n >= 0 for a run of n words and -1 for an image.

    Args:
        layout: The rows.
        config: Of the model that is to read them.
        seed: Of words, pixels and where padding goes.
        padding: Where shorter rows are padded: "left", "right" or "anywhere".
    """
    generator = torch.Generator().manual_seed(seed)
    words = [i for i in range(config.decoder.vocabulary) if i != config.image_token]
    patches, size = config.vision.patches, config.vision.image_size
    rows = []
    for parts in layout:
        row: list[int] = []  # image number, -1 for text
        for part in parts:
            row += [-1] * part if part >= 0 else [max([-1, *row]) + 1] * patches
        rows.append(row)
    length = max(map(len, rows))
    batch, index = len(rows), torch.full((len(rows), length), -1)
    attended = torch.zeros(batch, length, dtype=torch.bool)
    for number, row in enumerate(rows):
        missing = length - len(row)
        places = torch.randperm(length, generator=generator)[: len(row)].sort().values
        if padding != "anywhere":
            places = torch.arange(len(row)) + (missing if padding == "left" else 0)
        attended[number, places] = True
        index[number, places] = torch.tensor(row)
    text = torch.tensor(words)[torch.randint(len(words), (batch, length), generator=generator)]
    noise = torch.randint(config.decoder.vocabulary, (batch, length), generator=generator)
    ids = torch.where(attended, torch.where(index >= 0, config.image_token, text), noise)
    images = sum(row.count(-1) for row in layout)
    return Batch(torch.randn(images, 3, size, size, generator=generator, dtype=torch.float64), ids, attended, index)


@st.composite
def batches(draw: st.DrawFn, config: LlavaConfig, max_rows: int = 3, min_images: int = 1) -> Batch:
    """One to three prompts of one to three images each, anywhere between words, padded anywhere."""

    def row() -> st.SearchStrategy[list[int]]:
        parts = st.lists(st.one_of(st.just(-1), st.integers(1, 3)), min_size=2, max_size=5)
        return parts.filter(lambda drawn: min_images <= drawn.count(-1) <= 3 and max(drawn) > 0)

    layout = draw(st.lists(row(), min_size=1, max_size=max_rows), label="layout")
    padding = draw(st.sampled_from(["left", "right", "anywhere"]), label="padding")
    return make_batch(layout, config, draw(st.integers(0, 2**16), label="batch seed"), padding)


def embedded(model: Llava, batch: Batch) -> Tensor:
    """State 0, one token after the other."""
    visual = iter(model.projector(model.vision_tower(batch.images)).flatten(0, 1))
    words = model.decoder.embed_tokens.weight
    rows = zip(batch.ids.tolist(), batch.visual.tolist(), strict=True)
    return torch.stack(
        [
            torch.stack([next(visual) if seen else words[index] for index, seen in zip(ids, visuals, strict=True)])
            for ids, visuals in rows
        ]
    )


def masked_states(
    model: Llava, batch: Batch, kept: Tensor, prune_layer: int, more: Tensor | None = None
) -> list[Tensor]:
    """All states of the full forward pass in which dropped tokens are masked out as keys from `prune_layer` on.

    Nothing is gathered and nothing is cached: every layer sees the whole sequence.

    Args:
        model: Whose layers are run.
        batch: The prompts.
        kept: `(batch, sequence)`, False for dropped tokens.
        prune_layer: The first layer that does not look at them.
        more: `(batch, tokens)`, ids of words that follow every prompt.
    """
    hidden, attended, positions = embedded(model, batch), batch.attended, batch.positions
    if more is not None and more.shape[1]:
        hidden = torch.cat([hidden, model.decoder.embed_tokens(more)], dim=1)
        later = attended.sum(dim=1, keepdim=True) + torch.arange(more.shape[1])
        positions = torch.cat([positions, later], dim=1)
        seen = torch.ones_like(more, dtype=torch.bool)
        attended, kept = torch.cat([attended, seen], dim=1), torch.cat([kept, seen], dim=1)
    rotary = rotary_angles(positions, model.config.decoder, hidden.dtype, hidden.device)
    order = torch.arange(hidden.shape[1])
    causal = order[:, None] >= order[None, :]
    states = [hidden]
    for number, layer in enumerate(model.decoder.layers):
        keys = attended & kept if number >= prune_layer else attended
        states.append(layer(states[-1], rotary, causal[None, None] & keys[:, None, None, :])[0])
    return states

"""The vision tower: CLIP's transformer, and the features that LLaVA reads from it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attend
from .config import Attention, VisionConfig


class VisionAttention(nn.Module):
    """Self-attention over all patches and the class token, with biases."""

    def __init__(self, config: VisionConfig, attention: Attention) -> None:
        super().__init__()
        self.heads, self.attention = config.heads, attention
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(config.hidden, config.hidden) for _ in range(4)
        )

    def forward(self, hidden: Float[Tensor, "images tokens dims"]) -> Float[Tensor, "images tokens dims"]:
        """Attends from every token to every token."""
        images, tokens, dims = hidden.shape
        queries, keys, values = (
            projection(hidden).view(images, tokens, self.heads, dims // self.heads).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = attend(queries, keys, values, None, self.attention)
        return self.out_proj(mixed.transpose(1, 2).reshape(images, tokens, dims))


class VisionLayer(nn.Module):
    """Pre-norm transformer layer with a quick-GELU MLP."""

    def __init__(self, config: VisionConfig, attention: Attention) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden, config.norm_eps)
        self.self_attn = VisionAttention(config, attention)
        self.layer_norm2 = nn.LayerNorm(config.hidden, config.norm_eps)
        self.fc1 = nn.Linear(config.hidden, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.hidden)

    def forward(self, hidden: Float[Tensor, "images tokens dims"]) -> Float[Tensor, "images tokens dims"]:
        """Adds attention, then the MLP, to the residual stream."""
        hidden = hidden + self.self_attn(self.layer_norm1(hidden))
        inner = self.fc1(self.layer_norm2(hidden))
        return hidden + self.fc2(inner * torch.sigmoid(1.702 * inner))  # quick GELU


class VisionTower(nn.Module):
    """One feature vector per patch, as LLaVA-1.5 reads CLIP: penultimate state, class token dropped.

    The last layer and the final norm are part of CLIP and of its checkpoints; LLaVA does not read them. `pooled`
    does, for pretraining.
    """

    def __init__(self, config: VisionConfig, attention: Attention = "explicit") -> None:
        super().__init__()
        self.config = config
        self.class_embedding = nn.Parameter(torch.randn(config.hidden) * config.hidden**-0.5)
        self.patch_embedding = nn.Conv2d(3, config.hidden, config.patch_size, config.patch_size, bias=False)
        self.position_embedding = nn.Embedding(config.patches + 1, config.hidden)
        self.pre_layernorm = nn.LayerNorm(config.hidden, config.norm_eps)
        self.layers = nn.ModuleList(VisionLayer(config, attention) for _ in range(config.layers))
        self.post_layernorm = nn.LayerNorm(config.hidden, config.norm_eps)

    def forward(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images patches dims"]:
        """Returns the penultimate state of every patch, row by row from the top left."""
        return self.penultimate(images)[:, 1:]

    def penultimate(self, images: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images tokens dims"]:
        """Returns the state that enters the last layer, class token first."""
        patches = self.patch_embedding(images).flatten(2).mT
        first = self.class_embedding.expand(len(images), 1, -1)
        hidden = torch.cat([first, patches], dim=1) + self.position_embedding.weight
        hidden = self.pre_layernorm(hidden)
        for layer in self.layers[:-1]:
            hidden = layer(hidden)
        return hidden

    def pooled(self, penultimate: Float[Tensor, "images tokens dims"]) -> Float[Tensor, "images dims"]:
        """Returns CLIP's image vector: the class token after the last layer and the final norm."""
        return self.post_layernorm(self.layers[-1](penultimate)[:, 0])


class Projector(nn.Module):
    """Two linear layers with a GELU between: from the vision tower's width to the decoder's."""

    def __init__(self, vision_hidden: int, decoder_hidden: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(vision_hidden, decoder_hidden)
        self.linear_2 = nn.Linear(decoder_hidden, decoder_hidden)

    def forward(self, features: Float[Tensor, "images patches dims"]) -> Float[Tensor, "images patches hidden"]:
        """Returns one decoder embedding per patch."""
        return self.linear_2(F.gelu(self.linear_1(features)))


def pixels(images: Tensor) -> Float[Tensor, "images 3 height width"]:
    """Returns uint8 images `(images, height, width, 3)` as the float32 that the bundled model reads, in [-1, 1]."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (images, height, width, 3), got {images.dtype} {tuple(images.shape)}")
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0

"""The bundled minimal LLaVA: vision tower, projector, Llama decoder, the whole model and its weights."""

from .config import DecoderConfig, LlavaConfig, VisionConfig
from .model import Cache, Generation, Llava, LlavaOutput, pixels
from .pruner import EntropyPrune, GivenTokens
from .vocabulary import Vocabulary

__all__ = [
    "Cache",
    "DecoderConfig",
    "EntropyPrune",
    "Generation",
    "GivenTokens",
    "Llava",
    "LlavaConfig",
    "LlavaOutput",
    "VisionConfig",
    "Vocabulary",
    "pixels",
]

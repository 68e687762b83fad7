"""The bundled minimal LLaVA: vision tower, projector, Llama decoder, the whole model and its weights."""

from .config import DecoderConfig, LlavaConfig, VisionConfig
from .model import Cache, Generation, Llava, LlavaOutput, pixels
from .vocabulary import Vocabulary

__all__ = [
    "Cache",
    "DecoderConfig",
    "Generation",
    "Llava",
    "LlavaConfig",
    "LlavaOutput",
    "VisionConfig",
    "Vocabulary",
    "pixels",
]

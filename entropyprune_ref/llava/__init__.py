"""The bundled minimal LLaVA: vision tower, projector, Llama decoder, the whole model and its weights."""

from .cache import Cache
from .config import DecoderConfig, LlavaConfig, VisionConfig
from .model import Llava
from .outputs import Generation, LlavaOutput, Reading
from .vision import pixels
from .vocabulary import Vocabulary

__all__ = [
    "Cache",
    "DecoderConfig",
    "Generation",
    "Llava",
    "LlavaConfig",
    "LlavaOutput",
    "Reading",
    "VisionConfig",
    "Vocabulary",
    "pixels",
]

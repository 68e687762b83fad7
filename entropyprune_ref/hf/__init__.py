"""EntropyPrune in place, on the unchanged models of the Hugging Face library.

Reading order: `families` (what is visual), `refusals` (what is not supported), `images` (which token belongs to which
image), `masks` (which keys may be seen), `passes` (one forward pass, cut short), `hooks` (how it gets into the model),
`pruned` (what a user calls).
"""

from importlib import metadata

try:
    _version = metadata.version("transformers")
except metadata.PackageNotFoundError:
    raise ImportError(
        "entropyprune_ref.hf needs transformers, which is not installed: pip install 'entropyprune-ref[interop]'"
    ) from None
if tuple(int(part) for part in _version.split(".")[:2]) < (5, 23):
    raise ImportError(
        f"entropyprune_ref.hf needs transformers 5.23 or newer, got {_version}: "
        "pip install --upgrade 'entropyprune-ref[interop]'"
    )

from .families import FAMILIES, Anatomy, Family, anatomy
from .passes import Prefill
from .pruned import Run, pruned

__all__ = ["FAMILIES", "Anatomy", "Family", "Prefill", "Run", "anatomy", "pruned"]

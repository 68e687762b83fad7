"""Weights and configuration in one safetensors file; the bundled one is checked against its hash."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .config import LlavaConfig

FORMAT = "entropyprune_ref.llava.1"
BUNDLED = Path(str(resources.files(__package__))) / "bundled"
"""Folder of the bundled weights, their hash and their model card."""


def write(path: Path, config: LlavaConfig, tensors: Mapping[str, Tensor]) -> None:
    """Writes a model's configuration and tensors to `path`, through a temporary file beside it.

    Raises:
        ValueError: There is no such folder.
        OSError: The file cannot be written; nothing is left of it.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path must lie in an existing folder, got {path}")
    metadata = {"format": FORMAT, "config": config.to_json()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_name(path.name + ".partial")
    try:
        save_file(whole, str(temporary), metadata)
        os.replace(temporary, path)
    except SafetensorError as error:
        raise OSError(f"path must be a file that can be written, got {path}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def bundled() -> Path:
    """Returns the path of the bundled weights, once their hash is checked.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: The file is not the one that was released.
    """
    path = BUNDLED / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"the package must hold its weights, {path}, which does not exist; reinstall")
    expected = json.loads((BUNDLED / "model.json").read_text())["sha256"]
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise ValueError(f"{path} must have SHA-256 {expected}, got {actual}: the file is damaged; reinstall")
    return path


def read(path: Path) -> tuple[LlavaConfig, dict[str, Tensor]]:
    """Reads what `write` wrote.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A truncated file, one of something else, or one whose configuration makes no model.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"path must be a safetensors file with weights, got {path}, which {what}")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            # cloned, because what lies unaligned in the file is rounded otherwise by some matrix kernels
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that does not read: {error}") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} must hold a model in format {FORMAT!r}, got {metadata.get('format')!r}")
    try:
        config = LlavaConfig.from_json(metadata["config"])
        # every layer has tensors of its own: a configuration of millions of layers is refused before it is built
        if config.decoder.layers + config.vision.layers > len(tensors):
            raise ValueError(f"{config.decoder.layers} layers for {len(tensors)} tensors")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must hold the configuration of a model, got {type(error).__name__}: {error}"
        ) from None
    return config, tensors

"""Weights and configuration in one safetensors file; the bundled one is checked against its hash."""

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .config import LlavaConfig

if TYPE_CHECKING:
    from .model import Llava

FORMAT = "entropyprune_ref.llava.1"
BUNDLED = Path(str(resources.files(__package__))) / "bundled"
"""Folder of the bundled weights, their hash and their model card."""


def save(model: "Llava", path: Path) -> None:
    """Writes `model` to `path` by way of a temporary file beside it."""
    metadata = {"format": FORMAT, "config": model.config.to_json()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    temporary = path.with_name(path.name + ".partial")
    save_file(tensors, str(temporary), metadata)
    os.replace(temporary, path)


def load(path: Path | None = None) -> "Llava":
    """Reads a model that `save` wrote; the bundled one when `path` is None. See `Llava.from_pretrained`."""
    from .model import Llava

    bundled = path is None
    path = BUNDLED / "model.safetensors" if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be a safetensors file with weights, got {path}, which does not exist")
    if bundled:
        expected = json.loads((BUNDLED / "model.json").read_text())["sha256"]
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != expected:
            raise ValueError(f"{path} must have SHA-256 {expected}, got {actual}: the file is damaged; reinstall")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            # cloned, because what lies unaligned in the file is rounded otherwise by some matrix kernels
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that does not read: {error}") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} must hold a model in format {FORMAT!r}, got {metadata.get('format')!r}")
    with torch.device("meta"):
        model = Llava(LlavaConfig.from_json(metadata["config"]))
    expected_names = set(model.state_dict())
    if set(tensors) != expected_names:
        differing = sorted(set(tensors) ^ expected_names)
        raise ValueError(
            f"{path} must hold the {len(expected_names)} tensors of its configuration, got a difference in "
            f"{', '.join(differing[:3])}"
        )
    for name, wanted in model.state_dict().items():
        if tensors[name].shape != wanted.shape:
            raise ValueError(
                f"{path} must hold {name} in shape {tuple(wanted.shape)}, got shape {tuple(tensors[name].shape)}"
            )
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)

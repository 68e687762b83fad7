"""Traces as files: written whole or not at all, and read with every hash checked."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .arrays import ARRAYS, FORMAT_VERSION
from .schema import MANIFEST
from .tolerances import described

NAMES = ("manifest.json", "manifest.schema.json", "trace.safetensors")

HOW_TO_ANSWER = (
    "Run the prompt of input_ids with the pictures on your engine, greedily; pixels are prepared as by the checkpoint.",
    "Write one safetensors file with as many of the arrays as you have, under the same names and in the same shapes.",
    "Any floating dtype will do for queries, scores and logits; any integer dtype for the others.",
    "Feed the tokens of this trace back if your greedy answer differs: logits are compared as far as tokens agree.",
    'Metadata of the file: format_version "1", trace (this id), dtype (float64, float32, float16 or bfloat16).',
    "Then: entropyprune-ref check --trace FOLDER FILE",
)


@dataclass(frozen=True)
class Trace:
    """A trace in memory.

    Attributes:
        record: What the manifest says, but for what `write_trace` adds: format, id, arrays, tolerances, how to answer,
            hashes.
        arrays: Every array of `ARRAYS`.
    """

    record: dict[str, Any]
    arrays: dict[str, Tensor]


def write_trace(trace: Trace, folder: str | Path) -> Path:
    """Writes a trace into a new folder, or over an earlier trace.

    Args:
        trace: To be written.
        folder: Does not exist, is empty, or holds a trace and nothing else. Its parent is made if needed.

    Returns:
        The folder.

    Raises:
        ValueError: `folder` holds something else.
        OSError: It cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    require_replaceable(folder)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: trace.arrays[name].contiguous() for name in ARRAYS}
    building = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
    try:
        save_file(arrays, building / "trace.safetensors")
        (building / "manifest.schema.json").write_text(json.dumps(MANIFEST, indent=2) + "\n")
        hashes = {name: _sha(building / name) for name in NAMES[1:]}
        manifest = {
            "format_version": FORMAT_VERSION,
            "id": hashes["trace.safetensors"][:16],
            **trace.record,
            "arrays": {
                name: {
                    "dtype": str(array.dtype).removeprefix("torch."),
                    "shape": list(array.shape),
                    "axes": ARRAYS[name].shape,
                    "meaning": ARRAYS[name].meaning,
                }
                for name, array in arrays.items()
            },
            "tolerances": described(),
            "how_to_answer": list(HOW_TO_ANSWER),
            "files": hashes,
        }
        (building / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        building.chmod(0o755)
        (building / "trace.safetensors").chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return folder


def require_replaceable(folder: Path) -> None:
    """Raises if a trace cannot go to `folder` because something else is there, or because it cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the folder of a trace must be a new one or one of a trace, got the file {folder}")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    others = sorted(held - set(NAMES))
    if others:
        raise ValueError(f"the folder of a trace must be new, empty or one of a trace, got {folder} with {others[0]}")
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise ValueError(f"the folder of a trace must be one that can be written, got {folder}")


def load_trace(folder: str | Path) -> Trace:
    """Reads a trace.

    Returns:
        The trace; its record is the whole manifest.

    Raises:
        ValueError: No trace, another format, or a file that is not what the manifest says.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        version, hashes = manifest["format_version"], manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder} must be a folder with a trace, got none with a readable manifest.json") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"{folder} must be a trace of format {FORMAT_VERSION}, got {version}")
    for name, expected in hashes.items():
        if not (folder / name).is_file() or _sha(folder / name) != expected:
            raise ValueError(f"{folder / name} must have the hash that the manifest gives, got another file or none")
    return Trace(manifest, load_arrays(folder / "trace.safetensors"))


def load_arrays(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        ValueError: It is none.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"{path} must be a safetensors file, got: {reason}") from None


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

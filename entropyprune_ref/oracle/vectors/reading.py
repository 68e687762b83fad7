"""Reads a set of vectors, and refuses one that is not whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ..contracts import ALL_CONTRACTS
from .defining.case import VectorCase
from .writing.encoding import EXPECTED, INPUTS, decoded, identity
from .writing.folder import CASES, FORMAT, FORMAT_VERSION, MANIFEST, SPEC_VERSION, SUMS, sums

RELEASED = Path(str(resources.files(__package__))) / "released"
"""Folder of the set that is part of the package."""


@dataclass(frozen=True)
class Vectors:
    """A set of vectors that was read.

    Attributes:
        folder: Where it was.
        manifest: What `manifest.json` says.
        cases: By id, in their order.
    """

    folder: Path
    manifest: Mapping[str, Any]
    cases: Mapping[str, VectorCase]


def load(folder: Path | None = None) -> Vectors:
    """Reads a set that `write` wrote.

    Args:
        folder: Default: the released set, which is part of the package.

    Raises:
        ValueError: No set of vectors, one of another version, or one whose files are missing or damaged.

    Examples:
        >>> case = load().cases["tokens_to_keep/llava_192"]
        >>> case.inputs["average"], case.outputs["keep"].value.item(), case.flags
        (192, 166, ('AverageKept', 'PruneLayerOffByOne'))
    """
    folder = RELEASED if folder is None else Path(folder)
    manifest = _manifest(folder)
    data = {name: _whole(folder / name, entry) for name, entry in manifest["files"].items()}
    try:
        tensors = {name: load_tensors(data[name]) for name in (INPUTS, EXPECTED)}
        records = json.loads(data[CASES])["cases"]
        cases = {record["id"]: decoded(record, tensors) for record in records}
        asked, counted = identity(records, data[INPUTS]), sum(manifest["cases"].values())
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder} must hold vectors as its schema says, got {_line(error)}") from None
    if asked != manifest["set"]:
        raise ValueError(f"{folder} must hold the set {manifest['set']}, got {asked}: its manifest is damaged")
    if unknown := sorted({case.contract for case in cases.values()} - ALL_CONTRACTS.keys()):
        raise ValueError(f"{folder} must hold contracts of this version, got {', '.join(unknown)}")
    if unknown := sorted({flag for case in cases.values() for flag in case.flags} - manifest["notes"].keys()):
        raise ValueError(f"{folder} must have a note on every flag, got none on {', '.join(unknown[:3])}")
    if counted != len(cases):
        raise ValueError(f"{folder} must hold {counted} cases, got {len(cases)}")
    return Vectors(folder, manifest, cases)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        data, listed = path.read_bytes(), (folder / SUMS).read_bytes()
        manifest = json.loads(data)
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder of vectors, got {error.strerror} at {Path(error.filename or path).name}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {_line(error)}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} must be the manifest of {FORMAT}, got something else")
    if sums({MANIFEST: data}) not in listed:
        raise ValueError(f"{path} must have the SHA-256 that {SUMS} lists, got another: the file is damaged")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path} must have format_version {FORMAT_VERSION}, got {manifest.get('format_version')}")
    spec = str(manifest.get("spec_version"))
    if spec.split(".")[0] != SPEC_VERSION.split(".")[0]:
        raise ValueError(f"{path} must have spec_version {SPEC_VERSION.split('.')[0]}.x, got {spec}")
    files = manifest.get("files")
    if not isinstance(files, dict) or not {CASES, INPUTS, EXPECTED} <= files.keys():
        raise ValueError(
            f"{path} must list {CASES}, {INPUTS} and {EXPECTED}, got {files if files is None else list(files)}"
        )
    for name, kind in (("set", str), ("cases", dict), ("notes", dict), ("generator", dict)):
        if not isinstance(manifest.get(name), kind):
            raise ValueError(f"{path} must have {name!r}, got {manifest.get(name)!r}")
    return manifest


def _whole(path: Path, entry: Mapping[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} must be readable, got {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if not isinstance(entry, dict) or found != entry.get("sha256"):
        wanted = entry.get("sha256") if isinstance(entry, dict) else entry
        raise ValueError(f"{path} must have SHA-256 {wanted}, got {found}: the file is damaged")
    return data


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"

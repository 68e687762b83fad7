"""Writes a set of vectors: never half of it; the same inputs everywhere, and the same bytes again on one machine."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from .... import __version__
from ....scoring import CONVENTIONS
from ...bugs.notes import NOTES
from ...contracts import ALL_CONTRACTS
from ..defining.cases import all_cases
from ..defining.draws import SEED
from .encoding import EXPECTED, INPUTS, Tensors, encoded, identity
from .schema import CASES_SCHEMA, MANIFEST_SCHEMA

FORMAT = "entropyprune-ref vectors"

FORMAT_VERSION = 2
"""Of the files: raised when a reader of the old ones could not read the new ones."""

SPEC_VERSION = "2.0"
"""Of what the cases demand, and separate from the version of the package. The first number is raised when an expected
value, a tolerance or a verdict changes; the second when cases are added."""

MANIFEST, CASES = "manifest.json", "cases.json"

SUMS = "SHA256SUMS"
"""Hashes of all other files, the manifest too, as `sha256sum --check` reads them."""

VERDICTS = {
    "must_match": "the outputs must be those of the case, to its tolerance",
    "must_reject": "there is no answer: raise an error, and write the tensor <id>.rejected, a single 1",
    "either": "the outputs of the case pass, and so does each of its alternatives",
}

COMPARE = {
    "close": "floating numbers, each within the tolerance that the case gives for the dtype of the consumer",
    "exact": "the same integers",
    "selection": "the same positions, strictly ascending; if the gap at the cut is at most twice score_error, tokens "
    "whose scores are that close to the cut may be exchanged",
}

RESULTS = {
    "file": "one safetensors file",
    "tensors": "<id>.<output> for each output of each case, or <id>.rejected; floating (any width) or integer",
    "metadata": {
        "format_version": str(FORMAT_VERSION),
        "set": "copied from this manifest",
        "dtype": "what was computed in: float64 or float32",
    },
}


def contents() -> dict[str, bytes]:
    """Returns the files of the set by name."""
    inputs, expected = Tensors(INPUTS), Tensors(EXPECTED)
    records = [encoded(case, inputs, expected) for case in all_cases()]
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in records)
    files = {
        CASES: f'{{"format_version": {FORMAT_VERSION}, "cases": [\n{lines}\n]}}\n'.encode(),
        INPUTS: save(inputs.by_name),
        EXPECTED: save(expected.by_name),
        "cases.schema.json": _pretty(CASES_SCHEMA),
        "manifest.schema.json": _pretty(MANIFEST_SCHEMA),
    }
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "spec_version": SPEC_VERSION,
        "generator": {"name": "entropyprune-ref", "version": __version__, "seed": SEED},
        "set": identity(records, files[INPUTS]),
        "cases": {name: sum(record["contract"] == name for record in records) for name in ALL_CONTRACTS},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "contracts": {
            name: {"says": call.says, "inputs": dict(call.inputs), "outputs": dict(call.outputs)}
            for name, call in ((name, contract.named) for name, contract in ALL_CONTRACTS.items())
        },
        "conventions": {name: asdict(convention) for name, convention in CONVENTIONS.items()},
        "verdicts": VERDICTS,
        "compare": COMPARE,
        "results": RESULTS,
        "notes": {name: asdict(note) for name, note in NOTES.items()},
    }
    files = {MANIFEST: _pretty(manifest), **files}
    return {**files, SUMS: sums(files)}


def sums(files: Mapping[str, bytes]) -> bytes:
    """The hashes of files in the format of `sha256sum`."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


def write(folder: Path) -> dict[str, Any]:
    """Writes the set into a folder, by way of a temporary one beside it, and returns its manifest.

    Args:
        folder: A new name, an empty folder, or one that holds vectors and nothing else, which are replaced.

    Raises:
        ValueError: `folder` is a file, or holds anything else.
        OSError: It cannot be written.
    """
    folder = Path(folder).resolve()
    _require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    new, old = stage / "new", stage / "old"
    try:
        new.mkdir()
        files = contents()
        for name, data in files.items():
            (new / name).write_bytes(data)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return dict(json.loads(files[MANIFEST]))


def _require_free(folder: Path) -> None:
    """Refuses whatever is there, unless it is an empty folder or holds a set of vectors and nothing else."""
    wanted = "must be a new or empty folder, or one of vectors"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} {wanted}, got a file")
    found = {entry.name for entry in folder.iterdir()}
    if not found:
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        own = {MANIFEST, SUMS, *manifest["files"]} if manifest["format"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    if others := sorted(found - own):
        raise ValueError(f"{folder} {wanted}, got one with {', '.join(others[:3])}")


def _pretty(record: Any) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()

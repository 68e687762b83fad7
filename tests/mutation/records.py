"""What every test executes and how long it takes, by test file; kept until the package or the file changes."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

Record = tuple[float, dict[str, list[int]]]
"""CPU seconds of a test, and the lines that it executes of each module."""


class Records:
    """A folder of records, which all rooms share.

    Args:
        folder: Where they are kept.
        tree: The tree that is tested; its package and all that is no test file count as changed or not as a whole.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder, self.tree = folder, tree
        shared = [path for path in (tree / "tests").rglob("*.py") if not path.name.startswith("test_")]
        shared = [path for path in shared if path.parent.name != "mutation"]
        self.common = hashlib.sha256()
        for path in sorted([*(tree / "entropyprune_ref").rglob("*.py"), *shared]):
            self.common.update(path.read_bytes())

    def path(self, file: str) -> Path:
        """Where the record of a test file is kept."""
        digest = self.common.copy()
        digest.update((self.tree / file).read_bytes())
        return self.folder / f"{file.replace('/', '.').removesuffix('.py')}-{digest.hexdigest()[:16]}.json"

    def all(self, names: Iterable[str], measure: Callable[[str], Record]) -> dict[str, Record]:
        """Returns the record of every test, by name; what is not there is measured."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, list[str]] = {}
        for name in names:
            files.setdefault(name.partition("::")[0], []).append(name)
        found: dict[str, Record] = {}
        for file, tests in files.items():
            path = self.path(file)
            if not path.exists():
                for old in self.folder.glob(f"{path.name.rpartition('-')[0]}-*.json"):
                    old.unlink()
                part = path.with_suffix(f".{id(self)}")
                part.write_text(json.dumps({name: measure(name) for name in tests}))
                part.replace(path)
            kept = json.loads(path.read_text())
            found.update({name: kept[name] for name in tests})
        return found

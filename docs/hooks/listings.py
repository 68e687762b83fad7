"""Code that a page shows: a plain formula, open; the real source, folded; all tests of a section in one fold."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import sources

ROOT = Path(__file__).parents[2]
PLAIN = "docs/figures/plain.py"
TEST = re.compile(r"^\{\{ test (?P<name>.+?) \}\}[ ]*\n?")
TYPE = re.compile(r": [\w\[\]]+(?=[,)])| -> \w+(?=:$)")
"""Of an argument or a result: the formula can be read without."""
FENCE = re.compile(r"^ {0,3}(```|~~~)")


def gathered(markdown: str) -> str:
    """Moves the tests of each section, down to the next `##`, to its end, in one directive."""
    parts: list[str] = []
    names: list[str] = []
    fenced = False

    def close() -> None:
        if names:
            parts.append(f"\n{{{{ tests {' '.join(dict.fromkeys(names))} }}}}\n\n")
            names.clear()

    for line in markdown.splitlines(keepends=True):
        fenced ^= FENCE.match(line) is not None
        if not fenced and (match := TEST.match(line)):
            names.append(match["name"])
            continue
        if not fenced and line.startswith("## "):
            close()
        parts.append(line)
    if names:
        parts.append("\n")
        close()
    return "".join(parts)


def link(page: Page, path: str, line: int) -> str:
    """Returns the address of a source line, relative to a page."""
    start = posixpath.dirname(page.file.src_uri)
    return f"{posixpath.relpath(sources.page_of(path), start or '.')}#L{line}"


def source(name: str, page: Page, config: Any, files: Files) -> str:
    """A definition without its docstring, folded, titled with its name, and a link to where it stands."""
    path, inner, first, last = sources.locate(name)
    code = _indented(sources.without_docstring(path, first, last))
    where = f"[In its file, `{path}`, line {first}]({link(page, path, first)}){{ .where }}"
    return f'??? source "Source of `{inner}`"\n\n    ```python\n{code}\n    ```\n\n    {where}'


def plain(name: str, page: Page, config: Any, files: Files) -> str:
    """The short form of a formula, open: the body of a function of `docs/figures/plain.py`, which tests compare."""
    if name not in sources.definitions(PLAIN):
        raise PluginError(f"{PLAIN} must define {name}, got no such name")
    code = sources.without_docstring(PLAIN, *sources.definitions(PLAIN)[name])
    first, rest = code.split("\n", 1)
    return f"```python\n{TYPE.sub('', first)}\n{rest}\n```"


def tests(names: str, page: Page, config: Any, files: Files) -> str:
    """The tests of a section in one fold: their names, which are laws, each a link to where it stands."""
    items = []
    for name in names.split():
        path, _, inner = name.partition("::")
        if not (ROOT / path).is_file() or inner not in sources.definitions(path):
            raise PluginError(f"{name} must be a test of this repository, got nothing of that name")
        items.append(f"    - [`{inner}`]({link(page, path, sources.definitions(path)[inner][0])})")
    return f'??? test "Tests ({len(items)})"\n\n' + "\n".join(items)


def _indented(code: str) -> str:
    return "\n".join("    " + line if line else "" for line in code.splitlines())

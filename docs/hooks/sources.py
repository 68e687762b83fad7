"""Every source file is a page of the site, with a place to link to on every line."""

import ast
import html
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).parents[2]
SHOWN = ("entropyprune_ref", "tests", "benchmarks", "tutorials")


def page_of(path: str) -> str:
    """Returns the page that shows a source file, from the root of the site's sources."""
    return f"source/{path.removesuffix('.py')}.md"


@cache
def definitions(path: str) -> dict[str, tuple[int, int]]:
    """First and last line of everything that a source file defines, by qualified name."""
    found: dict[str, tuple[int, int]] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(entry.lineno for entry in node.decorator_list)])
                found[f"{prefix}{node.name}"] = (first, node.end_lineno or first)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found.setdefault(f"{prefix}{target.id}", (node.lineno, node.end_lineno or node.lineno))

    visit(ast.parse((ROOT / path).read_text()).body, "")
    return found


def locate(name: str) -> tuple[str, str, int, int]:
    """Returns file, qualified name, first and last line of an object such as `entropyprune_ref.gram.centred`.

    Raises:
        PluginError: There is no such thing.
    """
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        for path in ("/".join(parts[:end]) + ".py", "/".join([*parts[:end], "__init__.py"])):
            if (ROOT / path).is_file():
                inner = ".".join(parts[end:])
                if inner not in definitions(path):
                    raise PluginError(f"{path} must define {inner}, got no such name")
                return path, inner, *definitions(path)[inner]
    raise PluginError(f"{name} must be a function, class or constant of this repository, got nothing of that name")


def without_docstring(path: str, first: int, last: int) -> str:
    """Returns the lines of a definition, its own docstring left out, dedented."""
    lines = (ROOT / path).read_text().splitlines()
    drop: set[int] = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not first <= node.lineno <= last:
            continue
        if ast.get_docstring(node, clean=False) is not None:
            start, end = node.body[0].lineno, node.body[0].end_lineno or node.body[0].lineno
            if isinstance(node, ast.ClassDef) and end < len(lines) and not lines[end].strip():
                end += 1
            drop.update(range(start, end + 1))
    kept = [lines[number - 1] for number in range(first, last + 1) if number not in drop]
    margin = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    return "\n".join(line[margin:] for line in kept).strip("\n")


def source_files() -> list[str]:
    """All files that have a page, as paths from the root of the repository."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in SHOWN
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each source file."""
    formatter = HtmlFormatter(nowrap=True)
    for path in source_files():
        text = (ROOT / path).read_text()
        coloured = highlight(text, PythonLexer(stripnl=False), formatter).rstrip("\n").split("\n")
        width = len(str(len(coloured)))
        lines = "\n".join(
            f'<a id="L{number}" class="line" href="#L{number}">{number:>{width}}</a>  {line}'
            for number, line in enumerate(coloured, start=1)
        )
        title = html.escape(path)
        content = (
            f"---\ntitle: {path}\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
            f'<div class="highlight source" markdown="0"><pre tabindex="0" aria-label="{title}"><code>{lines}\n'
            "</code></pre></div>\n"
        )
        files.append(File.generated(config, page_of(path), content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files

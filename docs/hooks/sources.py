"""Every source file is a page of the site, with a place to link to on every line."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
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


@cache
def imports(path: str) -> dict[str, str]:
    """The module of this package that each name comes from which the `__init__.py` of a folder passes on."""
    folder = path.removesuffix("/__init__.py").replace("/", ".")
    found = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.ImportFrom)]
    modules = {node: f"{folder}.{node.module}" if node.level else str(node.module) for node in found}
    own = folder.partition(".")[0]
    return {
        name.name: module for node, module in modules.items() if module.startswith(f"{own}.") for name in node.names
    }


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
                if inner in definitions(path):
                    return path, inner, *definitions(path)[inner]
                if parts[end] in imports(path):
                    return locate(".".join([imports(path)[parts[end]], *parts[end:]]))
                raise PluginError(f"{path} must define {inner}, got no such name")
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


@cache
def source_files() -> list[str]:
    """All files that have a page, as paths from the root of the repository."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in SHOWN
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def on_pre_build(config: Any) -> None:
    """Reads the sources anew whenever the site is built: while it is served, they change."""
    definitions.cache_clear()
    imports.cache_clear()
    source_files.cache_clear()


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each source file. Its lines come later: they are no Markdown."""
    for path in source_files():
        content = f"---\ntitle: {path}\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---\n\n# `{path}`\n"
        files.append(File.generated(config, page_of(path), content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Adds the lines of a source file to its page, each a place that links may lead to."""
    path = page.file.src_uri.removeprefix("source/").removesuffix(".md") + ".py"
    if not page.file.src_uri.startswith("source/") or path not in source_files():
        return content
    coloured = highlighted((ROOT / path).read_text())
    page.present_anchor_ids = {*(page.present_anchor_ids or ()), *(f"L{n}" for n in range(1, len(coloured) + 1))}
    width = len(str(len(coloured)))
    lines = "\n".join(
        f'<a id="L{number}" class="line" href="#L{number}">{number:>{width}}</a>  {line}'
        for number, line in enumerate(coloured, start=1)
    )
    return f'{content}\n<div class="highlight source"><pre><code>{lines}\n</code></pre></div>'


def highlighted(text: str) -> list[str]:
    """Returns the lines of a Python file as coloured HTML."""
    return highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n").split("\n")

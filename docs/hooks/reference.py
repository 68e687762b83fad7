"""Pages of the API reference: every public name of a module with its use, its equations, its tests and its tutorials.

    {{ api entropyprune_ref.gram }}

What is public is what `__all__` lists or else what has a docstring, in the order of the source; a module that begins
with `_` has no page.
"""

import ast
import importlib
import posixpath
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import traceability

ROOT = Path(__file__).parents[2]
PACKAGE = "entropyprune_ref"
MOST = 3
"""Tutorials that are named at most."""


def api(name: str, page: Page, config: Any, files: Files) -> str:
    """All public names of a module, each as mkdocstrings shows it, and below it where to go from there."""
    if any(part.startswith("_") for part in name.split(".")) or not name.startswith(PACKAGE):
        raise PluginError(f"api must name a public module of {PACKAGE}, got {name}")
    return "\n\n".join(entry(name, public) for public in public_names(name))


def public_names(module: str) -> list[str]:
    """Returns what a module offers, in the order of its source or, where it gathers names of others, of `__all__`."""
    found = importlib.import_module(module)
    body = ast.parse(Path(str(found.__file__)).read_text()).body
    order = [name for node in body for name in _defined(node)]
    if names := [name for name in getattr(found, "__all__", ()) if not name.startswith("_")]:
        last = len(order)  # names of other modules: what can be called before constants
        return sorted(names, key=lambda name: order.index(name) if name in order else last + name.isupper())
    shown = [
        name
        for node, after in zip(body, [*body[1:], None], strict=True)
        if _explained(node, after)
        for name in _defined(node)
    ]
    return [name for name in shown if not name.startswith("_")]


def _explained(node: ast.stmt, after: ast.stmt | None) -> bool:
    """Whether a definition has a docstring: its own, or, for a constant, a string below it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ast.get_docstring(node) is not None
    return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def entry(module: str, name: str) -> str:
    """One name: its docstring, its import, its equations and tutorials, and its tests folded."""
    short = PACKAGE if name in importlib.import_module(PACKAGE).__all__ else module
    lines = [f"::: {path_of(module, name)}\n    options:\n      heading_level: 2"]
    if not name.isupper():
        lines.append(f"```python\nfrom {short} import {name}\n```")
    links = [link for link in (_equations(name), _tutorials(name)) if link]
    if links:
        lines.append(" · ".join(links) + "\n{ .where }")
    laws = tests_of(name)
    if laws:
        where = traceability.tests()
        listed = "\n".join(f"    - {traceability.tested(law, where)}" for law in laws)
        lines.append(f'??? test "Tests ({len(laws)})"\n\n{listed}')
    return "\n\n".join(lines)


def path_of(module: str, name: str) -> str:
    """Returns where a name is defined if a module of the same name stands in its way, and else where it is offered.

    Examples:
        >>> path_of("entropyprune_ref.hf", "pruned"), path_of("entropyprune_ref.gram", "spectrum")
        ('entropyprune_ref.hf.pruned.pruned', 'entropyprune_ref.gram.spectrum')
    """
    beside = Path(str(importlib.import_module(module).__file__)).parent / f"{name}.py"
    return (
        f"{module}.{name}.{name}" if beside.is_file() and beside.stem != module.split(".")[-1] else f"{module}.{name}"
    )


def _equations(name: str) -> str:
    found = []
    for number, equation in sorted(_numbered().items()):
        if equation.pages and any(function.endswith(f".{name}") for function in equation.functions):
            found.append(f"[{number}](../{equation.pages[0]}#eq-{number.replace('.', '-')})")
    return f"Equation{'s' if len(found) > 1 else ''} {', '.join(found)}" if found else ""


def _tutorials(name: str) -> str:
    found = []
    for script in sorted((ROOT / "tutorials").glob("*.py")):
        if name in _imported(script):
            address = posixpath.join("../tutorials", f"{script.stem}.md")
            found.append(f"[{int(script.stem[:2])}]({address})")
    return f"Tutorial{'s' if len(found[:MOST]) > 1 else ''} {', '.join(found[:MOST])}" if found else ""


@cache
def _imported(script: Path) -> frozenset[str]:
    """What a tutorial imports from the package; the same word in its text may mean something else."""
    nodes = ast.walk(ast.parse(script.read_text()))
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE)]
    return frozenset(alias.name for node in found for alias in node.names)


def tests_of(name: str) -> list[str]:
    """Returns the tests of a function or class by the naming rule: `test_<name>_<law>`, a class in small letters."""
    return traceability.laws_of(snake(name), traceability.tests(), _known())


def snake(name: str) -> str:
    """Returns the name of a class as tests write it.

    Examples:
        >>> snake("LastTokenAttention"), snake("token_entropy")
        ('last_token_attention', 'token_entropy')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@cache
def _numbered() -> dict[str, traceability.Equation]:
    return traceability.equations()


@cache
def _known() -> frozenset[str]:
    """All functions and classes of the package, as tests write them."""
    found = set()
    for path in (ROOT / PACKAGE).rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            found |= {snake(name) for name in _defined(node) if not name.startswith("_")}
    return frozenset(found)


def on_pre_build(config: Any) -> None:
    """Reads the package anew whenever the site is built."""
    _numbered.cache_clear()
    _known.cache_clear()
    _imported.cache_clear()

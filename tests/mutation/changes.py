"""What a change of the source changes: lines, and functions of modules that are already imported."""

import ast
import gc
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType


@dataclass(frozen=True)
class Change:
    """A change of a module.

    Attributes:
        lines: Lines of the statement that changed, as numbered before.
        around: Lines of the whole function around it.
        codes: The code of every changed function, before and after; None if something changed that runs at import.
    """

    lines: range
    around: range
    codes: list[tuple[CodeType, CodeType]] | None


def change(path: Path, before: str, after: str, name: str) -> Change:
    """Compares two versions of a module.

    Raises:
        SyntaxError: If the new one is none.
    """
    old, new = before.splitlines(), after.splitlines()
    pairs = list(zip(old, new, strict=False))
    first = next((row for row, (a, b) in enumerate(pairs, 1) if a != b), len(pairs))
    last = len(old) - next((row for row, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b), 0)
    tree = ast.parse(before)
    last = max(first, last)
    was, now = compiled(path, before, name), compiled(path, after, name)
    return Change(_statement(tree, first, last), _function(tree, first, last), _codes(was, now))


def compiled(path: Path, source: str, name: str) -> CodeType:
    """As it was when it was imported: with the checks of shapes that the tests turn on."""
    return sys.modules[name].__spec__.loader.source_to_code(source.encode(), str(path))


def _statement(tree: ast.AST, first: int, last: int) -> range:
    """The innermost statement around some lines; of one with a body, what stands before the body."""
    found = range(first, last + 1)
    for node in ast.walk(tree):  # from the outside inwards
        if isinstance(node, ast.stmt) and node.lineno <= first and last <= node.end_lineno:
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body and body[0].lineno > last else node.end_lineno
            found = range(node.lineno, max(end, node.lineno) + 1)
    return found


def _function(tree: ast.AST, first: int, last: int) -> range:
    """The outermost function around some lines, or only the lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.lineno <= first and last <= node.end_lineno:
            return range(node.lineno, node.end_lineno + 1)
    return range(first, last + 1)


def _codes(was: CodeType, now: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    if _outline(was) != _outline(now):
        return None
    pairs = list(zip(functions(was), functions(now), strict=True))
    return [(old, new) for old, new in pairs if old != new]


def _is_function(const: object) -> bool:
    return isinstance(const, CodeType) and bool(const.co_flags & inspect.CO_OPTIMIZED)


def functions(code: CodeType) -> Iterator[CodeType]:
    """Functions of a module and of its classes, not those within functions."""
    for const in code.co_consts:
        if _is_function(const):
            yield const
        elif isinstance(const, CodeType):
            yield from functions(const)


def _outline(code: CodeType) -> tuple[object, ...]:
    """Whatever runs when the module is imported, which the bodies of functions do not."""
    consts = [
        const.co_name
        if _is_function(const)
        else _outline(const)
        if isinstance(const, CodeType)
        else (const, type(const))
        for const in code.co_consts
    ]
    return (code.co_code, code.co_names, *consts)


def living(folder: Path) -> dict[CodeType, list[FunctionType]]:
    """Every function that the modules of a folder have defined, by its code: decorated ones too."""
    found: dict[CodeType, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(f"{folder}/"):
            found.setdefault(thing.__code__, []).append(thing)
    return found


def swap(codes: list[tuple[CodeType, CodeType]], alive: dict[CodeType, list[FunctionType]]) -> bool:
    """Lets living functions run their new code; False if one of them cannot be found or cannot take it."""
    for old, new in codes:
        if old not in alive or old.co_freevars != new.co_freevars:
            return False
        for function in alive[old]:
            function.__code__ = new
    return True

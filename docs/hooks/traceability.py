"""A page made from the code: every numbered equation with its functions, its place in these pages, and its tests."""

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import sources

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\b(\d\.\d)\b")
CITED = re.compile(r"\((?:[^()]*?)Eqs?\. ([^()]*)\)")
TAG = re.compile(r"\\tag\{(\d\.\d)\}")
STORY = ("gram.py", "entropy.py", "scoring.py", "collapse", "pruning", "flops")
"""The rooms of the mathematics, where equations live."""

TITLES = {
    "1.1": "centring",
    "1.2": "covariance",
    "1.3": "density matrix",
    "1.4": "matrix entropy",
    "1.5": "Rényi entropy",
    "1.6": "effective rank",
    "2.1": "covariance side",
    "2.2": "Gram side",
    "2.3": "spectral equivalence",
    "3.1": "token entropy, paper",
    "3.2": "token entropy, row-normalised",
    "3.3": "token entropy, released",
    "3.4": "identity of the released score",
    "4.1": "layer entropy",
    "4.2": "drop",
    "4.3": "Entropy Collapse Layer",
    "4.4": "sharpness",
    "4.5": "consistency",
    "5.1": "tokens to keep",
    "5.2": "selection",
    "5.3": "ratio",
    "5.4": "split over images",
    "6.1": "FLOPs of a layer",
    "6.2": "FLOPs of a prompt",
    "6.3": "FLOPs of a pruned prompt",
    "6.4": "FLOPs of scoring",
}
"""Every equation of the method, by number."""


@dataclass
class Equation:
    """Where one equation lives."""

    number: str
    functions: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


def laws_of(function: str, known: Iterable[str], functions: Iterable[str]) -> list[str]:
    """Returns the tests that hold a function: `test_<function>_<law>`, unless a longer function name claims them.

    Examples:
        >>> laws_of("rank", ["test_rank_is_whole", "test_rank_sum_is_one"], ["rank_sum"])
        ['test_rank_is_whole']
    """
    longer = [f"test_{other}_" for other in functions if other.startswith(f"{function}_")]
    return [name for name in known if name.startswith(f"test_{function}_") and not name.startswith(tuple(longer))]


def numbers_in(text: str) -> list[str]:
    """Returns the equation numbers that a docstring's first sentence cites, ranges filled in.

    Examples:
        >>> numbers_in("Does it (Eqs. 1.2, 1.3, 2.1 and 2.2).")
        ['1.2', '1.3', '2.1', '2.2']
        >>> numbers_in("Finds it (Eq. 4.2-4.5).")
        ['4.2', '4.3', '4.4', '4.5']
    """
    found: list[str] = []
    for cited in CITED.findall(text):
        for first, last in re.findall(r"(\d\.\d)(?:(?:-| to )(\d\.\d))?", cited):
            end = last or first
            chapter, start, stop = first[0], int(first[2]), int(end[2])
            found += [f"{chapter}.{number}" for number in range(start, stop + 1)]
    return found


def first_sentence(docstring: str) -> str:
    """Returns the summary of a docstring: all before the first blank line."""
    return " ".join(docstring.strip().split("\n\n")[0].split())


def equations() -> dict[str, Equation]:
    """Reads package and pages."""
    found = {number: Equation(number) for number in TITLES}
    for path in sorted((ROOT / "entropyprune_ref").rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts[1] not in STORY:
            continue
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            docstring = ast.get_docstring(node) or ""
            cited = numbers_in(first_sentence(docstring)) + TAG.findall(docstring)
            for number in dict.fromkeys(cited):
                equation = found.setdefault(number, Equation(number))
                equation.functions.append(f"{module}.{node.name}")
    names = {name.rpartition(".")[2] for equation in found.values() for name in equation.functions}
    known = tests()
    for equation in found.values():
        for name in equation.functions:
            equation.tests += [
                law for law in laws_of(name.rpartition(".")[2], known, names) if law not in equation.tests
            ]
    for path in sorted((ROOT / "docs" / "method").glob("*.md")):
        for number in TAG.findall(path.read_text()):
            found.setdefault(number, Equation(number)).pages.append(f"method/{path.name}")
    return found


def tests() -> dict[str, str]:
    """File of every test by its name."""
    return {
        name: path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }


def page(pages: int) -> str:
    """Returns the page in Markdown.

    Args:
        pages: How many pages the site has, but for those of the source.
    """
    known, where = equations(), tests()
    computed = {name for each in known.values() for name in each.functions}
    laws = {law for each in known.values() for law in each.tests}
    parts = [
        "# Traceability",
        "Made from the code when this site was built: every numbered equation, where these pages explain it, the "
        "functions that compute it, and the laws that hold them: a test is named `test_<function>_<law>`.",
        f"**{pages} pages, {len(known)} equations, {len(computed)} functions, {len(laws)} laws, "
        f"{len(where)} test functions.**",
    ]
    for number, equation in sorted(known.items()):
        place = [f"[{titled(path)}](../{path}#eq-{number.replace('.', '-')})" for path in equation.pages]
        functions = [linked(name) for name in equation.functions]
        parts += [
            f"## {number} {TITLES.get(number, '')}",
            f"On the page {', '.join(place) or 'of nothing'}; computed by {', '.join(functions) or 'nothing'}.",
            f'??? test "Tests ({len(equation.tests)})"',
            "\n".join(f"    - {tested(law, where)}" for law in equation.tests),
        ]
    return "\n\n".join(parts) + "\n"


def titled(path: str) -> str:
    """Returns the title of a page."""
    return (ROOT / "docs" / path).read_text().partition("# ")[2].partition("\n")[0]


def linked(name: str) -> str:
    """Returns a function as a link to its source."""
    path, _, first, _ = sources.locate(name)
    return f"[`{name.removeprefix('entropyprune_ref.')}`](../{sources.page_of(path)}#L{first})"


def tested(name: str, where: dict[str, str]) -> str:
    """Returns a law in words, as a link to its test."""
    law = name.removeprefix("test_").replace("_", " ")
    return f"[{law}](../{sources.page_of(where[name])}#L{sources.definitions(where[name])[name][0]})"


def on_files(files: Files, config: Any) -> Files:
    """Adds the page."""
    shown = [file for file in files.documentation_pages() if not file.src_uri.startswith("source/")]
    files.append(File.generated(config, "reference/traceability.md", content=page(len(shown) + 1)))
    return files

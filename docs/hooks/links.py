"""What the API reference and the tutorials name is linked: `Eq. 1.4` to its place, `test_...` to its source."""

import posixpath
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import sources
import traceability

LINKED = ("reference/", "tutorials/")
TAGS = re.compile(r"(<[^>]*>)")
CLOSED = re.compile(r"<(a|summary|pre|h\d|math)\b")
"""Elements in which nothing is linked: links themselves, and what is a control, code, a title or a formula."""
NUMBER = re.compile(r"\b\d\.\d\b")
CITED = re.compile(r"\bEqs?\.\s\d\.\d(?:(?:, | and |, and |-| to )\d\.\d)*")


def on_pre_build(config: Any) -> None:
    """Reads tests and equations anew whenever the site is built."""
    places.cache_clear()


@cache
def places() -> tuple[dict[str, str], dict[str, str]]:
    """Returns the pages of equations by number, and of tests by name, with the places on them."""
    equations = {
        number: f"{equation.pages[0].removesuffix('.md')}.html#eq-{number.replace('.', '-')}"
        for number, equation in traceability.equations().items()
        if equation.pages
    }
    tests = {
        name: f"{sources.page_of(path).removesuffix('.md')}.html#L{sources.definitions(path)[name][0]}"
        for name, path in traceability.tests().items()
    }
    return equations, tests


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Links the names in the text of a page."""
    if not page.file.src_uri.startswith(LINKED):
        return content
    equations, tests = places()
    start = posixpath.dirname(page.file.src_uri)

    def link(address: str, text: str) -> str:
        return f'<a href="{posixpath.relpath(address, start)}">{text}</a>'

    def cited(match: re.Match[str]) -> str:
        return NUMBER.sub(lambda n: link(equations[n[0]], n[0]) if n[0] in equations else n[0], match[0])

    parts: list[str] = []
    closed: list[str] = []
    for part in TAGS.split(content):
        if part.startswith("<"):
            if opened := CLOSED.match(part):
                closed.append(opened[1])
            elif closed and part == f"</{closed[-1]}>":
                closed.pop()
        elif not closed and part in tests and parts[-1].startswith("<code"):
            part = link(tests[part], part)
        elif not closed:
            part = CITED.sub(cited, part)
        parts.append(part)
    return "".join(parts)

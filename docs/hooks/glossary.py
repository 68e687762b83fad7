"""The first use of a term of the field on a page is linked to its place in the glossary.

Terms are read from the glossary itself: the bold words after each `<a id="..."></a>`, separated by commas up to a
bracket, and their plurals. Nothing is linked inside links, code, titles, formulas, figures or tables.
"""

import posixpath
import re
from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page

GLOSSARY = Path(__file__).parents[1] / "glossary.md"
LINKED = ("index.md", "method/", "guides/", "tutorials/")
NOT_LINKED = ("guides/changelog.md", "guides/cite.md")
ONLY_IN = {"trace": ("method/", "tutorials/01", "tutorials/02", "tutorials/03")}
"""Where a word has the meaning of the glossary: elsewhere a trace is a record of what an engine did."""
ENTRY = re.compile(r'^<a id="([\w-]+)"></a>\*\*(.+?)\*\*$', re.MULTILINE)
TAGS = re.compile(r"(<[^>]*>)")
ENDS = {"y": "(?:y|ies)", "ix": "(?:ix|ices)", "rum": "r(?:um|a)", "": "(?:s|es)?"}
"""What a term ends in, and how it ends when it is singular or plural."""
CLOSED = re.compile(r"<(a|summary|pre|code|h\d|math|figcaption|table|script|style|svg|details)\b")
FORMULA = re.compile(r'<(span|div) class="formula"')


def on_pre_build(config: Any) -> None:
    """Reads the glossary anew whenever the site is built."""
    terms.cache_clear()


@cache
def terms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Returns the places of the glossary with what is linked to them, longer terms first."""
    found = [
        (place, word.strip())
        for place, words in ENTRY.findall(GLOSSARY.read_text())
        for word in words.partition(" (")[0].split(",")
    ]
    found.sort(key=lambda each: -len(each[1]))
    return tuple((place, _pattern(word)) for place, word in found)


def _pattern(word: str) -> re.Pattern[str]:
    """A term as prose writes it: its first letter small or large, its words over two lines, singular or plural."""
    first = f"[{word[0].lower()}{word[0].upper()}]" if word[0].isalpha() else re.escape(word[0])
    end = next(end for end in ENDS if word.endswith(end))
    stem, plural = word[1 : len(word) - len(end)], ENDS[end]
    rest = re.escape(stem).replace(r"\ ", r"\s+")
    return re.compile(rf"(?<![\w-]){first}{rest}{plural}(?![\w-])")


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Links the first use of every term of a page."""
    uri = page.file.src_uri
    if not uri.startswith(LINKED) or uri in NOT_LINKED:
        return content
    address = posixpath.relpath("glossary.html", posixpath.dirname(uri) or ".")
    return linked(content, address, {place for place, pages in ONLY_IN.items() if not uri.startswith(pages)})


def linked(content: str, address: str, but: Set[str] = frozenset()) -> str:
    """Returns HTML with the first use of every term linked to `address`, but for those of some places."""
    parts: list[str] = []
    closed: list[str] = []
    depth = 0  # inside a formula: elements of its own kind that are open in it
    used = set(but)
    for part in TAGS.split(content):
        if part.startswith("<"):
            if depth:
                depth += part.startswith(("<span", "<div")) - part.startswith(("</span", "</div"))
            elif FORMULA.match(part):
                depth = 1
            elif opened := CLOSED.match(part):
                closed.append(opened[1])
            elif closed and part == f"</{closed[-1]}>":
                closed.pop()
        elif not closed and not depth and part.strip():
            part = _linked(part, address, used)
        parts.append(part)
    return "".join(parts)


def _linked(text: str, address: str, used: set[str]) -> str:
    """Links terms in a run of text, the longer of two that begin together, each place once a page."""
    found: list[tuple[int, int, str]] = []
    for place, pattern in terms():
        if place in used:
            continue
        for match in pattern.finditer(text):
            if not any(start < match.end() and match.start() < end for start, end, _ in found):
                found.append((match.start(), match.end(), place))
                used.add(place)
                break
    for start, end, place in sorted(found, reverse=True):
        text = f'{text[:start]}<a class="term" href="{address}#{place}">{text[start:end]}</a>{text[end:]}'
    return text

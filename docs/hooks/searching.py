"""What a search finds first: pages that explain, before tutorials, before the reference of every function."""

from typing import Any

from mkdocs.structure.pages import Page

BOOSTS = {"method/": 4.0, "guides/": 4.0, "tutorials/": 0.5, "reference/": 0.001, "glossary": 2.0, "bibliography": 0.2}
OWN = {
    "guides/changelog.md": 0.001,
    "guides/check-your-implementation.md": 3.0,
    "guides/contributing.md": 0.5,
    "guides/decisions.md": 7.0,
    "guides/real-checkpoints.md": 2.0,
    "method/collapse-layer.md": 6.0,
    "method/high-resolution.md": 1.0,
    "method/notation.md": 1.0,
    "method/pruning.md": 6.0,
    "method/quantum-laws.md": 1.0,
}
"""A word in a title counts a thousand times, and the reference has every name of the package as a title, the guide for
implementers most of them."""


def on_page_markdown(markdown: str, page: Page, **_: Any) -> None:
    """Gives a page its weight, unless it has one of its own."""
    path = page.file.src_uri
    weight = OWN.get(path, next((boost for start, boost in BOOSTS.items() if path.startswith(start)), 1.0))
    page.meta.setdefault("search", {}).setdefault("boost", weight)

"""The navigation of the site: it can be read, and names every page that is written by hand, once."""

import re
from pathlib import Path

from mkdocs.config import load_config

ROOT = Path(__file__).parents[2]


def test_configuration_of_the_site_is_valid_and_strict() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    assert config["strict"] and len(config["nav"]) >= 5


def test_navigation_names_every_written_page_once() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(named) == len(set(named))
    assert written <= set(named)


def test_method_is_read_in_order() -> None:
    """The picture first; no page needs what a later one introduces; the appendices last."""
    named = re.findall(r": method/([\w-]+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    order = ("overview", "matrix-entropy", "token-scores", "collapse-layer", "budgets", "pruning", "dual-gram", "flops")
    assert named[: len(order)] == list(order)
    results = ("when-to-prune", "paper-and-released-code", "reported-and-measured", "what-the-score-sees")
    assert [name for name in named if name in results] == list(results)
    assert named[-2:] == ["notation", "quantum-laws"]

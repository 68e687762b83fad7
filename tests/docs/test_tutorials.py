"""Every tutorial says what it shows, and ends in assertions about it; `check_tutorials.py` runs them."""

import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "tutorials").glob("*.py"))


def test_tutorials_are_those_of_the_site_numbered_without_a_gap() -> None:
    listed = re.findall(r"tutorials/([\w-]+)\.md", (ROOT / "mkdocs.yml").read_text())
    assert [script.stem for script in SCRIPTS] == listed
    assert [int(stem[:2]) for stem in listed] == list(range(1, len(listed) + 1)) and len(listed) >= 8


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_tutorial_has_text_before_code_exercises_and_assertions(script: Path) -> None:
    cells = jupytext.read(script).cells
    assert cells[0].cell_type == "markdown" and re.match(rf"# {int(script.stem[:2])}\. ", cells[0].source)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "## What was shown" in text and "## Exercises" in text and "<details markdown><summary>Answers" in text
    shown = next(place for place, cell in enumerate(cells) if cell.source.startswith("## What was shown"))
    assert cells[shown + 1].source.count("assert") >= 3
    for cell in cells:
        draws = re.search(r"plt\.(subplots|figure)\(", cell.source) and cell.cell_type == "code"
        assert not draws or re.search(r"^# alt: .{20,}", cell.source, re.MULTILINE)

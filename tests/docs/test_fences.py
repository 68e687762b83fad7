"""Every code fence in README and pages runs, and there is none of a kind that nobody would run."""

import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^\s*```+\s*\{?\s*\.?(\w*)", re.MULTILINE)
SHOWN_ONLY = {"console", "text", "yaml"}


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_fences_run_in_order(page: Path) -> None:
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(page)
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_fences_are_python_or_for_show(page: Path) -> None:
    opening = FENCE.findall(page.read_text())[::2]
    assert set(opening) <= {"python"} | SHOWN_ONLY


def test_a_fence_that_does_not_run_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        test_python_fences_run_in_order(page)


def test_commands_in_console_fences_exist() -> None:
    """Every `make` target and every subcommand that a page tells the reader to run."""
    from entropyprune_ref.cli.commands import commands

    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for fence in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            for target in re.findall(r"\bmake ([a-z][a-z-]*)", fence):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"
            for command in re.findall(r"entropyprune-ref ([a-z]+)", fence):
                assert command in commands.commands, f"{page}: entropyprune-ref {command}"

"""What pages ask for is made from the code, and what does not exist fails the build."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
directives, sources, tutorials = (importlib.import_module(name) for name in ("directives", "sources", "tutorials"))
PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="method/page.md"))


def made(markdown: str) -> str:
    text: str = directives.on_page_markdown(markdown, PAGE, {}, Files([]))
    return text


def test_source_shows_the_function_without_its_docstring_and_links_to_its_line() -> None:
    text = made("{{ source entropyprune_ref.gram.centred }}")
    assert "def centred(" in text and "_centred_columns(features)" in text and "Subtracts from every row" not in text
    first = sources.locate("entropyprune_ref.gram.centred")[2]
    assert f"../source/entropyprune_ref/gram.md#L{first}" in text


def test_test_shows_the_test() -> None:
    text = made("{{ test tests/test_gram.py::test_centred_columns_sum_to_zero }}")
    assert "def test_centred_columns_sum_to_zero" in text and text.startswith("??? ")


@pytest.mark.parametrize(
    "asked",
    [
        "source entropyprune_ref.gram.vanish",
        "source entropyprune_ref.vanish.centred",
        "test tests/test_gram.py::test_vanish",
        "test tests/test_vanish.py::test_gram",
        "made entropy.vanish",
        "made vanish.table",
        "figure vanish.curve | alt | caption",
        "figure entropy.two_levels | without a caption",
        "vanish entropyprune_ref.gram.centred",
    ],
)
def test_what_does_not_exist_fails_the_build(asked: str) -> None:
    with pytest.raises(PluginError, match="must"):
        made(f"{{{{ {asked} }}}}")


def test_numbered_equations_of_the_method_can_be_linked_to() -> None:
    assert '<a id="eq-1-4"></a>' in made("text\n\n$$H = 0 \\tag{1.4}$$\n")
    elsewhere = SimpleNamespace(file=SimpleNamespace(src_uri="guides/page.md"))
    assert "<a id" not in directives.on_page_markdown("$$H = 0 \\tag{1.4}$$", elsewhere, {}, Files([]))


def test_a_failing_tutorial_fails_the_build(tmp_path: Path) -> None:
    script = tmp_path / "01_wrong.py"
    script.write_text("# %% [markdown]\n# # 1. Wrong\n\n# %%\nassert 1 == 2\n")
    with pytest.raises(PluginError, match=r"01_wrong\.py must run without an error"):
        tutorials.execute(tutorials.jupytext.read(script), script)

"""What pages ask for is made from the code, and what does not exist fails the build."""

import base64
import doctest
import importlib
import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
directives, links, reference, sources, tutorials, typography, weight = (
    importlib.import_module(name)
    for name in ("directives", "links", "reference", "sources", "tutorials", "typography", "weight")
)
PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="method/page.md"))


def made(markdown: str) -> str:
    text: str = directives.on_page_markdown(markdown, PAGE, {}, Files([]))
    return text


def test_source_shows_the_function_folded_without_its_docstring_and_links_to_its_line() -> None:
    text = made("{{ source entropyprune_ref.gram.centred }}")
    assert text.startswith('??? source "Source of `centred`"')
    assert "def centred(" in text and "return " in text and "Subtracts from every row" not in text
    first = sources.locate("entropyprune_ref.gram.centred")[2]
    assert f"../source/entropyprune_ref/gram.md#L{first}" in text


def test_source_finds_what_a_folder_passes_on() -> None:
    here, there = "entropyprune_ref.pruning.tokens_to_keep", "entropyprune_ref.pruning.budgets.tokens_to_keep"
    assert sources.locate(here) == sources.locate(there)


TEST = "{{ test tests/test_gram.py::test_centred_columns_sum_to_zero }}"
OTHER = "{{ test tests/test_gram.py::test_centred_of_equal_rows_is_exactly_zero }}"


def test_tests_of_a_section_stand_in_one_fold_at_its_end() -> None:
    text = made(f"# Page\n\n## One\n\n{TEST}\n\nwords\n\n### Deeper\n\n{OTHER}\n\n## Two\n\n{OTHER}\n")
    assert re.findall(r'\?\?\? test "(.+?)"', text) == ["Tests (2)", "Tests (1)"]
    first, second = text.split("## Two")
    assert first.index("words") < first.index("### Deeper") < first.index("Tests (2)")
    line = sources.definitions("tests/test_gram.py")["test_centred_columns_sum_to_zero"][0]
    assert f"- [`test_centred_columns_sum_to_zero`](../source/tests/test_gram.md#L{line})" in first
    assert "test_centred_of_equal" in first and "test_centred_of_equal" in second and "columns_sum" not in second


def test_tests_in_a_listing_are_left_alone() -> None:
    fenced = f"```text\n{TEST.replace('{{ test', '## {{ test')}\n## no section\n```\n"
    assert made(fenced) == fenced


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_what_pages_ask_for_exists(path: Path) -> None:
    """Names alone, so that a moved function is seen without drawing a figure."""
    for kind, rest in re.findall(r"^[ ]*\{\{ (\w+) (.+?) \}\}[ ]*$", path.read_text(), re.MULTILINE):
        if kind == "source":
            sources.locate(rest)
        elif kind == "test":
            file, _, name = rest.partition("::")
            assert name in sources.definitions(file)
        elif kind == "plain":
            assert rest in sources.definitions(directives.listings.PLAIN)
        elif kind == "api":
            assert directives.reference.public_names(rest)
        else:
            module, _, name = rest.split(" | ")[kind == "explore"].strip().rpartition(".")
            assert name in sources.definitions(f"docs/figures/{module}.py")


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
        "explore vanish | entropy.two_levels | alt | caption",
        "explore cloud above | entropy.two_levels | alt | caption",
        "explore cloud",
        "plain vanish",
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


def test_pages_of_source_have_a_place_for_every_line() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="source/entropyprune_ref/gram.md"), present_anchor_ids={"gram"})
    content = sources.on_page_content("<h1>gram</h1>", page)
    lines = (ROOT / "entropyprune_ref" / "gram.py").read_text().splitlines()
    assert page.present_anchor_ids == {"gram", *(f"L{number}" for number in range(1, len(lines) + 1))}
    assert content.count('class="line"') == len(lines)


def test_reference_links_equations_and_tests_but_not_inside_links_or_titles() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/gram.md"))
    text = "<h2>Eq. 1.1</h2><p>(Eqs. 1.1 and 9.9) <code>test_centred_columns_sum_to_zero</code> <a>Eq. 1.2</a></p>"
    linked = links.on_page_content(text, page)
    first = sources.definitions("tests/test_gram.py")["test_centred_columns_sum_to_zero"][0]
    assert '<a href="../method/matrix-entropy.html#eq-1-1">1.1</a> and 9.9' in linked
    assert f'<code><a href="../source/tests/test_gram.html#L{first}">' in linked
    assert "<h2>Eq. 1.1</h2>" in linked and "<a>Eq. 1.2</a>" in linked
    elsewhere = SimpleNamespace(file=SimpleNamespace(src_uri="guides/page.md"))
    assert links.on_page_content(text, elsewhere) == text


def test_a_plot_without_a_text_fails_the_build(tmp_path: Path) -> None:
    cells = [
        tutorials.nbformat.v4.new_markdown_cell("# 1. Wrong"),
        tutorials.nbformat.v4.new_code_cell("plt.plot([1])"),
    ]
    pixels = np.array([[[0x26, 0x29, 0x2E, 255], [0xD5, 0x5E, 0x00, 255], [0, 0, 0, 0]]], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    cells[1].outputs = [tutorials.nbformat.v4.new_output("display_data", data)]
    notebook = tutorials.nbformat.v4.new_notebook(cells=cells)
    with pytest.raises(PluginError, match="must begin with '# alt"):
        tutorials.rendered(notebook, tmp_path / "01_wrong.py")
    cells[1].source = "# alt: a line\n" + cells[1].source
    page = tutorials.rendered(notebook, tmp_path / "01_wrong.py")
    assert page["tutorials/01_wrong-1.light.png"] == buffer.getvalue()
    dark = np.array(Image.open(io.BytesIO(page["tutorials/01_wrong-1.dark.png"])))
    assert dark.tolist() == [[[0xDD, 0xE1, 0xE8, 255], [0xD5, 0x5E, 0x00, 255], [0, 0, 0, 0]]]  # the ink alone
    for scheme in ("light", "dark"):
        assert f"![a line](01_wrong-1.{scheme}.png#only-{scheme})" in page["tutorials/01_wrong.md"]


def test_a_failing_tutorial_fails_the_build(tmp_path: Path) -> None:
    script = tmp_path / "01_wrong.py"
    script.write_text("# %% [markdown]\n# # 1. Wrong\n\n# %%\nassert 1 == 2\n")
    with pytest.raises(PluginError, match=r"01_wrong\.py must run without an error"):
        tutorials.execute(tutorials.jupytext.read(script), script)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "docs" / "hooks").glob("*.py")))
def test_examples_in_hooks_are_right(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_what_belongs_together_is_joined_in_text_and_left_alone_in_code_and_formulas() -> None:
    joined = typography.on_page_content("<p>12 % of 3 × 4, Eq. 2.3, 1e-9</p><table><td>-0.5</td></table>")
    hard = "\N{NO-BREAK SPACE}"
    assert f"12{hard}% of 3{hard}×{hard}4, Eq.{hard}2.3, <span" in joined and "<td>−0.5</td>" in joined
    assert f"12{hard}%" in weight.light(joined)  # what makes pages light leaves that space alone
    for kept in ("<pre>12 % -0.5 1e-9</pre>", '<span class="arithmatex">\\(12 % \\)</span>', "<p>page-1 and -0.5</p>"):
        assert typography.on_page_content(kept) == kept


def test_a_tutorial_whose_plots_are_missing_fails_the_build(tmp_path: Path) -> None:
    printed = nbformat.v4.new_output("stream", text="done")
    cell = nbformat.v4.new_code_cell("# alt: A line.\nplt.plot([1])", outputs=[printed])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 1. Title"), cell])
    with pytest.raises(PluginError, match="must draw"):
        tutorials.rendered(notebook, tmp_path / "01_title.py")


def test_equations_are_linked_although_their_numbers_are_joined_to_them() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/gram.md"))
    text = links.on_page_content(typography.on_page_content("<p>The mean row (Eq. 1.1), Eqs. 2.1 and 2.2.</p>"), page)
    assert re.findall(r'href="\.\./method/([\w-]+)\.html#eq-(\d-\d)"', text) == [
        ("matrix-entropy", "1-1"),
        ("dual-gram", "2-1"),
        ("dual-gram", "2-2"),
    ]


def test_a_tutorial_that_warns_fails_the_build(tmp_path: Path) -> None:
    warned = nbformat.v4.new_output("stream", name="stderr", text="/home/someone/module.py:1: SomeWarning: it is old")
    cells = [nbformat.v4.new_markdown_cell("# 1. Title"), nbformat.v4.new_code_cell("x = 1", outputs=[warned])]
    with pytest.raises(PluginError, match="SomeWarning"):
        tutorials.rendered(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_title.py")


def test_reference_names_only_tutorials_that_import_the_name() -> None:
    assert "tutorials/03" in reference._tutorials("select_tokens")
    assert reference._tutorials("Run") == ""  # a word of tutorial 4, not the class

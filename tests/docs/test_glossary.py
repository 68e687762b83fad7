"""The glossary has the field's terms, and each is linked where a page first uses it."""

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
glossary = importlib.import_module("glossary")

NEEDED = (
    "prefill",
    "kv-cache",
    "rotary-embedding",
    "gram-matrix",
    "density-matrix",
    "effective-rank",
    "hidden-state",
    "projector",
    "vision-tower",
    "causal-mask",
    "fused-kernel",
    "rounding-unit",
    "subnormal",
)


@pytest.mark.parametrize("term", NEEDED)
def test_glossary_has_the_terms_that_readers_asked_for(term: str) -> None:
    assert term in {place for place, _ in glossary.terms()}


def test_places_of_the_glossary_are_unique_and_refer_to_each_other() -> None:
    text = glossary.GLOSSARY.read_text()
    places = re.findall(r'<a id="([\w-]+)"></a>', text)
    assert len(places) == len(set(places)) == len(glossary.ENTRY.findall(text))
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= set(places)


def test_first_use_is_linked_and_no_other() -> None:
    html = glossary.linked("<p>The prefill. A second prefill, and Gram\nmatrices.</p>", "../glossary.html")
    assert html.count('href="../glossary.html#prefill"') == 1 and html.index("glossary") < html.index("second")
    assert '<a class="term" href="../glossary.html#gram-matrix">Gram\nmatrices</a>' in html


@pytest.mark.parametrize(
    "html",
    [
        '<p><a href="x">the prefill</a></p>',
        "<p><code>prefill</code></p>",
        "<h2>Prefill</h2>",
        '<span class="formula"><span>prefill</span> prefill</span>',
        "<table><tr><td>prefill</td></tr></table>",
    ],
)
def test_nothing_is_linked_in_links_code_titles_formulas_and_tables(html: str) -> None:
    assert glossary.linked(html, "glossary.html") == html


def test_the_longer_of_two_terms_is_linked() -> None:
    assert "#token-score" in glossary.linked("<p>a token score</p>", "glossary.html")
    assert "#kv-cache" in glossary.linked("<p>the KV cache</p>", "glossary.html")


def test_irregular_plurals_are_linked_and_the_trace_of_an_engine_is_not() -> None:
    html = "<p>two density matrices and their spectra; its trace</p>"
    assert re.findall(r"#([\w-]+)", glossary.linked(html, "glossary.html")) == ["density-matrix", "spectrum", "trace"]
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guides/trace-an-engine.md"))
    assert glossary.on_page_content("<p>its trace</p>", page) == "<p>its trace</p>"

"""Formulas are rendered when the site is built, and a bad one fails the build.

Run by `make docs-check`, not by `make test`: KaTeX is fetched by npm.
"""

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "hooks"))
katex, packages = (importlib.import_module(name) for name in ("katex", "packages"))
PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="method/page.md"))


def test_formulas_become_html_and_mathml() -> None:
    content = katex.on_page_content(
        '<p><span class="arithmatex">\\(\\rho\\)</span></p><div class="arithmatex">\\[a &lt; b \\tag{1.4}\\]</div>',
        PAGE,
    )
    assert content.count("<math ") == 2 and content.count('class="katex-html"') == 2
    assert "arithmatex" not in content and "katex-error" not in content
    # the names that the style sheet and the look at each page in the browser go by
    assert {"katex-html", "katex-base", "katex-tag"} <= set(re.findall(r'class="([\w-]+)', content))


@pytest.mark.parametrize("formula", [r"\frac{1}", r"\vanish", "x^2^3", r"\begin{aligned} a"])
def test_bad_tex_fails_the_build_with_page_and_formula(formula: str) -> None:
    with pytest.raises(PluginError, match=r"method/page\.md: .*KaTeX") as error:
        katex.on_page_content(f'<span class="arithmatex">\\({formula}\\)</span>', PAGE)
    assert repr(formula) in str(error.value)


def test_style_sheet_and_fonts_are_of_the_same_package() -> None:
    folder = katex.fetch()
    style = (folder / "katex.min.css").read_text()
    fonts = {path.name for path in (folder / "fonts").glob("*.woff2")}
    assert len(fonts) >= 15 and all(name in style for name in fonts)
    assert katex.PACKAGE.partition("@")[2] in (folder / "katex.min.js").read_text()


def test_another_file_under_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    monkeypatch.setattr(packages, "_downloaded", lambda package, folder: b"another file")
    with pytest.raises(RuntimeError, match="must have the SHA-512"):
        packages.fetch("katex@0.19.1")
    assert not list(tmp_path.iterdir())


def test_fonts_are_small_and_have_the_characters_of_the_pages() -> None:
    fonts = importlib.import_module("fonts")
    assert sum(len(fonts.cut(face)) for face in fonts.FACES) <= 200_000
    assert set("→←≤≥−×²·–—…λρ∎✓✗─│█▁⌈⊤") <= fonts.characters("inter") | fonts.characters("jetbrains-mono")
    assert "\N{SNOWMAN}" not in fonts.characters("inter") | fonts.characters("jetbrains-mono")
    assert set("abzABZ019{}[]λρ─│█") <= fonts.characters("jetbrains-mono")


def test_fonts_carry_their_notice_and_the_open_font_license() -> None:
    fonts = importlib.import_module("fonts")
    for face in fonts.FACES:
        text = fonts.licence(face)
        assert text.startswith("Copyright") and "SIL OPEN FONT LICENSE Version 1.1" in text
        assert "Reserved Font Name" not in text.partition("PREAMBLE")[0]  # or a cut font could not keep its name

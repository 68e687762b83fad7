"""Mathematics is rendered when the site is built: no script for the reader, no request to another host.

KaTeX is fetched from its package, pinned by version and hash, into `.cache/`, and run by an embedded JavaScript engine.
Bad TeX fails the build with the page and the formula.
"""

import html
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import dukpy
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import packages

PACKAGE = "katex@0.19.1"
STYLE = re.compile(r'<link rel="stylesheet" href="[^"]*katex\.min\.css">')
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>([,.;:)?]*)', re.DOTALL)
SHORT = 18
"""Characters of TeX, a command as one, that stay on one line, with the punctuation behind them."""


def fetch() -> Path:
    """Returns the folder with KaTeX's files."""
    try:
        return packages.fetch(PACKAGE) / "dist"
    except RuntimeError as error:
        raise PluginError(str(error)) from None


@cache
def engine() -> dukpy.JSInterpreter:
    """A JavaScript interpreter that has KaTeX."""
    interpreter = dukpy.JSInterpreter()
    interpreter.evaljs((fetch() / "katex.min.js").read_text() + "\n;'loaded'")
    return interpreter


@cache
def render(tex: str, display: bool) -> str:
    """Returns a formula as HTML with MathML for screen readers.

    Raises:
        ValueError: KaTeX cannot read it.
    """
    options = {"displayMode": display, "throwOnError": True, "strict": "error", "output": "htmlAndMathml"}
    try:
        rendered: str = engine().evaljs(
            "katex.renderToString(dukpy['tex'], dukpy['options'])", tex=tex, options=options
        )
    except dukpy.JSRuntimeError as error:
        reason = next((line for line in str(error).splitlines() if "KaTeX" in line), str(error).splitlines()[0])
        raise ValueError(f"{reason} in the formula {tex!r}") from None
    return rendered


def on_files(files: Files, config: Any) -> Files:
    """Adds the style sheet and the fonts to the site."""
    folder = fetch()
    for path in [folder / "katex.min.css", *sorted((folder / "fonts").glob("*.woff2"))]:
        target = f"assets/katex/{path.relative_to(folder).as_posix()}"
        files.append(File.generated(config, target, content=path.read_bytes()))
    licence = folder.parent / "LICENSE"
    files.append(File.generated(config, "assets/katex/LICENSE.txt", content=licence.read_text()))
    return files


def on_post_page(output: str, **_: Any) -> str:
    """Leaves the style sheet out where nothing is set with it."""
    return output if 'class="katex' in output else STYLE.sub("", output)


def is_short(tex: str) -> bool:
    r"""Whether a formula should not be broken over two lines.

    Examples:
        >>> is_short(r"x = d_h / h"), is_short(r"(32 \cdot 160 - 2 \cdot 2880) / 30 = -21.3")
        (True, False)
    """
    return len(re.sub(r"[{}\s]|\\[,!;]", "", re.sub(r"\\[A-Za-z]+", "x", tex))) <= SHORT


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Replaces every formula of a page."""

    def replaced(match: re.Match[str]) -> str:
        kind, source = match[1], html.unescape(match[2]).strip()
        tex = source.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]").strip()
        try:
            rendered = render(tex, kind == "div")
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from None
        once = rendered.replace('class="katex-mathml"', 'class="katex-mathml" data-search-exclude')  # not found thrice
        formula = f'<{kind} class="formula">{once}</{kind}>{match[3]}'
        return f'<span class="together">{formula}</span>' if kind == "span" and is_short(tex) else formula

    return FORMULA.sub(replaced, content)

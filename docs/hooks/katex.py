"""Mathematics is rendered when the site is built: no script for the reader, no request to another host.

KaTeX is fetched from its package, pinned by version and hash, into `.cache/`, and run by an embedded JavaScript engine.
Bad TeX fails the build with the page and the formula.
"""

import base64
import hashlib
import html
import io
import re
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import dukpy
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = "katex@0.19.1"
SHA512 = "jG8uKntjSEcm2EpQOh0XturpPuuC9r3Sq5HLHdsFdWZT27E672SF19QEi+of0/YeOy15lDgRhKvr5614uRrEfA=="
FOLDER = ROOT / ".cache" / PACKAGE
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def fetch() -> Path:
    """Returns the folder with KaTeX's files, downloaded and unpacked if need be."""
    if FOLDER.is_dir():
        return FOLDER
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder:
        command = ["npm", "pack", "--silent", PACKAGE]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise PluginError("the documentation needs npm, to fetch KaTeX: install Node.js") from None
        except subprocess.CalledProcessError as error:
            raise PluginError(f"{' '.join(command)} failed: {error.stderr.strip()}") from None
        (archive,) = Path(folder).glob("*.tgz")
        packed = archive.read_bytes()
        if base64.b64encode(hashlib.sha512(packed).digest()).decode() != SHA512:
            raise PluginError(f"{PACKAGE} must have the hash {SHA512}, got another file of that name")
        unpacked = Path(folder) / "unpacked"
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(unpacked, filter="data")
        (unpacked / "package" / "dist").rename(FOLDER)
    return FOLDER


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
    return files


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Replaces every formula of a page."""

    def replaced(match: re.Match[str]) -> str:
        kind, source = match[1], html.unescape(match[2]).strip()
        tex = source.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]").strip()
        try:
            rendered = render(tex, kind == "div")
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from None
        if kind == "span":
            return f'<span class="formula">{rendered}</span>'
        return f'<div class="formula" tabindex="0" role="group" aria-label="formula">{rendered}</div>'

    return FORMULA.sub(replaced, content)

"""What a page may ask for on a line of its own: code, tests, figures and text, all made from the code at build.

    {{ plain matrix_entropy }}                                         the short formula, open
    {{ source entropyprune_ref.gram.centred }}                         the real thing, folded
    {{ test tests/test_gram.py::test_centred_columns_sum_to_zero }}    all of a section end up in one fold
    {{ figure module.function | alt text | caption }}
    {{ explore name | module.function | alt text | caption }}          where there is JavaScript, something to move in
                                                                       place of the figure; `name beneath`: beneath it
    {{ made module.function }}
    {{ api entropyprune_ref.gram }}                                    all public names of a module

Figures and text come from the functions in `docs/figures/`. An unknown name fails the build.
"""

import itertools
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import drawing
import listings
import reference

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^(?P<indent>[ ]*)\{\{ (?P<kind>\w+) (?P<rest>.+?) \}\}[ ]*$", re.MULTILINE)
BLOCK = re.compile(r"^\$\$.*?\$\$$", re.MULTILINE | re.DOTALL)
TAG = re.compile(r"\\tag\{(\d\.\d)\}")
DATA = {"flops": "explorable_data.flops", "prune": "explorable_data.prune"}
"""What an explorable needs that only Python can compute: functions of `docs/figures/` that return JSON."""


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files, **_: Any) -> str:
    """Replaces every directive of a page."""

    def replaced(match: re.Match[str]) -> str:
        if match["kind"] not in KINDS:
            raise PluginError(f"{page.file.src_uri}: {match[0].strip()} must be one of {', '.join(KINDS)}")
        try:
            text = KINDS[match["kind"]](match["rest"], page, config, files)
        except PluginError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from None
        return "\n".join(match["indent"] + line if line else "" for line in text.splitlines())

    return DIRECTIVE.sub(replaced, listings.gathered(anchored(markdown, page.file.src_uri)))


def anchored(markdown: str, uri: str) -> str:
    """Returns a page of the method with a place to link to before every numbered equation: `eq-1-4` for 1.4."""
    if not uri.startswith("method/"):
        return markdown

    def with_anchor(match: re.Match[str]) -> str:
        return "".join(f'<a id="eq-{number.replace(".", "-")}"></a>' for number in TAG.findall(match[0])) + (
            f"\n\n{match[0]}"
        )

    return BLOCK.sub(lambda match: with_anchor(match) if "\\tag" in match[0] else match[0], markdown)


def figure(rest: str, page: Page, config: Any, files: Files) -> str:
    """A figure, drawn for each colour scheme, and once more for phones where panels can stand one below another."""
    name, *texts = [part.strip() for part in rest.split(" | ")]
    if len(texts) != 2 or not all(texts):
        raise PluginError(f"figure {name} must be given as: name | alt text | caption")
    alt, caption = texts
    lines = ['<figure markdown="span">']
    widths = ("wide", "narrow") if drawing.stacks(name) else ("",)
    for scheme, width in itertools.product(("light", "dark"), widths):
        target = f"assets/figures/{name}.{scheme}{'.narrow' * (width == 'narrow')}.svg"
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, content=drawing.drawn(name, scheme, width == "narrow")))
        address = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        kind = f".{width} " if width else ""
        lines.append(f"![{alt}]({address}#only-{scheme}){{ {kind}loading=lazy }}")
    lines += [f"<figcaption>{caption}</figcaption>", "</figure>"]
    return "\n".join(lines)


def explore(rest: str, page: Page, config: Any, files: Files) -> str:
    """A figure that a module of `docs/explorables/` turns into something to move; without it, the figure stays."""
    named, _, still = rest.partition(" | ")
    name, _, place = named.partition(" ")
    if place not in ("", "beneath"):
        raise PluginError(f"explore {named} must be a name, or a name and `beneath`")
    module = f"explorables/{name}.js"
    if not (ROOT / "docs" / module).is_file():
        raise PluginError(f"explore {name} must name a module of docs/explorables/, got no file {name}.js there")
    if name in DATA and files.get_file_from_path(f"explorables/{name}.json") is None:
        files.append(File.generated(config, f"explorables/{name}.json", content=drawing.called(DATA[name])()))
    address = posixpath.relpath(module, posixpath.dirname(page.file.src_uri) or ".")
    kind = f'class="explorable" data-explore="{name}"{" data-beneath" if place else ""}'
    return (
        f"<div {kind} markdown>\n\n{figure(still, page, config, files)}\n\n</div>\n\n"
        f'<script type="module" src="{address}"></script>'
    )


def made(name: str, page: Page, config: Any, files: Files) -> str:
    """Markdown that a function makes."""
    text = drawing.called(name.strip())()
    if not isinstance(text, str):
        raise PluginError(f"{name} must return a string, got {type(text).__name__}")
    return text


KINDS: dict[str, Callable[[str, Page, Any, Files], str]] = {
    "plain": listings.plain,
    "source": listings.source,
    "test": listings.tests,
    "tests": listings.tests,
    "figure": figure,
    "explore": explore,
    "made": made,
    "api": reference.api,
}

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

import importlib
import io
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import listings
import reference

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^(?P<indent>[ ]*)\{\{ (?P<kind>\w+) (?P<rest>.+?) \}\}[ ]*$", re.MULTILINE)
BLOCK = re.compile(r"^\$\$.*?\$\$$", re.MULTILINE | re.DOTALL)
TAG = re.compile(r"\\tag\{(\d\.\d)\}")
PATH = re.compile(rb' (?:d|x|y)="[^"]*"')
NUMBER = re.compile(rb"-?\d+\.\d{3,}")
"""A hundredth of a point is finer than any screen, and half of what a figure weighs is digits behind it."""
INK = {"light": "#26292e", "dark": "#dde1e8"}
DATA = {"flops": "explorable_data.flops", "prune": "explorable_data.prune"}
"""What an explorable needs that only Python can compute: functions of `docs/figures/` that return JSON."""
CYCLE = {
    # Okabe and Ito's colours, told apart by all readers; lighter ones on a dark page
    "light": ["#0072b2", "#d55e00", "#007a5a", "#a2588a", "#8a6d00", "#4c8fbd", "#666666"],
    "dark": ["#56b4e9", "#ff8c42", "#2fc79b", "#dd9bc6", "#e6c84b", "#9ecae8", "#b0b0b0"],
}


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
    """A figure, drawn once for each colour scheme."""
    name, *texts = [part.strip() for part in rest.split(" | ")]
    if len(texts) != 2 or not all(texts):
        raise PluginError(f"figure {name} must be given as: name | alt text | caption")
    alt, caption = texts
    lines = ['<figure markdown="span">']
    for scheme in ("light", "dark"):
        target = f"assets/figures/{name}.{scheme}.svg"
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, content=drawn(name, scheme)))
        address = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        lines.append(f"![{alt}]({address}#only-{scheme}){{ loading=lazy }}")
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
        files.append(File.generated(config, f"explorables/{name}.json", content=called(DATA[name])()))
    address = posixpath.relpath(module, posixpath.dirname(page.file.src_uri) or ".")
    kind = f'class="explorable" data-explore="{name}"{" data-beneath" if place else ""}'
    return (
        f"<div {kind} markdown>\n\n{figure(still, page, config, files)}\n\n</div>\n\n"
        f'<script type="module" src="{address}"></script>'
    )


def made(name: str, page: Page, config: Any, files: Files) -> str:
    """Markdown that a function makes."""
    text = called(name.strip())()
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


@cache
def called(name: str) -> Callable[[], Any]:
    """Returns a function of `docs/figures/` by `module.function`."""
    module, _, function = name.rpartition(".")
    folder = str(ROOT / "docs" / "figures")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not (ROOT / "docs" / "figures" / f"{module}.py").is_file():
        raise PluginError(f"{name} must be in docs/figures/, got no file {module}.py there")
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise PluginError(f"docs/figures/{module}.py must define {function}, got no such function")
    known: Callable[[], Any] = found
    return known


@cache
def drawn(name: str, scheme: str) -> bytes:
    """Returns a figure as SVG."""
    import matplotlib.pyplot as plt

    with style(scheme):
        picture = called(name)()
        if not hasattr(picture, "savefig"):
            raise PluginError(f"{name} must return a matplotlib Figure, got {type(picture).__name__}")
        buffer = io.BytesIO()
        picture.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(picture)
    tidy = re.sub(rb"(?s)<metadata>.*?</metadata>|<!--.*?-->", b"", buffer.getvalue())
    tidy = PATH.sub(lambda path: NUMBER.sub(lambda number: b"%.2f" % float(number[0]), path[0]), tidy)
    return re.sub(rb"\s+", b" ", tidy)


@contextmanager
def style(scheme: str) -> Iterator[None]:
    """The look of figures: no background, the page's ink, colours that all readers can tell apart."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ink = INK[scheme]
    rules = {
        "figure.figsize": (7, 3.2),
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "axes.titlecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "lines.color": CYCLE[scheme][0],
        "patch.edgecolor": ink,
        "axes.prop_cycle": plt.cycler(color=CYCLE[scheme]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "image.interpolation": "none",  # pictures as they are, not drawn larger
        "savefig.dpi": 144,  # of what a figure marks as too many points for a drawing
        "svg.hashsalt": "entropyprune-ref",
        "figure.constrained_layout.use": True,
    }
    with plt.rc_context(rules):
        yield

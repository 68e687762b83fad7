"""Visits pages of a built site as readers do: in light and dark, at a desk and on a phone, with no other host."""

import functools
import http.server
import importlib
import itertools
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs import chromium

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "hooks"))
fonts = importlib.import_module("fonts")

FAULTS, GLYPHS = ((Path(__file__).parent / name).read_text() for name in ("faults.js", "glyphs.js"))
AXE = "axe-core@4.14.1"
RUN_AXE = """
axe.run({exclude: [".katex"]}, {resultTypes: ["violations"]}).then((result) => result.violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, impact, nodes: [first, ...others]}) => [
    `${impact} ${id}`, 1 + others.length, first.target.join(" "), first.html.slice(0, 120)]))
"""
AT_ONCE = """
const still = new CSSStyleSheet()
still.replaceSync("*, ::before, ::after { transition: none !important; animation: none !important }")
document.adoptedStyleSheets = [...document.adoptedStyleSheets, still]
"""
"""What a page looks like when it has come to rest is what counts."""
SCHEMES = {"light": "default", "dark": "slate"}
WIDTHS = {"desktop": 1280, "phone": 390}
FONTS = {"code": ("JetBrains Mono", ("jetbrains-mono",)), "text": ("Inter", ("inter", "jetbrains-mono"))}
"""What each kind of text is set in, and where its characters may come from."""
HEAVIEST = 600_000
"""Bytes of a page with all that it asks for, but for fonts, uncompressed."""
BY_AXE = ("light desktop", "dark phone")
"""Both schemes and both widths: contrast does not depend on the width, nor structure on the scheme."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a page in one of its modes."""

    kind: str
    page: str
    mode: str
    where: str


@dataclass
class Visits:
    """What was seen."""

    faults: list[Fault]
    pages: int
    modes: int
    checked_by_axe: int
    requests: int
    weights: dict[str, int]

    def of(self, *kinds: str) -> list[str]:
        """Returns the faults of some kinds, a line each, those of several modes together."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for fault in self.faults:
            if fault.kind in kinds:
                found.setdefault((fault.kind, fault.page, fault.where), []).append(fault.mode)
        return [f"{kind}: {page}: {where} ({', '.join(modes)})" for (kind, page, where), modes in found.items()]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on this machine, and gives its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Cache-Control", "max-age=3600")  # style sheets and fonts are the same on every page
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def visit(folder: Path, pages: Sequence[str], by_axe: Sequence[str], browsers: int = 2) -> Visits:
    """Visits pages of a folder in every mode.

    Args:
        folder: The built site.
        pages: Addresses, from the root of the site.
        by_axe: Those that axe-core checks too.
        browsers: How many work at once.
    """
    engine = (chromium.packages.fetch(AXE) / "axe.min.js").read_text()
    with served(folder) as root, ThreadPoolExecutor(browsers) as pool:
        shares = [pages[start::browsers] for start in range(browsers)]
        seen = list(pool.map(lambda share: _visit_share(folder, root, share, set(by_axe), engine), shares))
    faults = [fault for share, *_ in seen for fault in share]
    weights = {page: weight for *_, share in seen for page, weight in share.items()}
    modes = len(SCHEMES) * len(WIDTHS)
    return Visits(faults, len(pages), modes, len(by_axe), sum(requests for _, requests, _ in seen), weights)


def _visit_share(
    folder: Path, root: str, pages: Sequence[str], by_axe: set[str], engine: str
) -> tuple[list[Fault], int, dict[str, int]]:
    faults: list[Fault] = []
    weights: dict[str, int] = {}
    requests = 0
    with chromium.tab() as tab:
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        for page in pages:
            _resize(tab, WIDTHS["desktop"])
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
            tab.call("Page.navigate", url=root + page)
            tab.run("document.readyState === 'complete' || new Promise((done) => addEventListener('load', done))")
            tab.run(AT_ONCE)
            if page in by_axe:
                tab.run(engine + ";0")
            for (scheme, attribute), (device, width) in itertools.product(SCHEMES.items(), WIDTHS.items()):
                tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                _resize(tab, width)
                found = tab.run(FAULTS)
                if page not in weights:
                    asked, wrong = _heard(tab, root, page)
                    requests += len(asked)
                    found += [*wrong, *_strange(tab.run(GLYPHS))]
                    weights[page] = sum(_size(folder, address) for address in asked)
                    if weights[page] > HEAVIEST:
                        found.append(("weight", f"{weights[page]:,} bytes"))
                if tab.run("document.body.getAttribute('data-md-color-scheme')") != attribute:
                    found.append(("scheme", "does not follow the system"))
                if page in by_axe and f"{scheme} {device}" in BY_AXE:
                    found += [
                        ("axe", f"{rule}, {count} times, first {target}: {html}")
                        for rule, count, target, html in tab.run(RUN_AXE)
                    ]
                faults += [Fault(kind, page, f"{scheme} {device}", where) for kind, where in found]
            asked, wrong = _heard(tab, root, page)
            requests += len(asked)
            faults += [Fault(kind, page, "any", where) for kind, where in wrong]
    return faults, requests, weights


def _strange(used: list[tuple[str, str, str, str]]) -> list[tuple[str, str]]:
    """What is not in the font that it should be in, and characters that the fonts of the site lack."""
    faults = []
    for kind, family, characters, place in used:
        wanted, sources = FONTS[kind]
        if family != wanted:
            faults.append(("font", f"{kind} in {family}: {place}"))
        known = frozenset().union(*(fonts.characters(source) for source in sources))
        if missing := set(characters) - known:
            faults.append(("glyph", f"{kind}: {' '.join(sorted(missing))}"))
    return faults


def _size(folder: Path, address: str) -> int:
    """Bytes of a file of the site; fonts do not count."""
    path = folder / urllib.parse.unquote(address)
    return path.stat().st_size if path.is_file() and path.suffix != ".woff2" else 0


def _resize(tab: chromium.Tab, width: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)


def _heard(tab: chromium.Tab, root: str, page: str) -> tuple[set[str], list[tuple[str, str]]]:
    """What a page asked for since the last call, from the root of the site, and what was wrong there or on the console.

    What the page before asked for late is told by its address, and left out.
    """

    def of_this(document: str) -> bool:  # or of a worker, whose document is its own script
        address = urllib.parse.urldefrag(document).url
        return address == root + page or not address.endswith(".html")

    requests: set[str] = set()
    wrong: list[tuple[str, str]] = []
    heard = ("Network.requestWillBeSent", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    for event in tab.taken(*heard):
        match event["method"]:
            case "Network.requestWillBeSent":
                url = event["request"]["url"]
                if url.startswith(root) and of_this(event["documentURL"]):
                    requests.add(urllib.parse.urlsplit(url).path.lstrip("/"))
                if not url.startswith((root, "data:", "blob:")):
                    wrong.append(("foreign", url))
            case "Runtime.exceptionThrown":
                details = event["exceptionDetails"]
                wrong.append(("console", details.get("exception", {}).get("description", details["text"])))
            case "Runtime.consoleAPICalled" if event["type"] in ("error", "warning", "assert"):
                wrong.append(("console", str(event["args"])))
            case "Log.entryAdded" if event["entry"]["level"] in ("error", "warning"):
                wrong.append(("console", f"{event['entry']['text']} {event['entry'].get('url', '')}"))
    return requests, wrong

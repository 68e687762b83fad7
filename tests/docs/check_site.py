"""The built site in a real browser: `make docs-check` builds it and runs this.

Every page of the site is visited in light and dark, at the width of a desktop and of a phone, in a Chromium that can
reach no other host. Not part of `make test`: it needs the site and a browser.
"""

import html.parser
import json
import os
import urllib.parse
from pathlib import Path

import pytest

from tests.docs import chromium
from tests.docs.visit import HEAVIEST, Visits, served, visit

SITE = Path(os.environ.get("DOCS_SITE", Path(__file__).parents[2] / "site")).resolve()
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
SOURCES = [page for page in PAGES if page.startswith("source/")]
LONGEST = sorted(SOURCES, key=lambda page: (SITE / page).stat().st_size)[-1:]


@pytest.fixture(scope="module")
def visits(request: pytest.FixtureRequest) -> Visits:
    assert len(PAGES) > 30, f"{SITE} must hold the built site: make docs"
    # all pages of source are made alike: axe-core looks at the longest of them
    seen = visit(SITE, PAGES, [page for page in PAGES if page not in SOURCES or page in LONGEST])
    heaviest = sorted(seen.weights, key=lambda page: seen.weights[page])[-3:]
    request.config.get_terminal_writer().line(
        f"\n{seen.pages} pages x {seen.modes} modes, {seen.requests} requests, {len(seen.of('foreign'))} to other "
        f"hosts, {len(seen.of('console'))} console errors, {len(seen.of('axe'))} serious or critical violations on the "
        f"{seen.checked_by_axe} pages that axe-core looked at; heaviest without fonts: "
        + ", ".join(f"{page} {seen.weights[page] / 1000:.0f} kB" for page in reversed(heaviest))
    )
    return seen


KINDS = (
    "foreign",
    "console",
    "scheme",
    "mathematics",
    "overprint",
    "image",
    "alt",
    "id",
    "overflow",
    "axe",
    "font",
    "glyph",
    "weight",
)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_have_no_fault(visits: Visits, kind: str) -> None:
    assert visits.of(kind) == []


FAULTY = """<!doctype html><html><head><meta charset="utf-8"><title>x</title></head>
<body data-md-color-scheme="default">
<div class="md-content"><p>An equation $x$ and another \\frac{1}{2}.</p><img src="missing.png">
<p id="a"></p><p id="a"></p><p>\N{SNOWMAN}</p><code style="font-family: Inter">code</code>
<p style="width: 3000px">wide</p><p style="color: #aaa; background: #bbb">faint</p>
<span class="katex-html"><span class="katex-base">formula</span>
<span class="katex-tag" style="position: relative; left: -2em">(1)</span></span>
<script src="heavy.js"></script>
<script src="http://192.0.2.1/foreign.js"></script><script>throw new Error("wrong")</script></div></body></html>"""

SOUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>x</title><body style="font-family: Inter">
<main><h1>Sound → ∎</h1></main><script>
const dark = matchMedia("(prefers-color-scheme: dark)")
const follow = () => document.body.setAttribute("data-md-color-scheme", dark.matches ? "slate" : "default")
dark.addEventListener("change", follow)
follow()
</script></html>"""


def test_visit_sees_every_kind_of_fault(tmp_path: Path) -> None:
    (tmp_path / "faulty.html").write_text(FAULTY)
    (tmp_path / "sound.html").write_text(SOUND)
    (tmp_path / "heavy.js").write_text("//" + " " * HEAVIEST)
    seen = visit(tmp_path, ["faulty.html", "sound.html"], ["faulty.html", "sound.html"])
    faulty = {fault.kind for fault in seen.faults if fault.page == "faulty.html"}
    assert faulty == set(KINDS)
    assert [fault for fault in seen.faults if fault.page == "sound.html" and "favicon" not in fault.where] == []


QUESTIONS = {
    "why float64": "guides/decisions",
    "which layer": "method/collapse-layer",
    "ties": "method/pruning",
    "Qwen": "guides/real-checkpoints",
    "how many tokens does 128 average keep": "method/budgets",
    "effective rank": "method/matrix-entropy",
    "KV cache": "method/pruning",
    "68.2": "method/flops",
    "my own scorer": "guides/extend",
    "check my CUDA kernel": "guides/check-your-implementation",
}
"""What readers type, and the page that must come first."""


def test_search_answers_ten_questions_with_the_right_page_first() -> None:
    first = {}
    with served(SITE) as root, chromium.tab() as tab:
        tab.call("Page.enable")
        tab.call("Network.enable")
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        for number, question in enumerate(QUESTIONS):
            query = "" if number == 0 else f"?q={urllib.parse.quote(question)}"
            tab.call("Page.navigate", url=f"{root}index.html{query}")
            found = tab.run(SEARCH % json.dumps("" if query else question))
            first[question] = found[0].removesuffix(".html").lstrip("/") if found else None
            if number == 0:
                index = [event["request"]["url"] for event in tab.taken("Network.requestWillBeSent")]
                assert any("search_index" in url for url in index)
    assert first == QUESTIONS


SEARCH = """(async () => {
    const typed = %s;
    const pause = () => new Promise((done) => setTimeout(done, 100));
    while (document.readyState !== "complete") await pause();
    if (typed) {
        const before = performance.getEntriesByType("resource").some(({name}) => /search_index/.test(name));
        if (before) throw new Error("the index of the search was fetched before anybody searched");
        const field = document.querySelector(".md-search__input");
        field.focus();
        field.value = typed;
        field.dispatchEvent(new Event("input", {bubbles: true}));
        field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
    }
    for (let tries = 0; tries < 150; tries++) {
        const links = [...document.querySelectorAll(".md-search-result__link")];
        if (links.length) return links.map((link) => link.pathname);
        await pause();
    }
    return [];
})()"""


def test_first_key_reaches_the_link_that_skips_to_the_content() -> None:
    with served(SITE) as root, chromium.tab() as tab:
        tab.call("Page.enable")
        tab.call("Page.navigate", url=root + "method/matrix-entropy.html")
        tab.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached = tab.run("[document.activeElement.className, document.activeElement.getAttribute('href')]")
        assert "md-skip" in reached[0].split()
        assert tab.run(f"document.querySelector({reached[1]!r}) !== null")


class _Addresses(html.parser.HTMLParser):
    """Where a page can be linked to, and where it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            elif name in ("href", "src") and value is not None and tag != "base":
                self.links.add(value)


def test_every_internal_link_leads_somewhere() -> None:
    pages = {page: _Addresses((SITE / page).read_text()) for page in PAGES}
    dead = []
    for page, addresses in pages.items():
        for link in addresses.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = urllib.parse.unquote(parts.path)
            target = (SITE / path.lstrip("/") if path.startswith("/") else (SITE / page).parent / path).resolve()
            if not path:
                target = SITE / page
            elif target.is_dir():
                target = target / "index.html"
            name = target.relative_to(SITE).as_posix() if target.is_relative_to(SITE) else ""
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.is_file() or (
                anchor and name in pages and anchor not in pages[name].places and not anchor.startswith("__")
            ):
                dead.append(f"{page}: {link}")
    assert dead == []

"""What can be moved, moved in a browser: by keyboard, mouse and touch, read off the page, and compared with Python."""

import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from entropyprune_ref import PAPER, RELEASED, ROW_NORMALIZED, matrix_entropy, renyi_entropy, token_entropy
from entropyprune_ref.flops import DECODERS, FORMULAS, DecoderSize, reduction, scoring_flops
from tests.docs import chromium
from tests.docs.visit import served

SITE = Path(os.environ.get("DOCS_SITE", Path(__file__).parents[2] / "site")).resolve()
NAMES = ("cloud", "heads", "grams", "prune", "flops")
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40}


PAGES = {
    "cloud": ["method/matrix-entropy"],
    "heads": ["method/paper-and-released-code", "method/token-scores"],
    "grams": ["method/dual-gram"],
    "prune": ["index", "method/pruning"],
    "flops": ["method/flops"],
}
"""Where each stands: in the page of its equation, and where else it is spoken of."""


def test_each_stands_in_the_page_of_its_equation() -> None:
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for path in sorted(SITE.rglob("*.html")):
        for name in re.findall(r'data-explore="(\w+)"', path.read_text()):
            found[name].append(path.relative_to(SITE).with_suffix("").as_posix())
    assert found == PAGES


class Explorable:
    """One of them on its page, ready to be moved."""

    def __init__(self, tab: chromium.Tab, name: str) -> None:
        """Takes a tab that shows it."""
        self.tab, self.box = tab, f"document.querySelector('[data-explore={name}]')"

    def get(self, expression: str) -> Any:
        return self.tab.run(f"{self.box}{expression}")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get(".dataset.state"))
        return found

    def value(self, key: str) -> float:
        return float(self.get(f".querySelector('data[data-key={key}]').value"))

    def press(self, selector: str, key: str, times: int) -> None:
        """Focuses a control and presses a key, as the browser would have it from a keyboard."""
        self.get(f".querySelector({selector!r}).focus()")
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is on the screen, brought into sight."""
        self.get(f".querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.tab.run(
            f"(() => {{ const box = {self.box}.querySelector({selector!r}).getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return x, y

    def drag(self, selector: str, dx: float, dy: float) -> None:
        """Drags an element with the mouse."""
        x, y = self.middle(selector)
        for kind, share in (("mousePressed", 0.0), ("mouseMoved", 0.5), ("mouseMoved", 1.0), ("mouseReleased", 1.0)):
            buttons = {"button": "left", "buttons": 1, "clickCount": 1}
            self.tab.call("Input.dispatchMouseEvent", type=kind, x=x + share * dx, y=y + share * dy, **buttons)

    def swipe(self, selector: str, dx: float, dy: float) -> None:
        """Drags an element with a finger."""
        x, y = self.middle(selector)
        self.tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x + dx, y + dy)]), ("touchEnd", [])):
            touches = [{"x": at, "y": below} for at, below in points]
            self.tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=touches)
        self.tab.call("Emulation.setTouchEmulationEnabled", enabled=False)


@contextmanager
def shown(name: str, page: str) -> Iterator[Explorable]:
    with served(SITE) as root, chromium.tab() as tab:
        tab.call("Page.enable")
        tab.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        tab.call("Page.navigate", url=f"{root}{page}.html")
        tab.run("""(async () => {
            for (let tries = 0; tries < 300; tries++) {
                const all = [...document.querySelectorAll("[data-explore]")];
                if (all.length && all.every((box) => "ready" in box.dataset)) return;
                await new Promise((done) => setTimeout(done, 50));
            }
            throw new Error("an explorable was not ready within 15 seconds");
        })()""")
        yield Explorable(tab, name)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator[Explorable]:
    with shown(*request.param) as explorable:
        yield explorable


def on(*names: str) -> pytest.MarkDecorator:
    everywhere = [pytest.param((name, page), id=f"{name}-{page}") for name in names for page in PAGES[name]]
    return pytest.mark.parametrize("page", everywhere, indirect=True, scope="module")


@on(*NAMES)
def test_says_in_words_what_it_shows_and_does_not_animate_for_those_who_want_no_motion(page: Explorable) -> None:
    page.tab.run("new Promise((done) => setTimeout(done, 600))")  # it speaks when the hand has come to rest
    assert len(page.get(".querySelector('[aria-live]').textContent").split()) > 5
    assert page.get(".querySelectorAll('input, select, button, .handle').length") > 1
    unnamed = page.tab.run(
        f"[...{page.box}.querySelectorAll('input, select')].filter((control) => !control.labels.length).length + "
        f"[...{page.box}.querySelectorAll('.handle, svg')].filter((part) => !part.closest('[aria-label]')).length"
    )
    assert unnamed == 0
    moving = page.tab.run(
        f"[...{page.box}.querySelectorAll('*')].some((e) => getComputedStyle(e).transitionDuration.split(', ')"
        ".some((time) => parseFloat(time) > 0) && e.closest('svg'))"
    )
    assert not moving


def cloud_is_right(page: Explorable) -> None:
    state = page.state
    points = torch.tensor(state["points"], dtype=torch.float64)
    assert page.value("H") == pytest.approx(float(matrix_entropy(points)), abs=1e-9)
    assert page.value("rank") == pytest.approx(math.exp(float(matrix_entropy(points))), abs=1e-9)
    assert page.value("renyi") == pytest.approx(float(renyi_entropy(points, state["alpha"])), abs=1e-9)


@on("cloud")
def test_cloud_by_keyboard_mouse_and_touch_equals_python(page: Explorable) -> None:
    page.press("input[name=alpha]", "ArrowRight", 10)
    assert page.state["alpha"] == pytest.approx(2.0)
    cloud_is_right(page)
    before = page.state["points"]
    page.press(".handle.point", "ArrowUp", 7)
    assert page.state["points"][0][1] == pytest.approx(before[0][1] + 0.7)
    cloud_is_right(page)

    before = page.state["points"]
    page.drag(".handle.point", 40, 0)
    after = page.state["points"]
    assert after[0][0] > before[0][0] + 0.1 and after[1:] == before[1:]
    cloud_is_right(page)

    page.swipe(".handle.end", 0, 30)
    assert page.state["points"] != after
    cloud_is_right(page)


@on("cloud")
def test_cloud_reaches_rank_one_and_equal_rows(page: Explorable) -> None:
    for number, rank in ((1, 1.0), (2, 1.0), (0, 2.0)):
        page.get(f".querySelectorAll('button')[{number}].click()")
        cloud_is_right(page)
        assert page.value("rank") == pytest.approx(rank, abs=1e-9)
        assert (page.value("first") == 0) == (number == 2)


@on("heads")
def test_heads_by_keyboard_equal_python_in_all_conventions(page: Explorable) -> None:
    seen = []
    for control, key, times in (("input[name=heads]", "ArrowRight", 2), ("input[name=scale]", "ArrowRight", 40)):
        page.press(control, key, times)
        token = torch.tensor(page.state["queries"], dtype=torch.float64)[None]
        for name, convention in (("paper", PAPER), ("row", ROW_NORMALIZED), ("released", RELEASED)):
            assert page.value(name) == pytest.approx(float(token_entropy(token, convention)), abs=1e-9)
        seen.append((page.value("paper"), page.value("released"), page.value("s"), page.value("turn")))
    (paper, released, low, turn), (paper_too, released_too, high, _) = seen
    assert len(page.state["queries"]) == 6
    assert paper == pytest.approx(paper_too, abs=1e-12)  # stands still
    assert low < turn < high and released > released_too  # has turned


@on("heads")
def test_heads_by_mouse_and_touch_move_one_arrow_and_equal_python(page: Explorable) -> None:
    for move in (page.drag, page.swipe):
        before = page.state["queries"]
        move(".handle.point", 25, 15)
        after = page.state["queries"]
        assert after[0][0] > before[0][0] and after[0][1] < before[0][1] and after[1:] == before[1:]
        token = torch.tensor(after, dtype=torch.float64)[None]
        assert page.value("paper") == pytest.approx(float(token_entropy(token, PAPER)), abs=1e-9)
        assert page.value("released") == pytest.approx(float(token_entropy(token, RELEASED)), abs=1e-9)


@on("grams")
def test_grams_by_keyboard_equal_python(page: Explorable) -> None:
    for control, key, times in (("input[name=heads]", "ArrowLeft", 2), ("input[name=cost]", "ArrowRight", 3)):
        page.press(control, key, times)
        state = page.state
        one = DecoderSize(1, 1, state["heads"], state["heads"], state["size"], 1)
        costs = [scoring_flops(one, 1, side=s, eigen_cost=state["cost"]).total for s in ("gram", "covariance")]
        assert [page.value("gram"), page.value("covariance")] == costs
        assert page.value("ratio") == pytest.approx(costs[1] / costs[0], rel=1e-9)
    assert page.state == {"heads": 16, "size": 128, "cost": 12}


@on("flops")
def test_flops_by_keyboard_equal_python_and_find_the_headline(page: Explorable) -> None:
    page.press("input[name=text]", "ArrowRight", 46)
    state = page.state
    assert (state["text"], state["keep"], state["rule"]) == (81, 98, "linear-only")
    prompt = {"text_tokens": 81, "visual_tokens": 576}
    rule, size = FORMULAS[state["rule"]], DECODERS[state["model"]]
    pruned = rule.pruned_prefill(size, prune_layer=state["prune"], keep=98, **prompt)
    assert page.value("reduction") == pytest.approx(float(reduction(rule.prefill(size, **prompt), pruned)), abs=1e-9)
    assert page.value("headline") == 1
    page.press("input[name=average]", "ArrowLeft", 1)
    assert page.value("headline") == 0


@on("prune")
def test_prune_by_keyboard_shows_what_the_model_kept_and_said(page: Explorable) -> None:
    data = json.loads((SITE / "explorables" / "prune.json").read_text())
    page.press("input[name=image]", "ArrowRight", 3)
    page.press("input[name=budget]", "ArrowLeft", 1)
    page.press("input[name=layer]", "ArrowRight", 1)
    state = page.state
    image = data["images"][state["image"]]
    assert state["keep"] == data["keeps"][state["budget"]] == len(state["tokens"])
    letters = data["answers"][state["scorer"]][1][state["budget"]][state["image"]]
    said = [data["words"][ord(letter) - ord("A")] for letter in letters]
    assert state["answers"] == said
    assert page.value("right") == sum(one == right for one, right in zip(said, image["right"], strict=True))
    assert page.get(".querySelectorAll('.kept').length") == state["keep"]
    drops = [before - after for before, after in zip(image["curve"], image["curve"][1:], strict=False)]
    assert page.value("drop") == pytest.approx(max(drops), abs=1e-9)


@on("flops", "grams", "prune")
def test_sliders_are_moved_by_touch(page: Explorable) -> None:
    page.swipe("input[type=range]", -30, 0)
    left = page.state
    page.swipe("input[type=range]", 30, 0)
    assert page.state != left


@pytest.mark.parametrize(("name", "page"), [(name, page) for name in NAMES for page in PAGES[name]])
def test_without_javascript_the_first_text_and_the_still_figure_stand_there(name: str, page: str) -> None:
    with served(SITE) as root, chromium.tab() as tab:
        for domain in ("Page", "DOM"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.call("Page.navigate", url=f"{root}{page}.html")
        for _ in range(300):  # no promise is kept where no script runs
            if tab.run("location.href !== 'about:blank' && document.readyState === 'complete'"):
                break
            time.sleep(0.05)
        assert tab.run("document.querySelector('[data-explore] .explore') === null")  # no script has run
        top = tab.run("document.querySelector('.md-content h1 ~ p').getBoundingClientRect().top")
        assert 0 < top < 900
        assert tab.run("getComputedStyle(document.querySelector('.md-content h1 ~ p')).visibility") == "visible"
        assert tab.run(f"document.querySelector('[data-explore={name}] figure').getClientRects().length") == 1

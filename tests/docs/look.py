"""Screenshots of a built site, for the eye: `python -m tests.docs.look site out index.html method/flops.html`.

Each page in light and dark, at the width of a desk and of a phone; all pages but those of the source if none is named.
"""

import base64
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs import chromium
from tests.docs.visit import AT_ONCE, SCHEMES, WIDTHS, served

LONGEST = 12_000
"""Pixels of a page that are shown at most."""


def look(site: Path, out: Path, pages: Sequence[str]) -> None:
    """Writes the screenshots of pages to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with served(site) as root, chromium.tab() as tab:
        tab.call("Page.enable")
        for page, scheme, (device, width) in itertools.product(pages, SCHEMES, WIDTHS.items()):
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            tab.call("Page.navigate", url=root + page)
            tab.run("document.readyState === 'complete' || new Promise((done) => addEventListener('load', done))")
            tab.run(AT_ONCE)
            tab.run("for (const image of document.images) if (image.getClientRects().length) image.loading = 'eager'")
            tab.run("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 600)))")
            height = min(tab.run("document.documentElement.scrollHeight"), LONGEST)
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
            name = f"{page.removesuffix('.html').replace('/', '-')}-{scheme}-{device}.png"
            (out / name).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    site, out, *named = sys.argv[1:]
    found = sorted(path.relative_to(site).as_posix() for path in Path(site).rglob("*.html"))
    look(Path(site), Path(out), named or [page for page in found if not page.startswith("source/")])

"""The site brings its fonts: Inter for text, JetBrains Mono for code, the same on every machine and with no other host.

Both come from their npm packages, pinned by version and hash, and are cut down to the characters of `RANGES`.
"""

import hashlib
import io
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import packages

RANGES = (
    (0x20, 0x17F),  # Latin
    (0x370, 0x3FF),  # Greek
    (0x2000, 0x209F),  # punctuation, superscripts, subscripts
    (0x20AC, 0x20AC),
    (0x2100, 0x22FF),  # letter-like, arrows, mathematics
    (0x2308, 0x230B),  # ceilings and floors
    (0x2500, 0x25FF),  # boxes, blocks, shapes
    (0x2713, 0x2717),
)
FEATURES = ["kern", "ccmp", "locl", "mark", "mkmk", "tnum"]


@dataclass(frozen=True)
class Face:
    """One file of a font: its name on the site, its package, and where it stands in there."""

    name: str
    package: str
    path: str


FACES = (
    Face("inter", "inter-ui@4.1.1", "web/Inter-Regular.woff2"),
    Face("inter-italic", "inter-ui@4.1.1", "web/Inter-Italic.woff2"),
    Face("inter-semibold", "inter-ui@4.1.1", "web/Inter-SemiBold.woff2"),
    Face("jetbrains-mono", "jetbrains-mono@1.0.6", "fonts/webfonts/JetBrainsMonoNL-Regular.woff2"),
    Face("jetbrains-mono-semibold", "jetbrains-mono@1.0.6", "fonts/webfonts/JetBrainsMonoNL-SemiBold.woff2"),
)


def original(face: Face) -> Path:
    """Returns the font as its package has it.

    Raises:
        PluginError: It could not be fetched.
    """
    try:
        return packages.fetch(face.package) / face.path
    except RuntimeError as error:
        raise PluginError(str(error)) from None


@cache
def cut(face: Face) -> bytes:
    """Returns a font cut down to the characters that the site may use, as WOFF2."""
    recipe = hashlib.sha256(repr((face, RANGES, FEATURES)).encode()).hexdigest()[:16]
    kept = packages.CACHE / "fonts" / f"{face.name}-{recipe}.woff2"
    if not kept.is_file():
        options = subset.Options(flavor="woff2", layout_features=FEATURES, name_IDs=["*"], hinting=False)
        font = subset.load_font(original(face), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
        cutter.subset(font)
        buffer = io.BytesIO()
        subset.save_font(font, buffer, options)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(buffer.getvalue())
    return kept.read_bytes()


@cache
def characters(family: str) -> frozenset[str]:
    """Returns the characters that every face of a family (`inter` or `jetbrains-mono`) has a glyph for."""
    maps = [TTFont(io.BytesIO(cut(face))).getBestCmap() for face in FACES if face.name.startswith(family)]
    return frozenset(map(chr, set(maps[0]).intersection(*maps[1:])))


def licence(face: Face) -> str:
    """Returns the notice that a font carries, and the text of the SIL Open Font License, under which both are."""
    names = TTFont(original(face))["name"]
    terms = (packages.fetch(FACES[0].package) / "LICENSE.txt").read_text()
    return f"{names.getDebugName(0)}\n\n{terms[terms.index('This Font Software is licensed') :]}"


def on_files(files: Files, config: Any) -> Files:
    """Adds the fonts, and beside each family its licence."""
    for face in FACES:
        files.append(File.generated(config, f"assets/fonts/{face.name}.woff2", content=cut(face)))
    for face in FACES:
        if "-" not in face.name.removeprefix("jetbrains-"):
            files.append(File.generated(config, f"assets/fonts/{face.name}.txt", content=licence(face)))
    return files

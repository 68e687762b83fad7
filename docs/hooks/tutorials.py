"""Tutorials are run when the site is built: each script becomes a page with its output and plots.

An error in one fails the build. `DOCS_TUTORIALS=0` shows them without running them, for a quick look at other pages;
while the site is served, a tutorial runs again only when it or the package has changed.
"""

import base64
import hashlib
import io
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "tutorials"
LOOK = Path(__file__).parent / "tutorials.mplrc"
INK, DARK_INK = (0x26, 0x29, 0x2E), (0xDD, 0xE1, 0xE8)
"""Of the plots in the light scheme, as `tutorials.mplrc` has it, and in the dark one."""
ALT = re.compile(r"^# alt: (.+)\n", re.MULTILINE)


def on_pre_build(config: Any) -> None:
    """Looks at the package anew whenever the site is built."""
    package_digest.cache_clear()


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each tutorial, and its pictures."""
    for script in sorted((ROOT / "tutorials").glob("*.py")):
        for target, content in page_of(script).items():
            files.append(File.generated(config, target, content=content))
    return files


@cache
def package_digest() -> str:
    """A hash of all that a tutorial imports from here."""
    files = sorted(path for path in (ROOT / "entropyprune_ref").rglob("*.*") if path.suffix != ".pyc")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


def page_of(script: Path) -> dict[str, str | bytes]:
    """Returns the files of the site that a tutorial becomes: its page and its pictures."""
    notebook = jupytext.read(script)
    only = os.environ.get("DOCS_ONLY")
    run = os.environ.get("DOCS_TUTORIALS") != "0" and (not only or f"tutorials/{script.stem}.md" in only)
    if run:
        key = hashlib.sha256((script.read_text() + LOOK.read_text() + package_digest()).encode()).hexdigest()[:24]
        kept = CACHE / f"{script.stem}-{key}.ipynb"
        if kept.is_file():
            notebook = nbformat.read(kept, as_version=4)
        else:
            execute(notebook, script)
            CACHE.mkdir(parents=True, exist_ok=True)
            for stale in CACHE.glob(f"{script.stem}-*.ipynb"):
                stale.unlink()
            nbformat.write(notebook, kept)
    return rendered(notebook, script)


def execute(notebook: Any, script: Path) -> None:
    """Runs every cell in a fresh process.

    Raises:
        PluginError: A cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(script.parent)}},
        extra_arguments=["--log-level=ERROR", "--InlineBackend.figure_formats=retina"],
    )
    # whatever backend the caller has set: with another one the plots of the page would be missing
    look = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(LOOK)}
    look["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm would have widgets where a notebook runs
    try:
        client.execute(env={**os.environ, **look})
    except CellExecutionError as error:
        raise PluginError(f"{script.name} must run without an error, got:\n{error}") from None


def rendered(notebook: Any, script: Path) -> dict[str, str | bytes]:
    """Returns the page of a notebook in Markdown, and its pictures."""
    files: dict[str, str | bytes] = {}
    parts = [
        f"A script, [`tutorials/{script.name}`](../source/tutorials/{script.stem}.md): "
        "run it as it is, or [open it as a notebook](../guides/install.md#run-the-tutorials).\n{ .where }"
    ]
    pictures = 0
    run = any(cell.get("outputs") for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        alt = ALT.search(cell.source)
        parts.append(f"```python\n{ALT.sub('', cell.source)}\n```")
        outputs = cell.get("outputs", [])
        if warned := "".join(output.text for output in outputs if output.get("name") == "stderr"):
            raise PluginError(f"{script.name} must print no warning, got:\n{warned}")
        outputs = merged(outputs)
        if run and alt is not None and not any("image/png" in output.get("data", {}) for output in outputs):
            raise PluginError(f"{script.name}: a cell with '# alt: {alt[1]}' must draw, got no picture")
        for output in outputs:
            data = output.get("data", {})
            if "image/png" in data:
                if alt is None:
                    raise PluginError(f"{script.name}: a cell that draws must begin with '# alt: what is seen'")
                pictures += 1
                plot = base64.b64decode(data["image/png"])
                size = output.metadata.get("image/png", {})
                width = f" width={size['width']}" if "width" in size else ""
                for scheme, content in (("light", plot), ("dark", in_dark_ink(plot))):
                    name = f"{script.stem}-{pictures}.{scheme}.png"
                    files[f"tutorials/{name}"] = in_few_colours(content)
                    parts.append(f"![{alt[1]}]({name}#only-{scheme}){{ .plot loading=lazy{width} }}")
            elif output.output_type == "stream":
                parts.append(f"```{{ .text .output{columns(output.text)} }}\n{output.text.rstrip()}\n```")
            elif "text/plain" in data and alt is None:  # what a drawing function returns says nothing
                parts.append(f"```{{ .text .output }}\n{data['text/plain'].rstrip()}\n```")
    where, title, *rest = parts
    files[f"tutorials/{script.stem}.md"] = "\n\n".join([title, where, *rest]) + "\n"
    return files


def columns(text: str) -> str:
    r"""Returns the class of what is printed in columns, which must not be folded.

    Examples:
        >>> columns("as it is      1.35\nmoved        1.35"), columns("one  gap\nno gaps")
        (' .columns', '')
    """
    return " .columns" if len(re.findall(r"\S {2,}\S", text)) > 1 else ""


def in_dark_ink(plot: bytes) -> bytes:
    """Returns a plot, a PNG without background, with the ink of the dark scheme; its other colours stay."""
    pixels = np.array(Image.open(io.BytesIO(plot)).convert("RGBA"))
    ink = (abs(pixels[..., :3].astype(int) - INK) <= 4).all(axis=-1)
    pixels[ink, :3] = DARK_INK
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def in_few_colours(plot: bytes) -> bytes:
    """Returns a PNG of more than 256 colours in the 256 that are nearest, at a third of its weight or less."""
    picture = Image.open(io.BytesIO(plot)).convert("RGBA")
    if picture.getcolors(256) is not None:
        return plot
    buffer = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def merged(outputs: list[Any]) -> list[Any]:
    """Joins what a cell printed in several pieces to one output, in front of its pictures."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    others = [output for output in outputs if output.output_type != "stream"]
    return ([nbformat.v4.new_output("stream", text=printed)] if printed else []) + others

"""A quick look at a few pages: `DOCS_ONLY=method/flops.md,index.md make docs ARGS=--no-strict` builds just those whole.

All other pages are titles, sources are left out, and tutorials too, but for those that are named.
"""

import os
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ONLY = tuple(name for name in os.environ.get("DOCS_ONLY", "").split(",") if name)


@event_priority(-100)
def on_files(files: Files, config: Any) -> Files:
    """Takes away the pages of the source."""
    for file in list(files.documentation_pages()) if ONLY else ():
        if file.src_uri.startswith("source/"):
            files.remove(file)
    return files


@event_priority(100)
def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Leaves the title of a page that nobody asked for."""
    if not ONLY or page.file.src_uri in ONLY:
        return markdown
    return f"# {page.title or Path(page.file.src_uri).stem}\n"

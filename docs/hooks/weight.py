"""Pages stay light: white space that nobody sees is left out."""

import re
from typing import Any

KEPT = re.compile(r"(<(pre|script|style|textarea)\b.*?</\2>)", re.DOTALL)
SPACE = re.compile(r"\s+")


def on_post_page(output: str, **_: Any) -> str:
    """Makes one space of any run of white space outside listings and scripts."""
    parts = KEPT.split(output)  # text, whole element, its name, text, ...
    return "".join(
        part if place % 3 == 1 else SPACE.sub(" ", part) for place, part in enumerate(parts) if place % 3 != 2
    )

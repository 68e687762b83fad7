"""Pages stay light: white space and wrappers that nobody sees are left out."""

import re
from typing import Any

KEPT = re.compile(r"(<(pre|script|style|textarea)\b.*?</\2>)", re.DOTALL)
SPACE = re.compile(r"\s+")
BLOCK = re.compile(r" (</?(?:li|ul|ol|p|div|table|thead|tbody|tr|t[hd]|nav|h\d|details|summary|figure|meta|link)\b)")
TITLE = re.compile(r'<span title="[^"]*">([^<]*)</span>')
"""What the reference wraps around the name of a type that has no page."""


def on_post_page(output: str, **_: Any) -> str:
    """Makes one space of any run of white space outside listings and scripts, and none in front of a block."""
    parts = KEPT.split(output)  # text, whole element, its name, text, ...
    return "".join(part if place % 3 == 1 else light(part) for place, part in enumerate(parts) if place % 3 != 2)


def light(text: str) -> str:
    """Returns HTML without listings, as short as it can be and look the same.

    Examples:
        >>> light('<p>one\\n  two</p>\\n\\n  <p><span title="int">int</span> <b>x</b></p>')
        '<p>one two</p><p>int <b>x</b></p>'
    """
    return TITLE.sub(r"\1", BLOCK.sub(r"\1", SPACE.sub(" ", text)))

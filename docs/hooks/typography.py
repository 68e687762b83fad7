"""What belongs together stays on one line: a number and its unit, an equation and its number, the ends of a range.

Runs before formulas are rendered. Listings, code and formulas are left alone, but
for names in tables, which may be broken behind an underscore.
"""

import re
from typing import Any

TAGS = re.compile(r"(<[^>]*>)")
CLOSED = re.compile(r'<(pre|code|script|style|svg)\b|<(span|div) class="arithmatex"')
NARROW = "\N{NO-BREAK SPACE}"
UNIT = re.compile(r"(?<=\d)\s(?=%|(?:nats?|bits|[kMG]i?B|ms|s|T|G|[MGT]FLOPs?)\b)")
TIMES = re.compile(r"(?<=\d)\s([×·])\s(?=\d)")
NUMBERED = re.compile(r"\b(Eqs?\.|arXiv)\s(?=\d)")
EXPONENT = re.compile(r"\b\d+(?:\.\d+)?e-\d+\b")
RANGE = re.compile(r"\[[+−-]?\d[\d.]*(?:–|, )[+−-]?\d[\d.]*\]")
MINUS = re.compile(r"(?<![\w.)\]-])-(?=\d)")
"""In a table, where a hyphen in front of a number is a sign."""


def on_page_content(content: str, **_: Any) -> str:
    """Joins what belongs together, in the text of a page."""
    parts: list[str] = []
    closed: list[str] = []
    cells = 0
    for part in TAGS.split(content):
        if part.startswith("<"):
            if closed:
                if part == f"</{closed[-1]}>":
                    closed.pop()
            elif opened := CLOSED.match(part):
                closed.append(opened[1] or opened[2])
            cells += part.startswith("<td") - part.startswith("</td")
        elif closed == ["code"] and cells:
            part = part.replace("_", "_<wbr>").replace("=", "=<wbr>")  # where a long name may be broken
        elif not closed:
            part = together(part, cells > 0)
        parts.append(part)
    return "".join(parts)


def together(text: str, in_a_table: bool = False) -> str:
    r"""Returns text whose numbers, units and ranges are not broken over two lines.

    Examples:
        >>> together("12.5 % of [1.0–2.0]") == "12.5\N{NO-BREAK SPACE}% of <span class=\"together\">[1.0–2.0]</span>"
        True
        >>> together("-0.5", in_a_table=True)
        '−0.5'
    """
    text = MINUS.sub("−", text) if in_a_table else text
    text = TIMES.sub(rf"{NARROW}\1{NARROW}", UNIT.sub(NARROW, text))
    text = NUMBERED.sub(rf"\1{NARROW}", text)
    for pattern in (EXPONENT, RANGE):
        text = pattern.sub(r'<span class="together">\g<0></span>', text)
    return text

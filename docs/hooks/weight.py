"""Pages stay light: white space and wrappers that nobody sees are left out."""

import re
from pathlib import Path
from typing import Any

KEPT = re.compile(r"(<(pre|script|style|textarea)\b.*?</\2>)", re.DOTALL)
SPACE = re.compile(r"[ \t\r\n\f]+")  # not the space that joins a number and its unit
BLOCK = re.compile(r" (</?(?:li|ul|ol|p|div|table|thead|tbody|tr|t[hd]|nav|h\d|details|summary|figure|meta|link)\b)")
TITLE = re.compile(r'<span title="[^"]*">([^<]*)</span>')
"""What the reference wraps around the name of a type that has no page."""


def on_post_page(output: str, **_: Any) -> str:
    """Makes one space of any run of white space outside listings and scripts, and none in front of a block."""
    parts = KEPT.split(output)  # text, whole element, its name, text, ...
    return "".join(part if place % 3 == 1 else light(part) for place, part in enumerate(parts) if place % 3 != 2)


def light(text: str) -> str:
    r"""Returns HTML without listings, as short as it can be and look the same.

    Examples:
        >>> light('<p>one\n  two</p>\n\n  <p><span title="int">int</span> <b>x</b></p>')
        '<p>one two</p><p>int <b>x</b></p>'
    """
    return TITLE.sub(r"\1", BLOCK.sub(r"\1", SPACE.sub(" ", text)))


RULE = re.compile(r"([^{}@]+)\{([^{}]*)\}")
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")


def on_post_build(config: Any) -> None:
    """Takes out of the theme's style sheet what no page and no script names."""
    site = Path(config.site_dir)
    pages = [path for path in site.rglob("*.html") if path.relative_to(site).parts[0] != "source"]
    pages += sorted(site.glob("source/*/*.html"))[:1]  # those of the source are all made alike
    used = {
        name for page in pages for found in re.findall(r'class="([^"]*)"', page.read_text()) for name in found.split()
    }
    for script in site.rglob("*.js"):
        used |= set(re.findall(r"[\w-]+", script.read_text()))
    for sheet in (site / "assets" / "stylesheets").glob("main.*.css"):
        sheet.write_text(trimmed(sheet.read_text(), used))


def trimmed(sheet: str, used: set[str]) -> str:
    """Returns a style sheet without selectors that ask for an unused class or for a script from right to left.

    Examples:
        >>> trimmed("@media print{.a{x:1}.b,.a .c{y:2}}[dir=rtl] .a{z:3}.b{}", {"a", "c"})
        '@media print{.a{x:1}.a .c{y:2}}'
    """

    def kept(rule: re.Match[str]) -> str:
        selectors = [
            each
            for each in re.split(r",(?![^(]*\))", rule[1])
            if "[dir=rtl]" not in each and all(name in used for name in CLASS.findall(re.sub(r":not\(.*?\)", "", each)))
        ]
        return f"{','.join(selectors)}{{{rule[2]}}}" if selectors else ""

    return RULE.sub(kept, sheet)

// Boxes that scroll sideways, and only those, can be reached and scrolled by keyboard.
const boxes = ".md-typeset pre > code, .md-typeset div.formula, .md-typeset__scrollwrap, .md-typeset table";

function mark() {
  for (const box of document.querySelectorAll(boxes)) {
    if (box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === "auto") box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".md-search[role=dialog]")?.setAttribute("aria-label", "Search");
  const sizes = new ResizeObserver(mark);
  for (const box of document.querySelectorAll(`.md-content, ${boxes}`)) sizes.observe(box);
});
// the theme wraps tables after the page has loaded
addEventListener("load", mark);

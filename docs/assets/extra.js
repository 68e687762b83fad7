// Boxes that scroll can be reached and scrolled by keyboard.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table")) {
    const scrolls = box.scrollWidth > box.clientWidth;
    if (scrolls || box.tagName === "CODE") {
      box.setAttribute("tabindex", "0");
      if (!box.hasAttribute("role")) box.setAttribute("role", "region");
      if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", box.tagName === "CODE" ? "code" : "table");
    }
  }
});

// What is wrong with the page that is shown, as a list of [kind, where]. An expression: Chromium evaluates it.
(async () => {
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const faults = [];
  const brief = (element) => {
    const name = element.tagName.toLowerCase() + (element.id ? `#${element.id}` : "");
    return `${name} ${(element.textContent || element.getAttribute("src") || "").trim().slice(0, 60)}`;
  };

  // mathematics that was not rendered; code and the TeX that KaTeX keeps for copying are left out
  const code = "pre, code, script, style, noscript, textarea, .katex, .katex-mathml";
  const tex = /\$|\\(frac|text|math|operatorname|sum|begin|end|tag|rho|lambda|log|tilde|left|right)|\\[[(\])]/;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!parent.closest(code) && tex.test(texts.currentNode.data)) faults.push(["mathematics", brief(parent)]);
  }
  for (const left of document.querySelectorAll(".arithmatex, .katex-error")) faults.push(["mathematics", brief(left)]);

  // the number of an equation printed over the equation
  for (const formula of document.querySelectorAll(".katex-html")) {
    const tag = formula.querySelector(":scope > .katex-tag");
    if (!tag || !tag.getClientRects().length) continue;
    const number = tag.getBoundingClientRect();
    for (const base of formula.querySelectorAll(":scope > .katex-base")) {
      const part = base.getBoundingClientRect();
      const aside = part.right <= number.left + 1 || number.right <= part.left + 1;
      if (!aside && part.top < number.bottom && number.top < part.bottom) faults.push(["overprint", brief(tag)]);
    }
  }

  // pictures further down, and those of the other scheme, are fetched when they come into sight
  const visible = [...document.images].filter((image) => image.getClientRects().length);
  for (const image of visible) image.loading = "eager";
  await Promise.allSettled(visible.map((image) => image.decode()));
  for (const image of document.images) {
    if (visible.includes(image) && image.naturalWidth === 0) faults.push(["image", image.getAttribute("src")]);
    if (!(image.getAttribute("alt") || "").trim()) faults.push(["alt", image.getAttribute("src")]);
  }

  const seen = new Set();
  for (const { id } of document.querySelectorAll("[id]")) {
    if (seen.has(id)) faults.push(["id", id]);
    seen.add(id);
  }

  // wider than the screen: the outermost elements that stick out of every box that scrolls
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) {
    for (const element of document.querySelectorAll(".md-content *, .md-footer *, .md-header *")) {
      const box = element.getBoundingClientRect();
      if (box.right <= width + 1 || box.width === 0) continue;
      let parent = element.parentElement;
      while (parent && getComputedStyle(parent).overflowX === "visible") parent = parent.parentElement;
      if (!parent || parent === document.body || parent === document.documentElement) {
        faults.push(["overflow", brief(element)]);
      }
    }
    if (!faults.some(([kind]) => kind === "overflow")) faults.push(["overflow", "the page"]);
  }
  return faults;
})();

// The characters of the page by the font that is asked for, and elements set in another: [family, characters, first place].
(() => {
  const found = new Map();
  const add = (element, text) => {
    const family = getComputedStyle(element).fontFamily.split(",")[0].replaceAll('"', "");
    const code = element.closest("code, pre, kbd, samp") !== null;
    const key = `${code ? "code" : "text"} ${family}`;
    if (!found.has(key)) found.set(key, [new Set(), `${element.tagName.toLowerCase()} ${text.trim().slice(0, 40)}`]);
    for (const character of text) if (character > " ") found.get(key)[0].add(character);
  };
  for (const block of document.querySelectorAll("pre > code")) add(block, block.textContent);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement: parent } = texts.currentNode;
    if (data.trim() && !parent.closest("pre > code, script, style, noscript, template, .katex")) add(parent, data);
  }
  return [...found].map(([key, [characters, place]]) => [...key.split(/ (.*)/).slice(0, 2), [...characters].join(""), place]);
})();

// What every explorable is made of: elements, controls that also work by keyboard, points to drag, bars, a line for screen readers.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

let count = 0;
const unique = (name) => `explore-${name}-${count++}`;

/** A number for reading: a minus sign is one, and zero has none. */
export const shown = (x, digits = 3) =>
  x == null ? "–" : (Math.abs(x) < 0.5 * 10 ** -digits ? 0 : x).toFixed(digits).replace("-", "−");

/** Puts an explorable into its places on the page, beneath the still figure, which the style sheet may hide. */
export function mount(name, title, build) {
  for (const place of document.querySelectorAll(`[data-explore="${name}"]`)) {
    const box = el("div", { class: "explore", role: "group", "aria-label": title });
    const says = el("p", { class: "says", "aria-live": "polite" });
    let waiting = 0;
    const report = (state, sentence) => {
      place.dataset.state = JSON.stringify(state);
      clearTimeout(waiting);
      waiting = setTimeout(() => (says.textContent = sentence), 400);
    };
    Promise.resolve(build(box, report)).then(() => {
      place.append(el("p", { class: "explore-title" }, title), box, says);
      place.dataset.ready = "";
    }).catch((error) => {
      document.documentElement.classList.remove("moves"); // the still figures come back
      throw error;
    });
  }
}

/** The data of an explorable, which stands beside its module. */
export const data = async (name) => (await fetch(new URL(`${name}.json`, import.meta.url))).json();

export function slider({ label, name, min, max, step = 1, value, text = String, on }) {
  const id = unique(name);
  const output = el("output", { for: id });
  const input = el("input", { type: "range", id, name, min, max, step, value });
  const show = () => {
    output.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => (show(), on(Number(input.value))));
  show();
  const box = el("div", { class: "control" }, el("label", { for: id }, label), input, output);
  const limit = (most, now) => {
    input.max = most;
    input.value = now;
    show();
  };
  return { box, limit };
}

export function choice({ label, name, options, value, on }) {
  const id = unique(name);
  const items = options.map(([key, text]) => el("option", { value: key, selected: key === value && "" }, text));
  const select = el("select", { id, name }, ...items);
  select.addEventListener("change", () => on(select.value));
  const refill = (texts) => texts.forEach((text, i) => (items[i].textContent = text));
  return { box: el("div", { class: "control" }, el("label", { for: id }, label), select), refill };
}

export const button = (text, on) => el("button", { type: "button", class: "md-button", onclick: on }, text);

/** A plane with its origin in the middle: `reach` units to each side, y upwards. */
export function plane(reach, label) {
  const root = svg("svg", { class: "plane", viewBox: `${-reach} ${-reach} ${2 * reach} ${2 * reach}`, role: "group", "aria-label": label });
  root.append(
    svg("path", { class: "axis", d: `M${-reach} 0H${reach}M0 ${-reach}V${reach}` }),
  );
  const at = ({ clientX, clientY }) => {
    const p = new DOMPoint(clientX, clientY).matrixTransform(root.getScreenCTM().inverse());
    return [p.x, -p.y].map((x) => Math.max(-reach, Math.min(reach, x)));
  };
  return { root, at };
}

/** A point of a plane to drag, or to move with the arrow keys. */
export function handle({ root, at }, { label, kind, size, read, move }) {
  const dot = svg("circle", { class: `handle ${kind}`, r: size, tabindex: 0, role: "slider", "aria-roledescription": "point", "aria-label": label });
  dot.addEventListener("pointerdown", (event) => {
    dot.setPointerCapture(event.pointerId);
    event.preventDefault();
    dot.focus();
  });
  dot.addEventListener("pointermove", (event) => dot.hasPointerCapture(event.pointerId) && move(...at(event)));
  dot.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const step = event.shiftKey ? 0.5 : 0.1;
    const [x, y] = read();
    move(x + dx * step, y + dy * step);
  });
  root.append(dot);
  const draw = () => {
    const [x, y] = read();
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", -y);
    dot.setAttribute("aria-valuenow", shown(x, 1).replace("−", "-"));
    dot.setAttribute("aria-valuetext", `x ${shown(x, 1)}, y ${shown(y, 1)}`);
  };
  return { dot, draw };
}

/** Bars side by side, heights as shares of `top`, in a box 100 wide and 60 high. */
export function bars(label) {
  const root = svg("svg", { class: "bars", viewBox: "0 0 100 62", role: "img", "aria-label": label });
  const draw = (values, top) => {
    const width = 100 / Math.max(values.length, 4);
    root.replaceChildren(
      ...values.map((value, i) => {
        const height = top > 0 ? (60 * Math.max(value, 0)) / top : 0;
        return svg("rect", { class: "bar", x: i * width + 0.1 * width, y: 60 - height, width: 0.8 * width, height });
      }),
      svg("path", { class: "axis", d: "M0 60H100" }),
    );
  };
  return { root, draw };
}

/** Names with numbers that a program can read to the last digit: `rows` is a list of [key, name]. */
export function numbers(rows) {
  const cells = Object.fromEntries(rows.map(([key]) => [key, el("data", { "data-key": key })]));
  const root = el("dl", { class: "numbers" }, ...rows.flatMap(([key, name]) => [el("dt", {}, name), el("dd", {}, cells[key])]));
  const draw = (values) => {
    for (const [key, [value, text]] of Object.entries(values)) {
      cells[key].value = String(value);
      cells[key].textContent = text ?? shown(value);
    }
  };
  return { root, draw };
}

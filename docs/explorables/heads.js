// The queries of one token, a head an arrow, and the three scores at once; all queries times one number.
import { identity, scores } from "./math/heads.js";
import { bars, el, handle, mount, numbers, plane, shown, slider, svg } from "./parts.js";

const REACH = 2;
const START = [[1, 0.2], [-0.6, 0.9], [0.3, -1.1], [-1, -0.4], [0.8, 1.1], [-0.2, 0.5], [1.2, -0.7], [-1.1, 0.7]];

mount("heads", "Move the heads of a token", (box, report) => {
  let arrows = START.map((arrow) => [...arrow]);
  let heads = 4;
  let scale = 0.5; // below the turning point

  const view = plane(REACH, "Queries of the heads, to be moved with the arrow keys");
  const lines = svg("path", { class: "arrows" });
  const middle = svg("circle", { class: "mean", r: 0.06 });
  view.root.append(lines, middle);
  const tips = arrows.map((_, i) =>
    handle(view, {
      label: `query of head ${i + 1}`,
      kind: "point",
      size: 0.09,
      read: () => arrows[i],
      move: (x, y) => ((arrows = arrows.map((arrow, j) => (i === j ? [x, y] : arrow))), draw()),
    }));
  const map = svg("svg", { class: "heat", viewBox: "0 0 8 8", role: "img", "aria-label": "Gram matrix of the centred queries, positive and negative in two colours" });
  const spectrum = bars("Eigenvalues of the Gram matrix");
  const curve = svg("svg", { class: "curve", viewBox: "0 0 100 60", role: "img", "aria-label": "Released score against energy, with its turning point" });
  const table = numbers([
    ["paper", "PAPER, nats"],
    ["row", "ROW_NORMALIZED, nats"],
    ["released", "RELEASED"],
    ["s", "energy s"],
    ["turn", "RELEASED turns at s = e^(H−1)"],
  ]);
  const many = slider({ label: "Heads", name: "heads", min: 4, max: 8, value: 4, on: (x) => ((heads = x), draw()) });
  const factor = slider({
    label: "All queries times", name: "scale", min: -3, max: 3, step: 0.05, value: -1,
    text: (x) => shown(2 ** x, 2),
    on: (x) => ((scale = 2 ** x), draw()),
  });

  function drawCurve({ s, paper, turn }) {
    const [low, high] = [0, Math.max(3, 1.3 * s, 2 * turn)];
    const x = (value) => (100 * (value - low)) / (high - low);
    const values = Array.from({ length: 101 }, (_, i) => identity((i * high) / 100, paper, heads));
    const [least, most] = [Math.min(...values, 0), Math.max(...values, 0.1)];
    const y = (value) => 56 - (50 * (value - least)) / (most - least);
    curve.replaceChildren(
      svg("path", { class: "axis", d: `M0 ${y(0)}H100` }),
      svg("path", { class: "turn", d: `M${x(turn)} 0V60` }),
      svg("path", { class: "line", d: values.map((value, i) => `${i ? "L" : "M"}${i} ${y(value)}`).join("") }),
      svg("circle", { class: "now", r: 2.4, cx: x(s), cy: y(identity(s, paper, heads)) }),
    );
  }

  function draw() {
    const queries = arrows.slice(0, heads).map(([x, y]) => [scale * x, scale * y]);
    const now = scores(queries);
    tips.forEach(({ dot, draw: place }, i) => (dot.toggleAttribute("hidden", i >= heads), place()));
    const [mx, my] = [0, 1].map((j) => arrows.slice(0, heads).reduce((sum, arrow) => sum + arrow[j], 0) / heads);
    middle.setAttribute("cx", mx);
    middle.setAttribute("cy", -my);
    lines.setAttribute("d", arrows.slice(0, heads).map(([x, y]) => `M${mx} ${-my}L${x} ${-y}`).join(""));
    const largest = Math.max(...now.matrix.flat().map(Math.abs), 1e-300);
    map.setAttribute("viewBox", `0 0 ${heads} ${heads}`);
    map.replaceChildren(...now.matrix.flatMap((row, i) => row.map((value, j) =>
      svg("rect", { x: j, y: i, width: 0.96, height: 0.96, class: value < 0 ? "negative" : "positive", "fill-opacity": Math.abs(value) / largest }))));
    spectrum.draw(now.values.slice(0, 4), now.values[0]);
    drawCurve(now);
    table.draw(Object.fromEntries(["paper", "row", "released", "s", "turn"].map((key) => [key, [now[key]]])));
    const side = now.s > now.turn ? "above" : "below";
    report({ queries },
      `PAPER ${shown(now.paper)}, ROW_NORMALIZED ${shown(now.row)}, RELEASED ${shown(now.released)}; ` +
      `energy ${shown(now.s, 2)}, ${side} the turning point ${shown(now.turn, 2)}.`);
  }

  const named = (text, picture) => el("figure", { class: "small" }, picture, el("figcaption", {}, text));
  box.append(
    view.root,
    el("div", { class: "side" }, many.box, factor.box, table.root,
      el("div", { class: "row" }, named("Gram matrix", map), named("its spectrum", spectrum.root), named("RELEASED against s", curve))),
  );
  draw();
});

// A cloud of points in the plane and its entropy: drag a point, or the ends of the axes.
import { describe, fitted, placed } from "./math/cloud.js";
import { bars, button, el, handle, mount, numbers, plane, shown, slider, svg } from "./parts.js";

const COUNT = 10;
const REACH = 3;
const circle = Array.from({ length: COUNT }, (_, i) => {
  const turn = (2 * Math.PI * i) / COUNT;
  return [Math.SQRT2 * Math.cos(turn), Math.SQRT2 * Math.sin(turn)]; // variance one along every axis
});

mount("cloud", "Move the cloud", (box, report) => {
  let cloud = { base: circle, a: 1.3, b: 0.5, angle: 0.5, centre: [0, 0] };
  let points = placed(cloud);
  let alpha = 1;

  const view = plane(REACH, "Ten points, to be moved with the arrow keys, and the ends of two axes");
  const ellipse = svg("ellipse", { class: "outline" });
  const axes = svg("path", { class: "outline" });
  view.root.append(ellipse, axes);

  const dots = circle.map((_, i) =>
    handle(view, {
      label: `point ${i + 1}`,
      kind: "point",
      size: 0.11,
      read: () => points[i],
      move: (x, y) => {
        points = points.map((point, j) => (i === j ? [x, y] : point));
        cloud = fitted(points, cloud.base);
        draw();
      },
    }));
  const ends = ["a", "b"].map((axis, j) =>
    handle(view, {
      label: `end of axis ${j + 1}`,
      kind: "end",
      size: 0.16,
      read: () => {
        const [length, angle] = [Math.SQRT2 * cloud[axis], cloud.angle + (j * Math.PI) / 2];
        const [x, y] = cloud.centre;
        return [x + length * Math.cos(angle), y + length * Math.sin(angle)];
      },
      move: (x, y) => {
        const [mx, my] = cloud.centre;
        const length = Math.hypot(x - mx, y - my);
        const angle = length > 0.08 ? Math.atan2(y - my, x - mx) - (j * Math.PI) / 2 : cloud.angle;
        cloud = { ...cloud, [axis]: length > 0.08 ? length / Math.SQRT2 : 0, angle };
        settle();
      },
    }));

  const spectrum = bars("Shares of the two eigenvalues");
  const table = numbers([
    ["first", "eigenvalue λ₁"],
    ["second", "eigenvalue λ₂"],
    ["share", "share of λ₁"],
    ["H", "matrix entropy H, nats"],
    ["rank", "effective rank exp H"],
    ["renyi", "Rényi entropy"],
  ]);
  const order = slider({
    label: "Rényi order α", name: "alpha", min: 0, max: 6, step: 0.1, value: 1,
    text: (x) => (x === 1 ? "1, that is H" : shown(x, 1)),
    on: (x) => ((alpha = x), draw()),
  });
  const start = (a, b) => () => {
    cloud = { base: circle, a, b, angle: 0.5, centre: [0, 0] };
    settle();
  };

  function settle() {
    points = placed(cloud);
    draw();
  }

  function draw() {
    const now = describe(points, alpha);
    for (const each of [...dots, ...ends]) each.draw();
    const [x, y] = cloud.centre;
    const degrees = (-180 * cloud.angle) / Math.PI;
    for (const [name, value] of Object.entries({ cx: x, cy: -y, rx: Math.SQRT2 * cloud.a, ry: Math.SQRT2 * cloud.b })) {
      ellipse.setAttribute(name, value);
    }
    ellipse.setAttribute("transform", `rotate(${degrees} ${x} ${-y})`);
    axes.setAttribute("d", ends.map(({ dot }) => `M${x} ${-y}L${dot.getAttribute("cx")} ${dot.getAttribute("cy")}`).join(""));
    spectrum.draw(now.shares, 1);
    table.draw({
      first: [now.values[0]],
      second: [now.values[1]],
      share: [now.shares[0], `${shown(100 * now.shares[0], 1)} %`],
      H: [now.H],
      rank: [now.rank],
      renyi: [now.renyi],
    });
    const what = now.values[0] === 0 ? "All rows are equal: entropy 0 by convention. " : "";
    report({ points, alpha },
      `${what}Shares ${shown(100 * now.shares[0], 0)} and ${shown(100 * now.shares[1], 0)} percent, ` +
      `entropy ${shown(now.H)} nats, effective rank ${shown(now.rank, 2)}, Rényi entropy ${shown(now.renyi)}.`);
  }

  box.append(
    view.root,
    el("div", { class: "side" }, spectrum.root, table.root, order.box,
      el("div", { class: "buttons" }, button("Round", start(1, 1)), button("Rank one", start(1.3, 0)), button("All rows equal", start(0, 0)))),
  );
  draw();
});

// Two matrices of one token: their sizes to scale, their one spectrum, and what each costs.
import { entropy, operations, queries, ratio, spectrum } from "./math/grams.js";
import { bars, el, mount, numbers, shown, slider, svg } from "./parts.js";

const HEADS = [2, 4, 8, 16, 28, 32, 64];
const SIZES = [2, 4, 8, 16, 32, 64, 128];

mount("grams", "Change the two matrices", (box, report) => {
  let [heads, size, cost] = [32, 128, 9];
  const sizes = svg("svg", { class: "sizes", viewBox: "0 0 270 134", role: "img", "aria-label": "Both matrices, drawn to one scale" });
  const values = bars("The eigenvalues that both matrices share");
  const table = numbers([
    ["gram", "Gram side, FLOPs a token"],
    ["covariance", "covariance side, FLOPs a token"],
    ["ratio", "covariance over Gram"],
    ["forming", "forming alone: d_h / h"],
    ["cube", "eigenvalues alone: (d_h / h)³"],
    ["H", "entropy, from either, nats"],
  ]);
  const index = (list, name, label, start, on) =>
    slider({ label, name, min: 0, max: list.length - 1, value: list.indexOf(start), text: (i) => String(list[i]), on: (i) => (on(list[i]), draw()) });
  const controls = [
    index(HEADS, "heads", "Heads h", heads, (x) => (heads = x)),
    index(SIZES, "size", "Head size d_h", size, (x) => (size = x)),
    slider({ label: "Eigenvalue cost c", name: "cost", min: 0, max: 30, value: cost, on: (x) => ((cost = x), draw()) }),
  ];

  function draw() {
    const square = (x, side, text, kind) => [
      svg("rect", { class: kind, x, y: 130 - side, width: side, height: side }),
      svg("text", { x: x + 3, y: Math.max(10, 126 - side) }, text),
    ];
    sizes.replaceChildren(...square(2, heads, `h × h = ${heads} × ${heads}`, "positive"), ...square(138, size, "", "negative"),
      svg("text", { x: 141, y: size > 100 ? 14 : 126 - size, class: size > 100 ? "inside" : "" }, `${size} × ${size}`));
    const rows = queries(heads, size);
    const levels = spectrum(rows, heads <= size ? "gram" : "covariance");
    values.draw(levels.slice(0, 16), levels[0]);
    const [gram, covariance] = ["gram", "covariance"].map((side) => operations(heads, size, side, cost).total);
    const times = ratio(heads, size, cost);
    const grouped = (x) => x.toLocaleString("en");
    table.draw({
      gram: [gram, grouped(gram)],
      covariance: [covariance, grouped(covariance)],
      ratio: [times, shown(times, 2)],
      forming: [size / heads, shown(size / heads, 2)],
      cube: [(size / heads) ** 3, shown((size / heads) ** 3, 2)],
      H: [entropy(levels)],
    });
    report({ heads, size, cost },
      `${heads} heads of size ${size}: Gram matrix ${heads} by ${heads}, covariance ${size} by ${size}; ` +
      `the covariance side costs ${shown(times, 2)} times as much.`);
  }

  const named = (text, picture) => el("figure", { class: "small" }, picture, el("figcaption", {}, text));
  box.append(
    el("div", { class: "side" }, named("Gram and covariance, to one scale", sizes), named("their largest eigenvalues, the same for both", values.root)),
    el("div", { class: "side" }, ...controls.map((control) => control.box), table.root),
  );
  draw();
});

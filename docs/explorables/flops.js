// What pruning spares, by model, prompt, budget and counting rule; and which settings round to 68.2 %.
import { isHeadline, keepFor, readings, reduction } from "./math/flops.js";
import { choice, data, el, mount, numbers, shown, slider, svg } from "./parts.js";

const BUDGETS = [192, 128, 64];

/** A list of numbers with neighbours joined: 81, 82, 83 become 81 to 83. */
function joined(values) {
  const runs = [];
  for (const value of values) {
    if (runs.length && runs.at(-1)[1] === value - 1) runs.at(-1)[1] = value;
    else runs.push([value, value]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`)).join(", ");
}

mount("flops", "Find 68.2 %", async (box, report) => {
  const { models, rules } = await data("flops");
  const state = { model: "llava-1.5-7b", rule: "linear-only", text: 35, visual: 576, average: 128, prune: 2 };

  const change = (name) => (value) => ((state[name] = value), draw());
  const pick = (label, name, table) =>
    choice({ label, name, options: Object.keys(table).map((key) => [key, key]), value: state[name], on: change(name) });
  const slide = (label, name, min, max) => slider({ label, name, min, max, value: state[name], on: change(name) });
  const layer = slide("Prune layer K", "prune", 1, 31);
  const average = slide("Average visual tokens a layer", "average", 0, 576);
  const visual = slider({
    label: "Visual tokens", name: "visual", min: 64, max: 2880, step: 64, value: 576,
    on: (x) => ((state.visual = x), (state.average = Math.min(state.average, x)), average.limit(x, state.average), draw()),
  });
  const table = numbers([["keep", "kept from layer K on"], ["reduction", "fewer FLOPs"], ["headline", "rounds to 68.2 %"]]);
  const source = el("p", { class: "note" });
  const found = el("ul", { class: "readings" });
  const chart = svg("svg", { class: "curve", viewBox: "0 0 200 100", role: "img", "aria-label": "Reduction against text tokens, with a line at 68.2 percent" });

  function drawChart(model, rule, settings) {
    const y = (share) => 100 - 100 * Math.min(1, Math.max(0, (share - 0.3) / 0.65));
    chart.replaceChildren(
      svg("path", { class: "turn", d: `M0 ${y(0.682)}H200` }),
      ...settings.filter(({ keep }) => keep != null).map((setting, i) => {
        const path = Array.from({ length: 41 }, (_, j) => `${j ? "L" : "M"}${5 * j} ${y(reduction(model, rule, { ...setting, text: 5 * j }))}`);
        return svg("path", { class: `line line-${i}`, d: path.join("") });
      }),
      svg("circle", { class: "now", r: 3, cx: state.text, cy: y(reduction(model, rule, settings[0])) }),
      svg("text", { x: 2, y: y(0.682) - 2 }, "68.2 %"),
    );
  }

  function draw() {
    const [model, rule] = [models[state.model], rules[state.rule]];
    if (state.prune >= model.layers) state.prune = model.layers - 1;
    layer.limit(model.layers - 1, state.prune);
    const keep = keepFor(state.average, { layers: model.layers, visual: state.visual, prune: state.prune });
    const setting = { ...state, keep };
    const share = keep == null ? null : reduction(model, rule, setting);
    const hit = share != null && isHeadline(share);
    table.draw({
      keep: [keep ?? "", keep == null ? "this average cannot be met" : String(keep)],
      reduction: [share ?? "", share == null ? "–" : `${shown(100 * share, 2)} %`],
      headline: [hit ? 1 : 0, hit ? "yes" : "no"],
    });
    source.textContent = rule.source.replaceAll("^2", "²");
    const others = BUDGETS.map((budget) => ({
      ...state, average: budget, keep: keepFor(budget, { layers: model.layers, visual: state.visual, prune: state.prune }),
    }));
    found.replaceChildren(...others.map((other) => {
      const texts = other.keep == null ? [] : readings(model, rule, other);
      const what = other.keep == null ? "cannot be met" : texts.length ? `${joined(texts)} text tokens` : "no number of text tokens below 400";
      return el("li", {}, `average ${other.average}: ${what}`);
    }));
    if (keep == null) chart.replaceChildren();
    else drawChart(model, rule, [setting, ...others]);
    report({ ...state, keep },
      keep == null ? "This average cannot be met at this layer." : `${keep} tokens kept, ${shown(100 * share, 2)} percent fewer FLOPs${hit ? ": the headline's figure" : ""}.`);
  }

  box.append(
    el("div", { class: "side" }, pick("Model", "model", models).box, pick("Counting rule", "rule", rules).box, source,
      ...[slide("Text tokens", "text", 0, 200), visual, average, layer].map((control) => control.box)),
    el("div", { class: "side" }, table.root, el("p", { class: "note" }, "With this model, rule and layer, 68.2 % comes out of"), found,
      el("figure", { class: "small" }, chart, el("figcaption", {}, "Reduction from 0 to 200 text tokens: your budget, and averages of 192, 128 and 64"))),
  );
  draw();
});

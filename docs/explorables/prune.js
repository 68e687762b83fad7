// An image of the little world, pruned: which patches are kept, what the bundled model then answers, where the entropy falls.
import { collapse, kept, spoken, unpacked } from "./math/prune.js";
import { choice, data, el, mount, numbers, shown, slider, svg } from "./parts.js";

const NAMES = {
  "token-entropy-paper": "token entropy, PAPER",
  "token-entropy-row_normalized": "token entropy, ROW_NORMALIZED",
  "token-entropy-released": "token entropy, RELEASED",
  "last-token-attention": "attention of the last token (a rival)",
  random: "random (a control)",
  "lowest-entropy": "lowest entropy (a control)",
};

mount("prune", "Prune an image yourself", async (box, report) => {
  const all = await data("prune");
  const { side, keeps, layers, words, images, rankings, answers } = all;
  const state = { image: 1, question: 0, scorer: "token-entropy-paper", layer: 0, budget: keeps.indexOf(32) };

  const photo = svg("image", { width: side, height: side });
  const veil = svg("g", {});
  const picture = svg("svg", { class: "picture", viewBox: `0 0 ${side} ${side}`, role: "img" }, photo, veil);
  const curve = svg("svg", { class: "curve", viewBox: "0 0 200 90", role: "img" });
  const table = numbers([["layer", "entropy of this image falls most into state"], ["drop", "and by how many nats"], ["right", "questions still answered right"]]);
  const body = el("tbody");
  const asked = el("table", { class: "answers" },
    el("thead", {}, el("tr", {}, ...["question", "all tokens", "pruned"].map((text) => el("th", { scope: "col" }, text)))), body);

  const change = (name) => (value) => ((state[name] = value), draw());
  const number = (name) => (value) => change(name)(Number(value));
  const question = choice({
    label: "Question", name: "question", value: "0", on: number("question"),
    options: images[1].questions.map((text, i) => [String(i), text]),
  });
  const controls = [
    slider({ label: "Image", name: "image", min: 0, max: images.length - 1, value: state.image, text: (i) => `${i + 1} of ${images.length}`, on: change("image") }),
    choice({ label: "Scorer", name: "scorer", options: Object.keys(rankings).map((name) => [name, NAMES[name] ?? name]), value: state.scorer, on: change("scorer") }),
    slider({ label: "Prune layer", name: "layer", min: 0, max: layers.length - 1, value: state.layer, text: (i) => String(layers[i]), on: change("layer") }),
    slider({ label: "Tokens kept", name: "budget", min: 0, max: keeps.length - 1, value: state.budget, text: (i) => `${keeps[i]} of ${side * side}`, on: change("budget") }),
    question,
  ];

  function drawCurve(values, found) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const x = (i) => 10 + (180 * i) / (values.length - 1);
    const y = (value) => 72 - (60 * (value - least)) / (most - least || 1);
    const marks = found.layer == null ? [] : [svg("rect", { class: "fall", x: x(found.layer - 1), y: 2, width: x(1) - x(0), height: 74 })];
    curve.replaceChildren(
      ...marks,
      svg("path", { class: "line", d: values.map((value, i) => `${i ? "L" : "M"}${x(i)} ${y(value)}`).join("") }),
      ...values.map((value, i) => svg("circle", { class: "now", r: 2.4, cx: x(i), cy: y(value) })),
      ...values.map((_, i) => svg("text", { x: x(i) - 2, y: 86 }, String(i))),
    );
    curve.setAttribute("aria-label", `Entropy at states 0 to ${values.length - 1}: ${values.map((value) => shown(value, 2)).join(", ")} nats`);
  }

  function draw() {
    const image = images[state.image];
    const keep = keeps[state.budget];
    const rows = rankings[state.scorer][state.layer][state.image];
    const tokens = kept(unpacked(rows[rows.length === 1 ? 0 : state.question]), keep);
    const now = spoken(answers[state.scorer][state.layer][state.budget][state.image], words);
    const whole = spoken(image.unpruned, words);
    const inside = new Set(tokens);
    photo.setAttribute("href", `data:image/jpeg;base64,${image.jpeg}`);
    veil.replaceChildren(...Array.from({ length: side * side }, (_, token) =>
      svg("rect", { class: inside.has(token) ? "kept" : "dropped", x: token % side, y: Math.floor(token / side), width: 1, height: 1 })));
    picture.setAttribute("aria-label", `Image ${state.image + 1}: ${keep} of ${side * side} patches kept`);
    question.refill(image.questions);
    body.replaceChildren(...image.questions.map((text, i) => {
      const judged = (answer) => el("td", { class: answer === image.right[i] ? "is-right" : "is-wrong" }, `${answer || "(nothing)"} ${answer === image.right[i] ? "✓" : "✗"}`);
      return el("tr", { class: i === state.question ? "asked" : "" }, el("th", { scope: "row" }, text), judged(whole[i]), judged(now[i]));
    }));
    const found = collapse(image.curve);
    drawCurve(image.curve, found);
    const right = now.filter((answer, i) => answer === image.right[i]).length;
    table.draw({ layer: [found.layer ?? "", found.layer == null ? "none" : String(found.layer)], drop: [found.drop], right: [right, `${right} of ${now.length}`] });
    report({ ...state, keep, tokens, answers: now },
      `${keep} of ${side * side} tokens kept from layer ${layers[state.layer]} on: ${right} of ${now.length} questions answered right. ` +
      `To “${image.questions[state.question]}” the model says “${now[state.question]}”; right is “${image.right[state.question]}”.`);
  }

  box.append(
    el("div", { class: "side" }, picture, el("figure", { class: "small" }, curve, el("figcaption", {}, "Entropy of the visual tokens at each state"))),
    el("div", { class: "side" }, ...controls.map((control) => control.box), asked, table.root),
  );
  draw();
});

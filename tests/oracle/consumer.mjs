// A consumer of the vectors that shares no code with the package: node consumer.mjs VECTORS RESULTS [BUG]
// It reads the files, computes every case itself in float64, and writes its answers for the judge.
// BUG plants one of the bugs that the flags name.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [folder, results, bug] = process.argv.slice(2);

// files

function readSafetensors(path) {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8"));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const own = bytes.subarray(8 + length + begin, 8 + length + end);
    const data = [];
    for (let at = 0; at < own.length; at += 8) {
      data.push(dtype === "F64" ? own.readDoubleLE(at) : Number(own.readBigInt64LE(at)));
    }
    tensors.set(name, { shape, data });
  }
  return tensors;
}

function writeSafetensors(path, tensors, metadata) {
  const header = { __metadata__: metadata };
  const parts = [];
  let offset = 0;
  for (const [name, { shape, data, integer }] of tensors) {
    const part = Buffer.alloc(8 * data.length);
    data.forEach((x, i) => (integer ? part.writeBigInt64LE(BigInt(x), 8 * i) : part.writeDoubleLE(x, 8 * i)));
    header[name] = { dtype: integer ? "I64" : "F64", shape, data_offsets: [offset, offset + part.length] };
    parts.push(part);
    offset += part.length;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  writeFileSync(path, Buffer.concat([length, Buffer.from(text), ...parts]));
}

const files = { "inputs.safetensors": readSafetensors(join(folder, "inputs.safetensors")) };

function drawn({ shape, recipe: { stream, low, high, divide } }) {
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = createHash("shake256", { outputLength: 4 * count }).update(stream).digest();
  const data = [];
  for (let at = 0; at < bytes.length; at += 4) {
    data.push((low + (bytes.readUInt32LE(at) % (high - low + 1))) / divide);
  }
  return { shape, data };
}

function input(value) {
  if (value === null || typeof value !== "object") return value;
  if ("prefix" in value) {
    const own = [...files[value.file]].filter(([name]) => name.startsWith(value.prefix));
    return Object.fromEntries(own.map(([name, tensor]) => [name.slice(value.prefix.length), tensor]));
  }
  if ("recipe" in value) return drawn(value);
  if ("tensor" in value) return files[value.file].get(value.tensor);
  return value; // an array with its data, or the sizes of a decoder
}

// linear algebra

const sum = (xs) => xs.reduce((a, b) => a + b, 0);
const dot = (a, b) => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
};
const range = (n) => Array.from({ length: n }, (_, i) => i);

/** The matrices that the last two axes of an array hold, as lists of rows. */
function matrices({ shape, data }) {
  const [rows, columns] = shape.slice(-2);
  if (!rows || !columns || !data.every(Number.isFinite)) throw new Error("no finite matrix");
  const count = data.length / (rows * columns);
  return range(count).map((m) =>
    range(rows).map((r) => data.slice((m * rows + r) * columns, (m * rows + r + 1) * columns)));
}

function centred(rows) {
  if (bug === "NoCentring") return rows;
  const mean = rows[0].map((_, c) => sum(rows.map((row) => row[c])) / rows.length);
  return rows.map((row) => row.map((x, c) => x - mean[c]));
}

const gram = (rows) => rows.map((a) => rows.map((b) => dot(a, b)));

/** Eigenvalues of a symmetric matrix by cyclic Jacobi rotations. */
function eigenvalues(matrix) {
  const a = matrix.map((row) => Float64Array.from(row));
  const n = a.length;
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = 0; q < p; q++) off += a[p][q] ** 2;
    if (off <= 1e-34 * sum(a.map((row) => dot(row, row)))) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (const row of a) {
          const x = row[p], y = row[q];
          row[p] = c * x - s * y;
          row[q] = s * x + c * y;
        }
        const first = a[p], second = a[q];
        for (let k = 0; k < n; k++) {
          const x = first[k], y = second[k];
          first[k] = c * x - s * y;
          second[k] = s * x + c * y;
        }
      }
    }
  }
  return a.map((row, i) => row[i]);
}

// entropies (sections 1 and 3)

const log = bug === "Log2" ? Math.log2 : Math.log;
const entropy = (levels) => -sum(levels.filter((x) => x > 0).map((x) => x * log(x))) + 0;

function normalizedEntropy(rows) {
  const transposed = rows[0].map((_, c) => rows.map((row) => row[c]));
  const levels = eigenvalues(gram(rows.length < rows[0].length ? rows : transposed)).map((x) => Math.max(x, 0));
  const trace = sum(levels);
  return trace > 0 ? entropy(levels.map((x) => x / trace)) : 0;
}

function tokenEntropy(heads, convention) {
  if (bug === "OtherConvention") convention = convention === "paper" ? "released" : "paper";
  let rows = centred(heads);
  if (convention === "released") {
    if (rows.length < 2) throw new Error("log 1 divides");
    const levels = eigenvalues(gram(rows)).map((x) => Math.max(x / rows.length, 1e-10));
    return entropy(levels) / Math.log(rows.length);
  }
  if (convention === "row_normalized") {
    const norms = rows.map((row) => Math.hypot(...row));
    rows = rows.map((row, i) => (norms[i] > 0 ? row.map((x) => x / norms[i]) : row));
  }
  return normalizedEntropy(rows);
}

// decisions (sections 4 and 5)

function collapseLayer({ shape, data }) {
  const states = shape.at(-1);
  if (states < 2 || !data.every(Number.isFinite)) throw new Error("no curve");
  const samples = data.length / states;
  const drop = (s, i) => data[s * states + i] - data[s * states + i + 1];
  const drops = range(states - 1).map((i) => sum(range(samples).map((s) => drop(s, i))) / samples);
  const floor = 2 ** -42 * Math.max(...data.map(Math.abs));
  const largest = Math.max(...drops);
  return largest > floor ? drops.findIndex((one) => one >= largest - floor) + 1 : 0;
}

function tokensToKeep({ average, visual_tokens: visual, layers, prune_layer: layer }) {
  if (layer < 1 || layer >= layers || average < 0 || average > visual) throw new Error("out of range");
  const [whole, digits = ""] = String(average).split(".");
  const unit = 10n ** BigInt(digits.length);
  const left = BigInt(layers) * BigInt(whole + digits) - BigInt(layer * visual) * unit;
  if (left < 0n) throw new Error("infeasible");
  const per = BigInt(layers - layer) * unit;
  return bug === "RoundedBudget" ? (2n * left + per) / (2n * per) : left / per;
}

function select(scores, keep) {
  if (keep < 0 || keep > scores.length || !scores.every(Number.isFinite)) throw new Error("no such selection");
  const ties = bug === "TieToLater" ? -1 : 1;
  const order = range(scores.length).sort((i, j) => scores[j] - scores[i] || ties * (i - j));
  return order.slice(0, keep).sort((i, j) => i - j);
}

/** Largest remainder; the earlier of equal ones. */
function split(keep, counts) {
  const total = sum(counts);
  const parts = counts.map((count) => Math.floor((keep * count) / total));
  const rest = (i) => (keep * counts[i]) % total;
  const order = range(counts.length).sort((i, j) => rest(j) - rest(i) || i - j);
  for (const i of order.slice(0, keep - sum(parts))) parts[i] += 1;
  return parts;
}

/** The places that are left, ascending: all text, and the selected visual tokens. */
function left(imageIndex, attended, scores, keep, overImages) {
  const visual = range(imageIndex.length).filter((i) => imageIndex[i] >= 0);
  const images = [...new Set(imageIndex.filter((i) => i >= 0))].sort((a, b) => a - b);
  const spans = overImages === "all" ? [visual] : images.map((n) => visual.filter((i) => imageIndex[i] === n));
  if (keep < 0 || keep > visual.length) throw new Error("out of range");
  const parts = split(keep, spans.map((span) => span.length));
  const kept = new Set(spans.flatMap((span, s) => select(span.map((i) => scores[i]), parts[s]).map((i) => span[i])));
  return range(imageIndex.length).filter((i) => attended[i] && (imageIndex[i] < 0 || kept.has(i)));
}

function keptPositions(given) {
  const [index, attended, scores] = [given.image_index.data, given.attended.data, given.scores.data];
  const places = left(index, attended, scores, given.keep, given.over_images);
  const total = sum(attended);
  const before = (place) => sum(attended.slice(0, place));
  return {
    places,
    positions: bug === "PositionsRenumbered" ? range(places.length) : places.map(before),
    cache_lengths: range(given.layers).map((layer) => (layer < given.prune_layer ? total : places.length)),
    next_position: total,
  };
}

// FLOPs (section 6), in BigInt

function prefillFlops(given) {
  const g = Object.fromEntries(Object.entries(given).map(([k, v]) => [k, typeof v === "number" ? BigInt(v) : v]));
  const width = g.heads * g.head_dim;
  const matrices = bug === "MlpMatrices" ? 5n - g.mlp_matrices : g.mlp_matrices;
  const layer = (n) => {
    const pairs = { full: n * n, causal: (n * (n + 1n)) / 2n, none: 0n }[g.attention];
    const linear = 2n * width + 2n * g.kv_heads * g.head_dim + g.mlp * matrices;
    return 2n * n * g.hidden * linear + 4n * pairs * width;
  };
  const pruned = g.keep !== undefined;
  const [split, kept] = pruned ? [g.prune_layer, g.keep] : [0n, g.visual_tokens];
  if (pruned && (split < 1n || split >= g.layers || kept > g.visual_tokens)) throw new Error("out of range");
  const after = kept + g.text_tokens;
  const heads = { none: 0n, last: after > 0n ? 1n : 0n, all: after }[g.lm_head];
  const scoring = g.scoring ? g.visual_tokens * (width + 2n * g.heads ** 2n * g.head_dim + 9n * g.heads ** 3n) : 0n;
  const layers = split * layer(g.visual_tokens + g.text_tokens) + (g.layers - split) * layer(after);
  return layers + 2n * heads * g.hidden * g.vocabulary + scoring;
}

// a pruned prefill (section 5): tokens are gathered, keys and values cached

function prunedPrefill(given, convention) {
  const { weights, sizes, prune_layer: K } = given;
  const { heads, kv_heads: kvHeads, head_dim: dim } = sizes;
  const rows = ({ shape, data }) => range(shape[0]).map((r) => data.slice(r * shape[1], (r + 1) * shape[1]));
  const linear = Object.fromEntries(
    Object.entries(weights).filter(([, w]) => w.shape.length === 2).map(([name, w]) => [name, rows(w)]));
  const times = (name, x) => linear[`${name}.weight`].map((row) => dot(row, x));
  const norm = (name, x) => {
    const scale = 1 / Math.sqrt(dot(x, x) / x.length + sizes.norm_eps);
    return x.map((v, i) => v * scale * weights[`${name}.weight`].data[i]);
  };
  const rotate = (x, position) => {
    const half = dim / 2;
    return x.map((v, i) => {
      const angle = position * sizes.rope_theta ** (-(i % half) / half);
      return v * Math.cos(angle) + (i < half ? -x[i + half] : x[i - half]) * Math.sin(angle);
    });
  };
  const byHead = (x) => range(x.length / dim).map((h) => x.slice(h * dim, (h + 1) * dim));
  const caches = range(sizes.layers).map(() => []);

  /** One layer on one token: looks at all that is cached and not padding, and at itself. */
  const step = (number, token) => {
    const name = `layers.${number}`;
    const x = norm(`${name}.input_layernorm`, token.state);
    const turned = (kind) => byHead(times(`${name}.self_attn.${kind}`, x)).map((v) => rotate(v, token.position));
    token.queries = turned("q_proj");
    const values = byHead(times(`${name}.self_attn.v_proj`, x));
    const own = { keys: turned("k_proj"), values, attended: token.attended };
    caches[number].push(own);
    const seen = caches[number].filter((entry) => entry.attended || entry === own);
    const mixed = token.queries.flatMap((query, h) => {
      const kv = Math.floor((h * kvHeads) / heads);
      const scores = seen.map((entry) => dot(query, entry.keys[kv]) / Math.sqrt(dim));
      const powers = scores.map((score) => Math.exp(score - Math.max(...scores)));
      return range(dim).map((d) => dot(powers, seen.map((entry) => entry.values[kv][d])) / sum(powers));
    });
    const middle = times(`${name}.self_attn.o_proj`, mixed).map((v, i) => v + token.state[i]);
    const y = norm(`${name}.post_attention_layernorm`, middle);
    const up = times(`${name}.mlp.up_proj`, y);
    const inner = times(`${name}.mlp.gate_proj`, y).map((v, i) => (v / (1 + Math.exp(-v))) * up[i]);
    token.state = times(`${name}.mlp.down_proj`, inner).map((v, i) => v + middle[i]);
  };

  let tokens = rows(given.embeddings).map((state, place) => (
    { state, place, position: given.positions.data[place], attended: given.attended.data[place] === 1 }));
  const total = 1 + Math.max(...tokens.filter((t) => t.attended).map((t) => t.position));
  for (let number = 0; number < K; number++) for (const token of tokens) step(number, token);
  const scores = tokens.map((token) => tokenEntropy(token.queries, convention));
  const kept = given.kept?.data ?? left(given.image_index.data, given.attended.data, scores, given.keep, "each");
  tokens = tokens.filter((token) => kept.includes(token.place));
  if (bug === "PositionsRenumbered") tokens.forEach((token, i) => (token.position = i));
  for (let number = K; number < sizes.layers; number++) for (const token of tokens) step(number, token);
  for (const [i, state] of rows(given.continuation).entries()) {
    const token = { state, position: total + i, attended: true };
    for (let number = 0; number < sizes.layers; number++) step(number, token);
    tokens.push(token);
  }
  const logits = tokens.flatMap((token) => times("lm_head", norm("norm", token.state)));
  return { kept, logits: { shape: [tokens.length, sizes.vocabulary], data: logits } };
}

// answers

const floats = (data, shape) => ({ data, shape });

function integers(value, shape) {
  return { data: [value].flat(), shape: shape ?? (Array.isArray(value) ? [value.length] : []), integer: true };
}

/** One number for each matrix that an array holds. */
const each = (array, number) => floats(matrices(array).map(number), array.shape.slice(0, -2));

const contracts = {
  matrix_entropy: ({ features }) => ({ entropy: each(features, (m) => normalizedEntropy(centred(m))) }),
  layer_entropy: ({ states }) => ({ entropy: each(states, (m) => normalizedEntropy(centred(m))) }),
  token_entropy: ({ queries }, convention) => ({ entropy: each(queries, (m) => tokenEntropy(m, convention)) }),
  collapse_layer: ({ curves }) => ({ layer: integers(collapseLayer(curves)) }),
  tokens_to_keep: (given) => ({ keep: integers(tokensToKeep(given)) }),
  select_tokens({ scores: { shape, data }, keep }) {
    const tokens = shape.at(-1);
    const kept = range(data.length / tokens).flatMap((r) => select(data.slice(r * tokens, (r + 1) * tokens), keep));
    return { kept: integers(kept, [...shape.slice(0, -1), keep]) };
  },
  token_selection({ queries, keep }, convention) {
    return { kept: integers(select(matrices(queries).map((m) => tokenEntropy(m, convention)), keep)) };
  },
  kept_positions(given) {
    return Object.fromEntries(Object.entries(keptPositions(given)).map(([name, value]) => [name, integers(value)]));
  },
  prefill_flops: (given) => ({ flops: integers(prefillFlops(given)) }),
  pruned_prefill(given, convention) {
    const { kept, logits } = prunedPrefill(given, convention);
    return { kept: integers(kept), logits };
  },
};

const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
const { cases } = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
const answers = new Map();
let rejected = 0;
for (const { id, contract, convention, inputs } of cases) {
  if (bug && Object.values(inputs).some((value) => value?.recipe)) continue; // real sizes take long, and add nothing here
  const given = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, input(value)]));
  try {
    const found = Object.entries(contracts[contract](given, convention));
    for (const [name, answer] of found) answers.set(`${id}.${name}`, answer);
  } catch {
    answers.set(`${id}.rejected`, integers([1]));
    rejected += 1;
  }
}
writeSafetensors(results, answers, { format_version: "2", set: manifest.set, dtype: "float64" });
console.log(`${cases.length - rejected} cases answered, ${rejected} rejected`);

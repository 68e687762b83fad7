// FLOPs of a prompt, pruned and not (Eqs. 6.1 to 6.3), by any counting rule, and the budget (Eq. 5.1).

/** The decoder that a rule believes to count. */
function seen(size, rule) {
  const square = rule.square_attention ? { heads: 1, kv_heads: 1, head_dim: size.hidden } : {};
  return { ...size, ...square, mlp_matrices: rule.mlp_matrices ?? size.mlp_matrices };
}

/** FLOPs of one layer on n tokens (Eq. 6.1). */
export function layer(size, n, attention) {
  const pairs = { full: n * n, causal: (n * (n + 1)) / 2, none: 0 }[attention];
  const width = size.heads * size.head_dim;
  const linear = 4 * n * size.hidden * (width + size.kv_heads * size.head_dim);
  return linear + 4 * pairs * width + 2 * n * size.hidden * size.mlp * size.mlp_matrices;
}

function head(size, tokens, rule) {
  const positions = { none: 0, last: Math.min(1, tokens), all: tokens }[rule.lm_head];
  return 2 * positions * size.hidden * size.vocabulary;
}

/** An unpruned prompt, in the rule's unit (Eq. 6.2). */
export function prefill(model, rule, { text, visual }) {
  const size = seen(model, rule);
  const total = size.layers * layer(size, text + visual, rule.attention) + head(size, text + visual, rule);
  return (total * rule.flops_per_multiply_add) / 2;
}

/** A pruned prompt, in the rule's unit (Eq. 6.3). */
export function pruned(model, rule, { text, visual, prune, keep }) {
  const size = seen(model, rule);
  const before = prune * layer(size, text + visual, rule.attention);
  const after = (size.layers - prune) * layer(size, text + keep, rule.attention);
  return ((before + after + head(size, text + keep, rule)) * rule.flops_per_multiply_add) / 2;
}

/** The share that pruning spares. */
export const reduction = (model, rule, setting) => 1 - pruned(model, rule, setting) / prefill(model, rule, setting);

/** Tokens to keep for an average over all layers (Eq. 5.1), or null where it cannot be met. */
export function keepFor(average, { layers, visual, prune }) {
  const keep = Math.trunc((layers * average - prune * visual) / (layers - prune));
  return layers * average < prune * visual || keep > visual ? null : keep;
}

/** Whether a share rounds to 68.2 %. */
export const isHeadline = (share) => share >= 0.6815 && share < 0.6825;

/** The numbers of text tokens, below `most`, at which a budget's reduction rounds to 68.2 %. */
export function readings(model, rule, setting, most = 400) {
  const found = [];
  for (let text = 0; text < most; text++) if (isHeadline(reduction(model, rule, { ...setting, text }))) found.push(text);
  return found;
}

// One token's queries under the three conventions (Eqs. 3.1 to 3.4): `queries` is a list of heads, each a list.
import { centred, eigenvalues, entropy, gram, trace } from "./spectrum.js";

const CLAMP = 1e-10;

/** Rows over their norm; what rounding leaves of a zero row stays zero. */
function unit(rows, queries) {
  const largest = Math.max(...queries.flat().map(Math.abs));
  const rounding = (rows.length + rows[0].length) * Number.EPSILON * largest;
  return rows.map((row) => {
    const norm = Math.hypot(...row);
    return row.map((x) => (row.every((y) => Math.abs(y) <= rounding) ? 0 : x / norm));
  });
}

/** Gram matrix, spectrum and the three scores of a token; s is the energy over heads, turn the s of the largest score. */
export function scores(queries) {
  const heads = queries.length;
  const rows = centred(queries);
  const matrix = gram(rows);
  const values = eigenvalues(matrix).map((x) => Math.max(x, 0));
  const paper = entropy(values);
  const levels = values.map((x) => Math.max(x / heads, CLAMP));
  return {
    matrix,
    values,
    s: trace(matrix) / heads,
    paper,
    row: entropy(eigenvalues(gram(unit(rows, queries)))),
    released: -levels.reduce((sum, x) => sum + x * Math.log(x), 0) / Math.log(heads),
    turn: Math.exp(paper - 1),
  };
}

/** The released score by its identity, without the clamp (Eq. 3.4): a function of energy and entropy. */
export const identity = (s, H, heads) => (s > 0 ? (s * H - s * Math.log(s)) / Math.log(heads) : 0);

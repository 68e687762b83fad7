// Spectra and their entropies (Eqs. 1.1 to 1.6) of small matrices: lists of rows, in nats.

/** Rows less their mean (Eq. 1.1); what rounding leaves of equal columns is zero. */
export function centred(rows) {
  const columns = rows[0].map((_, j) => {
    const column = rows.map((row) => row[j]);
    const mean = column.reduce((a, b) => a + b, 0) / rows.length;
    return column.every((x) => x === column[0]) ? column.map(() => 0) : column.map((x) => x - mean);
  });
  return rows.map((_, i) => columns.map((column) => column[i]));
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** All products of two rows: samples × samples. */
export const gram = (rows) => rows.map((a) => rows.map((b) => dot(a, b)));

/** All products of two columns: features × features. */
export const transposed = (rows) => rows[0].map((_, j) => rows.map((row) => row[j]));

export const trace = (matrix) => matrix.reduce((sum, row, i) => sum + row[i], 0);

/** Eigenvalues of a symmetric matrix, largest first, by Jacobi's rotations. */
export function eigenvalues(matrix) {
  const a = matrix.map((row) => [...row]);
  const n = a.length;
  const size = Math.max(...a.flat().map(Math.abs));
  for (let sweep = 0; sweep < 40; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        off = Math.max(off, Math.abs(a[p][q]));
        if (Math.abs(a[p][q]) <= 1e-18 * size) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < n; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
      }
    }
    if (off <= 1e-17 * size) break;
  }
  return a.map((row, i) => row[i]).sort((x, y) => y - x);
}

/** Eigenvalues over their sum; those that rounding made negative are zero, and nothing divides by a zero sum. */
export function shares(values) {
  const positive = values.map((x) => Math.max(x, 0));
  const sum = positive.reduce((a, b) => a + b, 0);
  return positive.map((x) => (sum > 0 ? x / sum : 0));
}

const xlogx = (x) => (x > 0 ? x * Math.log(x) : 0);

/** Entropy of eigenvalues given up to scale (Eq. 1.4); 0 where all are zero. */
export const entropy = (values) => Math.abs(shares(values).reduce((sum, x) => sum - xlogx(x), 0));

/** Rényi entropy of order alpha (Eq. 1.5), of shares above rounding; Infinity is an order, too. */
export function renyi(values, alpha) {
  const positive = shares(values).filter((x) => x > 1e-14);
  if (positive.length === 0) return 0;
  if (alpha === 1) return entropy(values);
  if (alpha === Infinity) return Math.abs(Math.log(positive[0]));
  return Math.log(positive.reduce((sum, x) => sum + x ** alpha, 0)) / (1 - alpha) + 0;
}

// Two matrices with one spectrum (Eqs. 2.1 to 2.3), and what each costs (Eq. 6.4).
import { centred, eigenvalues, entropy, gram, transposed } from "./spectrum.js";

/** Queries that look random and are the same everywhere: heads × size, weaker from feature to feature. */
export const queries = (heads, size) =>
  Array.from({ length: heads }, (_, i) =>
    Array.from({ length: size }, (_, j) => Math.sin((i + 1) * (j + 1) * 12.9898 + 78.233 * j) / Math.sqrt(j + 1)));

/** The spectrum of a side, "gram" or "covariance", over the number of heads. */
export function spectrum(rows, side) {
  const rest = centred(rows);
  return eigenvalues(gram(side === "gram" ? rest : transposed(rest))).map((x) => Math.max(x, 0) / rows.length);
}

export { entropy };

/** FLOPs of one token on a side: centring, forming the matrix, eigenvalues at `cost` times the cube. */
export function operations(heads, size, side, cost) {
  const [own, other] = side === "gram" ? [heads, size] : [size, heads];
  const parts = { centring: heads * size, forming: 2 * own ** 2 * other, eigenvalues: cost * own ** 3 };
  return { ...parts, total: parts.centring + parts.forming + parts.eigenvalues };
}

/** How many times as much the covariance side costs. */
export const ratio = (heads, size, cost) =>
  operations(heads, size, "covariance", cost).total / operations(heads, size, "gram", cost).total;

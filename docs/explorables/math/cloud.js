// A cloud of points in the plane: its covariance, spectrum and entropies (Eqs. 1.1 to 1.6).
import { centred, eigenvalues, entropy, gram, renyi, shares, transposed } from "./spectrum.js";

/** Covariance (Eq. 1.2) of points as rows. */
export const covariance = (points) =>
  gram(transposed(centred(points))).map((row) => row.map((x) => x / points.length));

/** All that is shown of a cloud: `points` is a list of [x, y]. */
export function describe(points, alpha) {
  const values = eigenvalues(covariance(points)).map((x) => Math.max(x, 0));
  const H = entropy(values);
  return { values, shares: shares(values), H, rank: Math.exp(H), renyi: renyi(values, alpha) };
}

/** Points of a cloud: `base` stretched by (a, b), turned by an angle, and moved to a centre. */
export function placed({ base, a, b, angle, centre }) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return base.map(([u, v]) => [centre[0] + c * a * u - s * b * v, centre[1] + s * a * u + c * b * v]);
}

/** The cloud that given points are: `placed` gives them back; an axis without length keeps the places it had. */
export function fitted(points, before) {
  const [[xx, xy], [, yy]] = covariance(points);
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const centre = [0, 1].map((j) => points.reduce((sum, point) => sum + point[j], 0) / points.length);
  const turned = centred(points).map(([x, y]) => [c * x + s * y, c * y - s * x]);
  const [a, b] = eigenvalues(covariance(points)).map((x) => (x > 1e-12 ? Math.sqrt(x) : 0));
  const base = turned.map(([u, v], i) => [a > 0 ? u / a : before[i][0], b > 0 ? v / b : before[i][1]]);
  return { base, a, b, angle, centre };
}

// What is kept of a ranking (Eq. 5.2), and where a curve collapses (Eqs. 4.2 to 4.4).

/** A ranking of tokens, best first, from its packed form: one byte a token, in base 64. */
export const unpacked = (text) => Array.from(atob(text), (character) => character.charCodeAt(0));

/** The words of a row of answers: a letter each, A for the first. */
export const spoken = (letters, words) => Array.from(letters, (letter) => words[letter.charCodeAt(0) - 65]);

/** The tokens that are kept, in their order in the prompt. */
export const kept = (ranking, keep) => ranking.slice(0, keep).sort((a, b) => a - b);

/** The state after the largest drop, the earliest of equal ones, or null where nothing falls; drop and sharpness. */
export function collapse(curve) {
  const drops = curve.slice(1).map((value, i) => curve[i] - value);
  const rounding = 1024 * Number.EPSILON * Math.max(...curve.map(Math.abs));
  const largest = Math.max(...drops);
  if (largest <= rounding) return { layer: null, drop: largest, sharpness: 0 };
  const place = drops.findIndex((drop) => drop >= largest - rounding);
  const others = drops.filter((_, i) => i !== place);
  const mean = others.reduce((a, b) => a + b, 0) / others.length;
  const spread = Math.sqrt(others.reduce((sum, x) => sum + (x - mean) ** 2, 0) / others.length);
  const sharpness = spread > rounding ? (drops[place] - mean) / spread : Infinity;
  return { layer: place + 1, drop: drops[place], sharpness };
}

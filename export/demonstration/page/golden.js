// Whether this browser computes what the machine did that wrote the bundle.

import { cosines } from "./nearest.js";
import { json } from "./bundle.js";

// The limits of keras_distill.device's check_golden.
const MIN_COSINE = 0.98;
const MAX_SCORE_DIFFERENCE = 0.05;

/** The golden pictures, as arrays of pixels, with what was found for each. */
export async function golden() {
  const { images, embeddings, rows, scores, count, k } = await json("bundle/golden.json");
  const pixels = bytes(images);
  const numbers = new Float32Array(bytes(embeddings).buffer);
  const size = pixels.length / count;
  const dim = numbers.length / count;
  return Array.from({ length: count }, (_, i) => ({
    pixels: pixels.slice(i * size, (i + 1) * size),
    embedding: numbers.slice(i * dim, (i + 1) * dim),
    neighbours: rows.slice(i * k, (i + 1) * k).map((index, j) => ({
      index,
      score: scores[i * k + j],
    })),
  }));
}

/**
 * Runs the golden pictures.
 *
 * @returns `{agrees, count, cosine, difference, same}`: least cosine to the stored
 *   embeddings, largest difference of a score, how many have the same nearest item.
 */
export async function check(bundle, pictures) {
  let [cosine, difference, same] = [1, 0, 0];
  for (const { pixels, embedding, neighbours } of pictures) {
    const { row } = await bundle.int8.row(pixels);
    cosine = least(cosine, dot(row, embedding));
    const here = cosines(row, bundle.rows);
    for (const { index, score } of neighbours) {
      difference = -least(-difference, -Math.abs(here[index] - score));
    }
    const found = await bundle.find(pixels);
    same += found.neighbours[0].index === neighbours[0].index;
  }
  return {
    agrees: cosine >= MIN_COSINE && difference <= MAX_SCORE_DIFFERENCE,
    count: pictures.length,
    cosine,
    difference,
    same,
  };
}

/** The lesser number, and NaN if one of them is. */
function least(a, b) {
  return a <= b ? a : b <= a ? b : NaN;
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

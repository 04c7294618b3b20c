// Exact search by cosine over unit rows, and several pictures as one query: the arithmetic
// of keras_distill.device.

/**
 * The `k` rows nearest to a query.
 *
 * @param {Float32Array} query of length one, `dim` numbers.
 * @param {Float32Array} rows `count * dim` numbers, rows of length one.
 * @returns `[{index, score}]`, nearest first; of equal scores the lower index.
 */
export function nearest(query, rows, k) {
  const best = [];
  cosines(query, rows).forEach((score, index) => {
    if (best.length === k && score <= best[k - 1].score) return;
    let place = best.length;
    while (place > 0 && best[place - 1].score < score) place--;
    best.splice(place, 0, { index, score });
    if (best.length > k) best.pop();
  });
  return best;
}

/** The cosine of a query to each row. */
export function cosines(query, rows) {
  const dim = query.length;
  return Array.from({ length: rows.length / dim }, (_, row) => {
    let sum = 0;
    for (let i = 0, at = row * dim; i < dim; i++, at++) sum += query[i] * rows[at];
    return sum;
  });
}

/**
 * How much each picture of a group weighs, see keras_distill.device.group_weights.
 *
 * @param {number[]} scores of the pictures.
 * @param options `rescale_above`, `threshold` and `keep` (null for all) of a manifest.
 * @returns {number[]} with a sum of 1.
 */
export function groupWeights(scores, { rescale_above, threshold, keep }) {
  let values = scores.map((score) => Math.max(score, 0));
  let chosen = scores.map(() => true);
  if (scores.length > rescale_above) {
    const low = Math.min(...scores);
    const high = Math.max(...scores);
    values = scores.map((s) => (high - low > 1e-30 ? (s - low) / (high - low) : 1));
    chosen = values.map((value) => value > threshold);
  }
  if (keep !== null) {
    const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
    for (const i of order.slice(keep)) chosen[i] = false;
  }
  values = values.map((value, i) => (chosen[i] ? value : 0));
  let sum = values.reduce((a, b) => a + b, 0);
  if (sum <= 1e-30) {
    values = chosen.map(Number);
    sum = values.reduce((a, b) => a + b, 0);
  }
  return values.map((value) => value / sum);
}

/** The weighted mean of embeddings, brought to length one. */
export function pooled(embeddings, weights) {
  const mean = new Float32Array(embeddings[0].length);
  embeddings.forEach((row, i) => {
    for (let j = 0; j < mean.length; j++) mean[j] += weights[i] * row[j];
  });
  const length = Math.max(Math.hypot(...mean), 1e-12);
  return mean.map((value) => value / length);
}

// Several pictures as one query.

import { groupWeights, pooled } from "./nearest.js";
import { paintPixels } from "./paint.js";
import { element, showResults } from "./results.js";

const $ = (id) => document.getElementById(id);

export class Group {
  constructor(bundle) {
    this.bundle = bundle;
    this.pictures = []; // Uint8Array of each
    $("group").hidden = false;
    $("group-add").onclick = () => this.add(this.offered);
    $("group-clear").onclick = () => {
      this.pictures = [];
      this.show();
    };
  }

  /** The picture that the button would add. */
  offer(pixels) {
    this.offered = pixels;
    $("group-add").disabled = false;
  }

  async add(pixels) {
    this.pictures.push(pixels);
    $("group").open = true;
    await this.show();
  }

  /** Scores, weighs, embeds and searches; shows all of it. */
  async show() {
    const { bundle, pictures } = this;
    $("group-clear").disabled = !pictures.length;
    $("group-members").replaceChildren();
    $("group-results").replaceChildren();
    if (!pictures.length) return;
    const scores = [];
    for (const pixels of pictures) scores.push((await bundle.scorer.row(pixels)).row[0]);
    const weights = groupWeights(scores, bundle.manifest.group);
    const chosen = pictures.map((_, i) => i).filter((i) => weights[i] > 0);
    const rows = [];
    for (const i of chosen) rows.push((await bundle.int8.row(pictures[i])).row);
    const query = pooled(rows, chosen.map((i) => weights[i]));
    showResults($("group-results"), bundle, bundle.nearest(query));
    $("group-members").replaceChildren(
      ...pictures.map((pixels, i) => {
        const member = element("li", weights[i] > 0 ? "" : "out");
        const canvas = document.createElement("canvas");
        paintPixels(canvas, pixels, bundle.shape);
        canvas.ariaHidden = "true";
        const share = `${Math.round(100 * weights[i])} %`;
        member.append(canvas, `score ${scores[i].toFixed(2)}, weighs ${share}`);
        return member;
      }),
    );
  }
}

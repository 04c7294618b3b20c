// What a phone gains and loses: float beside int8, and the files with their sizes.

import { element, showResults } from "./results.js";

const $ = (id) => document.getElementById(id);

export class Panels {
  constructor(bundle) {
    this.bundle = bundle;
    this.turn = 0;
    const { models, files, search } = bundle.manifest;
    $("float-size").textContent = kilobytes(models.float32.bytes);
    $("int8-size").textContent = kilobytes(models.int8.bytes);
    const largest = Math.max(...Object.values(models).map((model) => model.bytes));
    for (const model of Object.values(models)) {
      this.row(model.file, model.bytes, largest, model.recall_at_1, model.cosine_mean);
    }
    if (search) this.row(`${search.file} (the catalogue with it)`, files[search.file].bytes, largest);
    for (const model of Object.values(bundle.manifest.group?.models ?? {})) {
      this.row(model.file, model.bytes, largest);
    }
    $("compare").ontoggle = () => this.pixels && this.show(this.pixels);
  }

  row(name, bytes, largest, recall, cosine) {
    const row = document.createElement("tr");
    const size = element("td", "", kilobytes(bytes));
    const bar = element("span", "bar");
    bar.style.width = `${Math.min(100, (100 * bytes) / largest)}%`;
    size.append(bar);
    row.append(
      element("td", "", name),
      size,
      element("td", "", recall === undefined ? "" : `${(100 * recall).toFixed(2)} %`),
      element("td", "", cosine === undefined ? "" : cosine.toFixed(5)),
    );
    $("files").append(row);
  }

  /** Shows what both networks find for the pixels, where the panel is open. */
  async show(pixels) {
    this.pixels = pixels;
    const turn = ++this.turn;
    if (!$("compare").open) return;
    const { bundle } = this;
    const { row: float } = await bundle.float32.row(pixels);
    const { row: int8 } = await bundle.int8.row(pixels);
    if (turn !== this.turn) return;
    const [one, other] = [bundle.nearest(float), bundle.nearest(int8)];
    showResults($("float-results"), bundle, one);
    showResults($("int8-results"), bundle, other);
    const same = mark($("float-results"), other) && mark($("int8-results"), one);
    const cosine = float.reduce((sum, value, i) => sum + value * int8[i], 0);
    $("compare-said").textContent =
      `${same} of ${one.length} are the same; the cosine of the two embeddings is ` +
      `${cosine.toFixed(4)}. The catalogue is embedded by the int8 file.`;
  }

  clear() {
    this.turn++;
    this.pixels = null;
    $("float-results").replaceChildren();
    $("int8-results").replaceChildren();
  }
}

/** Marks what the other list lacks; returns how many both have. */
function mark(list, others) {
  const known = new Set(others.map(({ index }) => String(index)));
  let same = 0;
  for (const entry of list.children) {
    const there = known.has(entry.dataset.index);
    entry.classList.toggle("other", !there);
    same += there;
  }
  return same;
}

function kilobytes(bytes) {
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

// A bundle as the page uses it: what its manifest says, its catalogue and its networks.

import { nearest } from "./nearest.js";
import { Network } from "./runtime.js";

export const COUNT = 10; // neighbours shown
const CHARACTER = /^U\+([0-9A-F]{4,6}) (.*)$/;

export class Bundle {
  /** Fetches the bundle that the page was served with. */
  static async open() {
    const manifest = await json("bundle/manifest.json");
    const { catalogue, models } = manifest;
    const bundle = new Bundle();
    bundle.manifest = manifest;
    const [names, rows, int8, float32] = await Promise.all([
      json(`bundle/${catalogue.ids}`),
      npy(`bundle/${catalogue.rows}`),
      Network.open(`bundle/${models.int8.file}`),
      Network.open(`bundle/${models.float32.file}`),
    ]);
    Object.assign(bundle, { names, rows, int8, float32 });
    bundle.shape = int8.shape;
    bundle.search = manifest.search
      ? await Network.open(`bundle/${manifest.search.file}`)
      : null;
    bundle.scorer = manifest.group
      ? await Network.open(`bundle/${manifest.group.models.int8.file}`)
      : null;
    bundle.areCharacters = names.class_names.every((name) => CHARACTER.test(name));
    return bundle;
  }

  /**
   * What is nearest to a picture, by the bundle's own files.
   *
   * @param {Uint8Array} pixels of the shape of the bundle.
   * @returns `{neighbours: [{index, score}], embeddingTime, searchTime}`, the times in
   *   milliseconds.
   */
  async find(pixels) {
    const embedded = await this.int8.row(pixels);
    if (this.search === null) {
      const start = performance.now();
      const neighbours = this.nearest(embedded.row);
      return {
        neighbours,
        embeddingTime: embedded.milliseconds,
        searchTime: performance.now() - start,
      };
    }
    const { outputs, milliseconds } = await this.search.run(pixels);
    const { ids, scores } = outputs;
    const found = Array.from(ids, (index, i) => ({ index, score: scores[i] }));
    const there = found.filter(({ index }) => index >= 0); // a list may hold fewer
    return {
      neighbours: this.distinct(there),
      embeddingTime: embedded.milliseconds,
      searchTime: Math.max(0, milliseconds - embedded.milliseconds),
    };
  }

  /** The items nearest to an embedding, by exact search over the rows of the catalogue. */
  nearest(row) {
    // Characters come in many fonts, each of them shown once.
    const enough = this.areCharacters ? 40 * COUNT : COUNT;
    return this.distinct(nearest(row, this.rows, Math.min(enough, this.count)));
  }

  /** The best ten of some neighbours; of characters the best drawing of each. */
  distinct(neighbours) {
    if (!this.areCharacters) return neighbours.slice(0, COUNT);
    const seen = new Set();
    const first = neighbours.filter(({ index }) => {
      const label = this.names.labels[index];
      return !seen.has(label) && seen.add(label);
    });
    return first.slice(0, COUNT);
  }

  get count() {
    return this.names.ids.length;
  }

  /** `{id, name, character, code, synonyms}` of an item; the last three of characters. */
  item(index) {
    const name = this.names.class_names[this.names.labels[index]];
    const found = { id: this.names.ids[index], name };
    if (!this.areCharacters) return found;
    return {
      ...found,
      ...character(name),
      synonyms: (this.names.synonyms?.[name] ?? []).map(character),
    };
  }

  /** Style that shows the thumbnail of an item, or null where the bundle has none. */
  thumbnail(index) {
    const facts = this.manifest.thumbnails;
    if (!facts) return null;
    const { sheets, columns, rows } = facts;
    const sheet = Math.floor(index / (columns * rows));
    const place = index - sheet * columns * rows;
    const left = place % columns;
    const top = Math.floor(place / columns);
    const share = (part, whole) => (whole > 1 ? (100 * part) / (whole - 1) : 0);
    return {
      backgroundImage: `url("bundle/${sheets[sheet]}")`,
      backgroundSize: `${100 * columns}% ${100 * rows}%`,
      backgroundPosition: `${share(left, columns)}% ${share(top, rows)}%`,
    };
  }
}

/** `{character, code, name}` of the name of a class such as "U+0041 LATIN ...". */
function character(name) {
  const [, hex, spelt] = CHARACTER.exec(name);
  return { character: String.fromCodePoint(parseInt(hex, 16)), code: `U+${hex}`, name: spelt };
}

export async function json(path) {
  return (await fetched(path)).json();
}

/** The numbers of a .npy file of little-endian float32 in C order. */
async function npy(path) {
  const buffer = await (await fetched(path)).arrayBuffer();
  const view = new DataView(buffer);
  const long = view.getUint8(6) > 1; // format version 2 has a longer length
  const start = long ? 12 : 10;
  const size = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, size));
  if (!/'descr': *'<f4'/.test(header) || !/'fortran_order': *False/.test(header)) {
    throw new Error(`${path} does not hold rows of float32: ${header.trim()}`);
  }
  return new Float32Array(buffer.slice(start + size));
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: the server says ${response.status}.`);
  return response;
}

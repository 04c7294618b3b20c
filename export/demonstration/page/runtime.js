// LiteRT.js, and one network of a bundle run by it.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";

// A function of one 128-bit constant: what every build of LiteRT.js needs at least.
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
  253, 15, 253, 98, 11,
]);

/** Loads LiteRT.js. Throws an Error with a sentence for people where it cannot run. */
export async function startRuntime() {
  if (typeof WebAssembly !== "object") {
    throw new Error(
      "This browser has no WebAssembly, on which the networks run. Try a current " +
        "Chrome, Edge, Firefox or Safari.",
    );
  }
  if (!WebAssembly.validate(SIMD)) {
    throw new Error(
      "This browser's WebAssembly has no SIMD instructions, without which the networks " +
        "cannot run. Try a current Chrome, Edge, Firefox or Safari.",
    );
  }
  await loadLiteRt(new URL("litert/wasm/", document.baseURI).href);
}

/** A .tflite file that takes one uint8 picture. */
export class Network {
  /** Fetches and compiles the file at `url`. */
  static async open(url) {
    const response = await fetch(url);
    if (!response.ok) {
      throw new Error(`${url} could not be loaded: the server says ${response.status}.`);
    }
    const file = new Uint8Array(await response.arrayBuffer());
    return new Network(await loadAndCompile(file, { accelerator: "wasm" }), file.length);
  }

  constructor(model, bytes) {
    this.model = model;
    this.bytes = bytes;
    this.shape = Array.from(model.getInputDetails()[0].shape).slice(1);
    this.names = model.getOutputDetails().map((output) => output.name);
  }

  /**
   * Runs one picture.
   *
   * @param {Uint8Array} pixels height * width * channels of them.
   * @returns `{outputs, milliseconds}`: a typed array for each output, by its name.
   */
  async run(pixels) {
    const input = new Tensor(pixels, [1, ...this.shape]);
    const start = performance.now();
    const results = await this.model.run([input]);
    const milliseconds = performance.now() - start;
    const outputs = {};
    results.forEach((tensor, i) => {
      outputs[this.names[i]] = tensor.toTypedArray().slice();
      tensor.delete();
    });
    input.delete();
    return { outputs, milliseconds };
  }

  /** `run` of a network that has one output. */
  async row(pixels) {
    const { outputs, milliseconds } = await this.run(pixels);
    return { row: outputs[this.names[0]], milliseconds };
  }
}

/**
 * Paints the pixels that a network is given, one for one.
 *
 * @param {HTMLCanvasElement} canvas whose size becomes that of the pixels.
 * @param {Uint8Array} pixels
 * @param shape `[height, width, channels]`.
 */
export function paintPixels(canvas, pixels, [height, width, channels]) {
  [canvas.width, canvas.height] = [width, height];
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = pixels[i * channels + (c % channels)];
  }
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}

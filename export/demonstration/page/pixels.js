// Pictures to the pixels that a network takes, as keras_distill.device.read_image does.
//
// The arithmetic is Pillow's (convert, reduce, resize with BILINEAR), in integers, so that
// a file finds here what it finds in Python. What browsers decode otherwise stays
// otherwise: Pillow reads large JPEG files at a part of their size.

export const LARGEST = 50e6; // pixels: about 600 MB while it is read

const LEAST_CONTRAST = 32; // grey levels between paper and ink
const BITS = 22; // of Pillow's weights

/**
 * Decodes a picture file.
 *
 * @param {Blob} file
 * @returns {ImageData} upright, transparency put on white.
 * @throws {Error} with a sentence for people.
 */
export async function decode(file) {
  const name = file.name ? `“${file.name}”` : "That";
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const { width, height } = bitmap;
  if (width * height > LARGEST) {
    bitmap.close();
    throw new Error(
      `${name} has ${Math.round((width * height) / 1e6)} million pixels, more than the ` +
        `${LARGEST / 1e6} million that fit here. Make it smaller first.`,
    );
  }
  try {
    return drawn(bitmap, width, height);
  } catch {
    throw new Error(`${name} is too large for this browser. Make it smaller first.`);
  } finally {
    bitmap.close?.();
  }
}

/** ImageData of anything that a canvas can draw, on white. */
export function drawn(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * The pixels of a picture for a network.
 *
 * @param {ImageData} picture opaque.
 * @param shape `[height, width, channels]`; 1 channel is grey (ITU-R 601 luma), 3 RGB.
 * @returns {Uint8Array} height * width * channels.
 */
export function fitted(picture, [height, width, channels]) {
  const plane = channels === 1 ? grey(picture) : colour(picture);
  return resized(plane, width, height).data;
}

/**
 * The pixels of a drawing, cut out and scaled to fill all but a margin, as the images of
 * glyphs are: keras_distill.device.fit_ink.
 *
 * @param {ImageData} picture dark on light.
 * @param shape as for `fitted`.
 * @returns {Uint8Array} or null where there is no ink.
 */
export function fittedInk(picture, [height, width, channels]) {
  const plane = stretched(grey(picture));
  if (plane === null) return null;
  const [left, top, right, bottom] = inkBox(plane);
  const roomX = width - 2 * Math.round(width / 16);
  const roomY = height - 2 * Math.round(height / 16);
  const scale = Math.min(roomY / (bottom - top), roomX / (right - left));
  const inkWidth = Math.max(1, Math.round((right - left) * scale));
  const inkHeight = Math.max(1, Math.round((bottom - top) * scale));
  const ink = resized(cropped(plane, [left, top, right, bottom]), inkWidth, inkHeight);
  const x = Math.floor((width - inkWidth) / 2);
  const y = Math.floor((height - inkHeight) / 2);
  const result = new Uint8Array(height * width * channels).fill(255);
  for (let row = 0; row < inkHeight; row++) {
    for (let column = 0; column < inkWidth; column++) {
      const at = ((y + row) * width + x + column) * channels;
      result.fill(ink.data[row * inkWidth + column], at, at + channels);
    }
  }
  return result;
}

/** Grey levels from 0 to 255, or null where there is no ink: paper, however it is lit. */
function stretched({ data, ...plane }) {
  let low = 255;
  let high = 0;
  for (const value of data) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const range = high - low;
  if (range < LEAST_CONTRAST) return null;
  const half = Math.floor(range / 2);
  return { ...plane, data: data.map((value) => Math.floor(((value - low) * 255 + half) / range)) };
}

/** `[left, top, right, bottom]` of what is darker than grey. */
function inkBox({ data, width, height }) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] >= 128) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return [left, top, right, bottom];
}

function cropped({ data, width }, [left, top, right, bottom]) {
  const result = new Uint8Array((right - left) * (bottom - top));
  for (let y = top; y < bottom; y++) {
    const row = data.subarray(y * width + left, y * width + right);
    result.set(row, (y - top) * (right - left));
  }
  return { data: result, width: right - left, height: bottom - top, channels: 1 };
}

function grey({ data, width, height }) {
  const result = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < result.length; i++, at += 4) {
    result[i] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
  }
  return { data: result, width, height, channels: 1 };
}

function colour({ data, width, height }) {
  const result = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    result[to] = data[from];
    result[to + 1] = data[from + 1];
    result[to + 2] = data[from + 2];
  }
  return { data: result, width, height, channels: 3 };
}

/** Pillow's `resize((width, height), BILINEAR, reducing_gap=2.0)`. */
export function resized(plane, width, height) {
  if (plane.width === width && plane.height === height) return plane;
  const factorX = Math.floor(plane.width / width / 2) || 1;
  const factorY = Math.floor(plane.height / height / 2) || 1;
  const spanX = plane.width / factorX;
  const spanY = plane.height / factorY;
  if (factorX > 1 || factorY > 1) plane = reduced(plane, factorX, factorY);
  if (plane.width !== width || spanX !== width) plane = across(plane, spanX, width);
  if (plane.height !== height || spanY !== height) plane = down(plane, spanY, height);
  return plane;
}

/** Means of blocks of pixels; those at the right and at the bottom may be smaller. */
function reduced({ data, width, height, channels }, factorX, factorY) {
  const columns = Math.ceil(width / factorX);
  const rows = Math.ceil(height / factorY);
  const result = new Uint8Array(columns * rows * channels);
  for (let row = 0; row < rows; row++) {
    const bottom = Math.min(height, (row + 1) * factorY);
    for (let column = 0; column < columns; column++) {
      const right = Math.min(width, (column + 1) * factorX);
      const count = (bottom - row * factorY) * (right - column * factorX);
      const multiplier = Math.floor(2 ** 32 / (256 * count));
      for (let channel = 0; channel < channels; channel++) {
        let sum = Math.floor(count / 2);
        for (let y = row * factorY; y < bottom; y++) {
          for (let x = column * factorX; x < right; x++) {
            sum += data[(y * width + x) * channels + channel];
          }
        }
        const at = (row * columns + column) * channels + channel;
        result[at] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return { data: result, width: columns, height: rows, channels };
}

function across({ data, width, height, channels }, span, size) {
  const weights = triangles(width, span, size);
  const result = new Uint8Array(size * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const { first, parts } = weights[x];
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (BITS - 1);
        for (let i = 0; i < parts.length; i++) {
          sum += data[(y * width + first + i) * channels + channel] * parts[i];
        }
        result[(y * size + x) * channels + channel] = Math.min(255, sum >> BITS);
      }
    }
  }
  return { data: result, width: size, height, channels };
}

function down({ data, width, height, channels }, span, size) {
  const weights = triangles(height, span, size);
  const stride = width * channels;
  const result = new Uint8Array(size * stride);
  for (let y = 0; y < size; y++) {
    const { first, parts } = weights[y];
    for (let at = 0; at < stride; at++) {
      let sum = 1 << (BITS - 1);
      for (let i = 0; i < parts.length; i++) sum += data[(first + i) * stride + at] * parts[i];
      result[y * stride + at] = Math.min(255, sum >> BITS);
    }
  }
  return { data: result, width, height: size, channels };
}

/** Of each pixel that comes out: the first that goes in, and the weights in integers. */
function triangles(pixels, span, size) {
  const scale = span / size;
  const reach = Math.max(1, scale);
  return Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(pixels, Math.trunc(centre + reach + 0.5));
    const parts = [];
    for (let x = first; x < end; x++) {
      parts.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / reach)));
    }
    const sum = parts.reduce((a, b) => a + b, 0);
    return { first, parts: parts.map((part) => Math.trunc(0.5 + (part / sum) * 2 ** BITS)) };
  });
}

// Rectangles that cover parts of the model's input, and what the covered pixels become.

/** @typedef {{x: number, y: number, width: number, height: number}} Rectangle in pixels of the model's input */

const PASSES = 3; // of a box blur; together close to a Gaussian
const REACH = 10; // the blur's radius is this part of the longer side

/** The rectangle from one pixel to another, both included. @returns {Rectangle} */
export function between(a, b) {
  return {
    x: Math.min(a.x, b.x),
    y: Math.min(a.y, b.y),
    width: Math.abs(a.x - b.x) + 1,
    height: Math.abs(a.y - b.y) + 1,
  };
}

/** @param {Rectangle} rectangle @returns {string} as in the address */
export const written = ({ x, y, width, height }) => [x, y, width, height].join(",");

/** @param {string} text as in the address @param {{width: number, height: number}} size @returns {Rectangle | null} */
export function parseRectangle(text, size) {
  if (!/^\d+(,\d+){3}$/.test(text)) return null;
  const [x, y, width, height] = text.split(",").map(Number);
  const isInside = width > 0 && height > 0 && x + width <= size.width && y + height <= size.height;
  return isInside ? { x, y, width, height } : null;
}

/** @param {Rectangle[]} rectangles @param {number} x @param {number} y */
export function covers(rectangles, x, y) {
  return rectangles.some(
    (each) => x >= each.x && x < each.x + each.width && y >= each.y && y < each.y + each.height,
  );
}

/**
 * @param {number[][][]} pixels (height, width, channels) @param {Rectangle[]} rectangles
 * @param {(x: number, y: number) => number[]} substitute the levels of a covered pixel
 * @returns {number[][][]} the pixels with those in a rectangle replaced
 */
export function covered(pixels, rectangles, substitute) {
  return pixels.map((row, y) =>
    row.map((levels, x) => (covers(rectangles, x, y) ? substitute(x, y) : levels)),
  );
}

/** @param {number[][][]} pixels (height, width, channels) @returns {number[][][]} without detail */
export function blurred(pixels) {
  const radius = Math.ceil(Math.max(pixels.length, pixels[0].length) / REACH);
  let result = pixels;
  for (let pass = 0; pass < PASSES; pass++)
    result = transposed(blurRows(transposed(blurRows(result, radius)), radius));
  return result.map((row) => row.map((levels) => levels.map(Math.round)));
}

const transposed = (rows) => rows[0].map((_, x) => rows.map((row) => row[x]));

/** Replace each pixel by the mean of those at most `radius` away in its row. */
function blurRows(rows, radius) {
  return rows.map((row) => {
    const sums = [row[0].map(() => 0)]; // of the first 0, 1, … pixels
    for (const levels of row) sums.push(sums.at(-1).map((sum, channel) => sum + levels[channel]));
    return row.map((_, x) => {
      const [from, to] = [Math.max(0, x - radius), Math.min(row.length, x + radius + 1)];
      return sums[to].map((sum, channel) => (sum - sums[from][channel]) / (to - from));
    });
  });
}

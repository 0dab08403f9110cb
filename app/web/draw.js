// Painting on canvases. Everything is painted in a unit square; `paint` maps it to the canvas, which has the
// shape of the model's input.

import { DEFAULTS } from "./state.js";

const SQUARE = 3; // pixels of the screen, of the smallest square that is drawn as one

/** Relevance of each pixel the model saw, channels summed. */
export class Grid {
  /** @param {number[][][]} values (channels, height, width) */
  constructor(values) {
    this.height = values[0].length;
    this.width = values[0][0].length;
    this.values = values[0].map((row, y) =>
      row.map((_, x) => values.reduce((sum, channel) => sum + channel[y][x], 0)),
    );
  }

  at(x, y) {
    return this.values[y][x];
  }

  /** @param {1 | -1} sign @returns {{x: number, y: number, value: number}} its largest or smallest value */
  extreme(sign) {
    let found = { x: 0, y: 0, value: this.at(0, 0) };
    this.values.forEach((row, y) =>
      row.forEach((value, x) => {
        if (sign * value > sign * found.value) found = { x, y, value };
      }),
    );
    return found;
  }
}

/** The part of the unit square that is shown: `zoom` times enlarged, its middle at (x, y). */
export class Frame {
  zoom = 1;
  x = 0.5;
  y = 0.5;

  /** Zoom by `factor`, keeping the point (x, y) of the unit square where it is. */
  zoomBy(factor, x = this.x, y = this.y) {
    const zoom = Math.min(8, Math.max(1, this.zoom * factor));
    this.moveTo(x + ((this.x - x) * this.zoom) / zoom, y + ((this.y - y) * this.zoom) / zoom, zoom);
  }

  moveTo(x, y, zoom = this.zoom) {
    const margin = 0.5 / zoom;
    const within = (value) => Math.min(1 - margin, Math.max(margin, value));
    Object.assign(this, { zoom, x: within(x), y: within(y) });
  }

  /** Share of a canvas, in 0…1 -> point of the unit square. */
  point(across, down) {
    return { x: this.x + (across - 0.5) / this.zoom, y: this.y + (down - 0.5) / this.zoom };
  }
}

/** @param {number[]} levels of grey, or of red, green and blue, 0 to 255 @returns {string} */
export function colourOf([red, green = red, blue = red]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** @param {HTMLCanvasElement} canvas @param {Frame} frame @param {(c: CanvasRenderingContext2D) => void} draw */
export function paint(canvas, frame, draw) {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (!width || !height) return;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const c = canvas.getContext("2d");
  const across = width * frame.zoom;
  const down = height * frame.zoom;
  c.setTransform(across, 0, 0, down, width / 2 - frame.x * across, height / 2 - frame.y * down);
  c.clearRect(0, 0, 1, 1);
  draw(c);
}

/** The part of the upload that the model saw; the rest of a padded one has the padding's colour. */
export function drawPicture(c, picture, crop, padColour) {
  c.imageSmoothingEnabled = true;
  c.imageSmoothingQuality = "high";
  c.fillStyle = padColour;
  c.fillRect(0, 0, 1, 1);
  c.drawImage(picture, crop.left, crop.top, crop.width, crop.height, 0, 0, 1, 1);
}

/** Draw the map; squares for its pixels where they are large enough to be told apart. */
export function drawMap(c, map, smooth) {
  c.imageSmoothingEnabled = smooth || c.getTransform().a < SQUARE * map.width;
  c.drawImage(map, 0, 0, 1, 1);
}

/**
 * The map over the picture, with `opacity`, in 0…1, where it is strongest. The picture is grey, as in the
 * service's own overlay, from the usual opacity on; below it gets its colours back.
 */
export function drawOverlay(c, { picture, crop, padColour, veil, smooth }, opacity) {
  drawPicture(c, picture, crop, padColour);
  c.globalCompositeOperation = "saturation";
  c.globalAlpha = Math.min(1, (100 * opacity) / DEFAULTS.opacity);
  c.fillStyle = "gray";
  c.fillRect(0, 0, 1, 1);
  c.globalCompositeOperation = "source-over";
  c.globalAlpha = opacity;
  drawMap(c, veil, smooth);
  c.globalAlpha = 1;
}

/** Parts of the model's input over the picture. @param {HTMLCanvasElement | null} input null for no parts */
export function drawPatches(c, input, rectangles) {
  c.imageSmoothingEnabled = false; // else the pixels around a part show in it
  for (const { x, y, width, height } of rectangles) {
    const [across, down] = [1 / input.width, 1 / input.height];
    c.drawImage(input, x, y, width, height, x * across, y * down, width * across, height * down);
  }
}

/** Frame a rectangle, in pixels of the model's input, whose size the grid has. */
export function outline(c, { x, y, width, height }, grid) {
  c.save();
  c.beginPath();
  c.rect(x / grid.width, y / grid.height, width / grid.width, height / grid.height);
  c.resetTransform(); // a line is as thick across as down
  for (const [colour, size] of [
    ["white", 3],
    ["black", 1],
  ]) {
    c.strokeStyle = colour;
    c.lineWidth = size * devicePixelRatio;
    c.stroke();
  }
  c.restore();
}

/** @param {HTMLCanvasElement} canvas */
export function clearCanvas(canvas) {
  canvas.width = canvas.width; // assigning it clears the canvas
}

/** The rectangle that is all of a picture. @param {{width: number, height: number}} picture */
export const whole = ({ width, height }) => ({ left: 0, top: 0, width, height });

/** The whole upload, small, with a frame around what the model saw. */
export function drawThumbnail(canvas, picture, crop) {
  const c = canvas.getContext("2d");
  const side = canvas.width;
  const scale = side / Math.max(picture.width, picture.height);
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.clearRect(0, 0, side, side);
  c.setTransform(scale, 0, 0, scale, (side - picture.width * scale) / 2, (side - picture.height * scale) / 2);
  c.imageSmoothingQuality = "high";
  c.drawImage(picture, 0, 0);
  const part = crop.width < picture.width || crop.height < picture.height;
  if (!part) return;
  for (const [colour, size] of [
    ["black", 4],
    ["white", 2],
  ]) {
    c.strokeStyle = colour;
    c.lineWidth = size / scale;
    c.strokeRect(crop.left, crop.top, crop.width, crop.height);
  }
}

/** @param {number[][][]} pixels (height, width, grey or RGB), 0 to 255 @returns {HTMLCanvasElement} */
export function pixelCanvas(pixels) {
  const image = new ImageData(pixels[0].length, pixels.length);
  pixels.flat().forEach(([red, green = red, blue = red], i) => image.data.set([red, green, blue, 255], 4 * i));
  return canvasOf(image);
}

/** A mask of the more opaque pixels the larger their relevance. */
function strength(grid, { vmin, vmax }, sign) {
  const largest = Math.max(Math.abs(vmin), Math.abs(vmax));
  const image = new ImageData(grid.width, grid.height);
  grid.values.flat().forEach((value, i) => {
    const shown = sign === "all" || value > 0 === (sign === "positive");
    if (shown) image.data[4 * i + 3] = 255 * Math.sqrt(Math.min(1, Math.abs(value) / largest));
  });
  return canvasOf(image);
}

/** The map, the more opaque the stronger, to be drawn over the picture. @returns {HTMLCanvasElement} */
export function veilOf({ map, grid, answer, sign, smooth }) {
  const mask = strength(grid, answer.heatmap, sign);
  const canvas = document.createElement("canvas");
  canvas.width = map.width;
  canvas.height = map.height;
  const c = canvas.getContext("2d");
  c.imageSmoothingEnabled = smooth;
  c.drawImage(mask, 0, 0, canvas.width, canvas.height);
  c.globalCompositeOperation = "source-in";
  c.drawImage(map, 0, 0);
  return canvas;
}

function canvasOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

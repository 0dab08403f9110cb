// Scales pictures that are over the service's limits down before they are sent.

const SIDE = 2048; // in pixels: much more than networks see, and encoded in a moment
const QUALITY = 0.9;
const MIB = 2 ** 20;

/** @typedef {{max_body_bytes: number, max_pixels: number}} Limits as of GET /model */

/**
 * Return the picture as it is sent: itself, or a smaller JPEG of it if it is over a limit.
 * @param {import("./picture.js").Picture} picture @param {Limits} limits
 * @returns {Promise<import("./picture.js").Picture>}
 */
export async function withinLimits(picture, limits) {
  const { body, image } = picture;
  const isWithin = body.size <= limits.max_body_bytes && (!image || pixels(image) <= limits.max_pixels);
  if (!image || isWithin) return picture; // what the browser cannot decode the service refuses itself
  const canvas = document.createElement("canvas");
  let share = Math.min(1, SIDE / Math.max(image.width, image.height), Math.sqrt(limits.max_pixels / pixels(image)));
  let blob;
  do {
    draw(canvas, image, share);
    blob = await toJpeg(canvas);
    share *= Math.min(0.9, Math.sqrt(limits.max_body_bytes / blob.size));
  } while (blob.size > limits.max_body_bytes && pixels(canvas) > 1);
  const note = sentence(picture, canvas, limits);
  image.close();
  return { ...scaledPicture(picture, canvas, blob), note };
}

const pixels = ({ width, height }) => width * height;

function draw(canvas, image, share) {
  canvas.width = Math.max(1, Math.floor(share * image.width));
  canvas.height = Math.max(1, Math.floor(share * image.height));
  const c = canvas.getContext("2d");
  c.fillStyle = "white"; // below transparent pixels, as the service does
  c.fillRect(0, 0, canvas.width, canvas.height);
  c.imageSmoothingQuality = "high";
  c.drawImage(image, 0, 0, canvas.width, canvas.height);
}

/** @returns {Promise<Blob>} */
const toJpeg = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));

function scaledPicture(picture, canvas, blob) {
  const name = `${picture.name.replace(/\.\w+$/, "")}-${canvas.width}x${canvas.height}.jpg`;
  return { ...picture, name, body: new File([blob], name, { type: blob.type }), image: canvas, made: true };
}

function sentence({ name, body, image }, { width, height }, { max_body_bytes, max_pixels }) {
  const had = `${image.width}×${image.height} pixels, ${amount(body.size / MIB)} MiB`;
  const limits = `${amount(max_pixels / 1e6)} megapixels and ${amount(max_body_bytes / MIB)} MiB`;
  return `Scaled down in the browser to a JPEG of ${width}×${height} pixels: ${name} (${had}) is over the service’s limits of ${limits}.`;
}

const amount = (value) => String(Number(value.toPrecision(3)));

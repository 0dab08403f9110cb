// Small helpers around the DOM.

/** @param {string} id @returns {any} the element of this id */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element. Names with a dash become attributes, all others properties.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node|string)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Make an element of an SVG. @param {string} tag @param {Record<string, any>} attributes @param {...(Node|string)} children */
export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Give the browser a file to save. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}

/** @param {string} base64 @returns {Promise<ImageBitmap>} */
export function bitmapOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

/** An image that shows a heatmap of an answer. */
export function heatmapImage(heatmap, text) {
  const { media_type: type, data, width, height } = heatmap;
  return make("img", { src: `data:${type};base64,${data}`, alt: text, width, height });
}

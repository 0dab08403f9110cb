// Several pictures that were chosen at once, as a strip of small pictures to choose from.

import { byId, make } from "./dom.js";

const SIDE = 80; // of a small picture, in pixels

/** @param {(file: File) => void} onPick */
export function createStripView(onPick) {
  let buttons = new Map();

  function createButton(file) {
    const canvas = make("canvas", { width: SIDE, height: SIDE });
    const button = make(
      "button",
      { type: "button", title: file.name, "aria-label": `Picture: ${file.name}`, "aria-pressed": "false" },
      canvas,
    );
    button.onclick = () => onPick(file);
    return button;
  }

  /** One after the other: decoded photos are large. */
  async function drawAll(entries) {
    for (const [file, button] of entries) {
      if (buttons.get(file) !== button) return; // other pictures were chosen
      const image = await createImageBitmap(file, { resizeWidth: 2 * SIDE }).catch(() => null);
      if (image) drawCover(button.firstChild, image);
      else button.replaceChildren(make("span", { textContent: file.name }));
      image?.close();
    }
  }

  return {
    /** @param {File[]} files */
    show(files) {
      buttons = new Map(files.map((file) => [file, createButton(file)]));
      byId("strip").replaceChildren(...[...buttons.values()].map((button) => make("li", {}, button)));
      byId("strip").hidden = !files.length;
      drawAll([...buttons]);
    },

    /** @param {File | null} chosen the one on the page, if it is one of them */
    mark(chosen) {
      for (const [file, button] of buttons) button.setAttribute("aria-pressed", String(file === chosen));
    },
  };
}

/** Draw the middle of an image. */
function drawCover(canvas, image) {
  const side = Math.min(image.width, image.height);
  const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
  canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, SIDE, SIDE);
}

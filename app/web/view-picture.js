// The picture as sent and as the model saw it, and the examples.

import { byId, make } from "./dom.js";
import { clearCanvas, drawThumbnail, whole } from "./draw.js";
import { EXAMPLES, drawExample } from "./examples.js";

/** @param {(name: string) => void} onExample */
export function createPictureView(onExample) {
  const buttons = EXAMPLES.map((name) => {
    const button = make(
      "button",
      { type: "button", title: name, "aria-label": `Example: ${name}`, "aria-pressed": "false" },
      drawExample(name),
    );
    button.onclick = () => onExample(name);
    byId("examples").append(make("li", {}, button));
    return button;
  });

  return {
    /** Show a picture without an answer. @param {import("./picture.js").Picture} picture */
    clear({ name, image }) {
      clearCanvas(byId("seen"));
      byId("seen").setAttribute("aria-label", "Not seen by the model");
      byId("seen-caption").textContent = "";
      clearCanvas(byId("upload"));
      if (image) drawThumbnail(byId("upload"), image, whole(image));
      byId("upload").setAttribute("aria-label", name);
      byId("upload-caption").textContent = name;
    },

    /** @param {string | null} example the one that is shown */
    mark(example) {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(EXAMPLES[i] === example)));
    },

    /** @param {{picture: CanvasImageSource, crop: object}} shown */
    show(answer, name, { picture, crop }) {
      const { format, width, height } = answer.input;
      drawThumbnail(byId("upload"), picture, crop);
      byId("upload").setAttribute(
        "aria-label",
        `${name}, ${width} by ${height} pixels, with the part that the model saw`,
      );
      byId("upload-caption").textContent = `${format}, ${width}×${height}`;
    },

    /** Show the pixels that the model saw. @param {HTMLCanvasElement} input @param {boolean} isCovered */
    showInput(input, isCovered) {
      const target = byId("seen");
      target.width = input.width;
      target.height = input.height;
      target.getContext("2d").drawImage(input, 0, 0);
      const text = `The ${input.width} by ${input.height} pixels that the model saw`;
      target.setAttribute("aria-label", isCovered ? `${text}, partly covered` : text);
      byId("seen-caption").textContent = `the model saw ${input.width}×${input.height}`;
    },
  };
}

// Pointer and keys on the panels: read a pixel, zoom, move the part that is shown, cover a rectangle.

import { between } from "./cover.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {{x: number, y: number}} Cell a pixel of the model's input */

/** @typedef {object} Handlers
 * @property {() => {width: number, height: number} | null} size of the map in pixels; null while there is none
 * @property {() => void} onRead another pixel is read, or none
 * @property {() => void} onMove another part of the map is shown
 * @property {(rectangle: import("./cover.js").Rectangle | null) => void} onDraft while a rectangle is drawn
 * @property {(rectangle: import("./cover.js").Rectangle) => void} onCover it is complete
 * @property {() => void} onUndo the last rectangle is to go */

export class Probe {
  /** Whether dragging covers a rectangle. */
  covering = false;
  /** @type {Cell | null} the pixel that is read */
  cell = null;
  /** @type {Cell | null} the corner at which a rectangle begins */
  #corner = null;
  #dragged = null;
  #frame;
  #handlers;

  /** @param {HTMLElement} element around the canvases @param {import("./draw.js").Frame} frame @param {Handlers} handlers */
  constructor(element, frame, handlers) {
    this.#frame = frame;
    this.#handlers = handlers;
    const onMap = (action) => (event) => {
      if (handlers.size() && event.target.tagName === "CANVAS") action(event);
    };
    element.onpointermove = onMap((event) => this.#move(event));
    element.onpointerdown = onMap((event) => this.#press(event));
    element.onpointerup = () => this.#release();
    element.onpointercancel = () => this.#cancel();
    element.onpointerleave = () => handlers.size() && this.#read(null);
    element.ondblclick = onMap((event) => this.covering || this.zoom(2, this.#pointOf(event)));
    element.onkeydown = (event) => {
      if (handlers.size() && event.target === element && this.#key(event.key)) event.preventDefault();
    };
    const onWheel = onMap((event) => {
      if (!event.ctrlKey) return; // plain wheels scroll the page
      event.preventDefault();
      this.zoom(2 ** (-event.deltaY / 200), this.#pointOf(event));
    });
    element.addEventListener("wheel", onWheel, { passive: false });
  }

  /** Forget the pixel and the rectangle that is being drawn. */
  reset() {
    this.cell = this.#corner = this.#dragged = null;
  }

  zoom(factor, around = {}) {
    this.#frame.zoomBy(factor, around.x, around.y);
    this.#handlers.onMove();
  }

  #pointOf({ target, clientX, clientY }) {
    const box = target.getBoundingClientRect();
    return this.#frame.point((clientX - box.left) / box.width, (clientY - box.top) / box.height);
  }

  #cellOf(event) {
    const { x, y } = this.#pointOf(event);
    const { width, height } = this.#handlers.size();
    return this.#within({ x: Math.floor(x * width), y: Math.floor(y * height) });
  }

  #within({ x, y }) {
    const { width, height } = this.#handlers.size();
    return { x: Math.min(width - 1, Math.max(0, x)), y: Math.min(height - 1, Math.max(0, y)) };
  }

  #read(cell) {
    this.cell = cell;
    this.#handlers.onRead();
    if (this.#corner && cell) this.#handlers.onDraft(between(this.#corner, cell));
  }

  #press(event) {
    event.target.setPointerCapture(event.pointerId);
    if (this.covering) this.#corner = this.#cellOf(event);
    else this.#dragged = { x: this.#frame.x, y: this.#frame.y, left: event.clientX, top: event.clientY };
    this.#read(this.#cellOf(event));
  }

  #move(event) {
    if (this.#dragged && this.#frame.zoom > 1) {
      const { clientWidth, clientHeight } = event.target;
      this.#frame.moveTo(
        this.#dragged.x - (event.clientX - this.#dragged.left) / (clientWidth * this.#frame.zoom),
        this.#dragged.y - (event.clientY - this.#dragged.top) / (clientHeight * this.#frame.zoom),
      );
    }
    this.#read(this.#cellOf(event));
  }

  #release() {
    this.#dragged = null;
    if (this.#corner && this.cell) this.#finish();
  }

  #finish() {
    const rectangle = between(this.#corner, this.cell);
    this.#corner = null;
    this.#handlers.onCover(rectangle);
  }

  #cancel() {
    this.#corner = this.#dragged = null;
    this.#handlers.onDraft(null);
  }

  /** @param {string} key @returns {boolean} whether it means something */
  #key(key) {
    if (key in STEPS) this.#step(STEPS[key]);
    else if (key === "+" || key === "=") this.zoom(2);
    else if (key === "-") this.zoom(1 / 2);
    else if (key === " " || key === "Enter") this.#mark();
    else if (key === "Backspace" || key === "Delete") this.#handlers.onUndo();
    else if (key === "Escape" && this.#corner) this.#cancel();
    else if (key === "Escape") this.#read(null);
    else return false;
    return true;
  }

  #step([right, down]) {
    const { width, height } = this.#handlers.size();
    const cell = this.cell
      ? this.#within({ x: this.cell.x + right, y: this.cell.y + down })
      : { x: width >> 1, y: height >> 1 };
    this.#follow(cell);
    this.#read(cell);
  }

  /** Keep the pixel in sight when the keyboard moves it. */
  #follow({ x, y }) {
    const { width, height } = this.#handlers.size();
    const [across, down] = [(x + 0.5) / width, (y + 0.5) / height];
    const reach = 0.5 / this.#frame.zoom;
    if (Math.abs(across - this.#frame.x) > reach || Math.abs(down - this.#frame.y) > reach)
      this.#frame.moveTo(across, down);
  }

  /** Set one corner of a rectangle, then the other. */
  #mark() {
    if (!this.cell) this.#step([0, 0]);
    if (this.#corner) return this.#finish();
    this.#corner = this.cell;
    this.#read(this.cell);
  }
}

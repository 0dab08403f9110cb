// Covering parts of the picture: what the network says without them, to check a map by hand.

import { Latest } from "./api.js";
import { blurred, covered, parseRectangle, written } from "./cover.js";
import { byId } from "./dom.js";
import { pixelCanvas } from "./draw.js";
import { settle } from "./view-trouble.js";
import { coverReport } from "./words.js";

const PAUSE_MS = 80; // between requests while a rectangle is drawn
const IDLE = "Cover a part of the picture to see how the scores change without it.";
const DRAWING = "Drag over the picture, or use Space and the arrow keys on it.";

/** @typedef {import("./cover.js").Rectangle} Rectangle */

/**
 * @param {import("./state.js").Store} store
 * @param {(file: Blob, signal: AbortSignal) => Promise<any>} predict
 * @param {number[]} mean levels of the model's mean pixel, 0 to 255
 * @param {{map: any, pictures: any, scores: any}} views that show what is covered
 * @param {(error: Error) => void} failed
 */
export function createCoverView(store, predict, mean, { map, pictures, scores }, failed) {
  const asking = new Latest();
  let timer = null;
  /** What is on the page: null while there is no answer. @type {{item: any, answer: any, grid: any} | null} */
  let shown = null;
  /** @type {Rectangle | null} the one that is being drawn */
  let draft = null;
  /** @type {{scores: any[], places: Rectangle[]} | null} of the covered picture, and what was covered */
  let prediction = null;
  let trouble = null; // the last error
  let asked = ""; // what it was asked for
  let next = null; // the input to ask for, and its covers
  let blur = { pixels: null, result: null };

  byId("cover").onclick = () => setCovering(byId("cover").getAttribute("aria-pressed") !== "true");
  byId("fill").onchange = ({ target }) => store.set({ fill: target.value });
  byId("cover-undo").onclick = undo;
  byId("cover-clear").onclick = () => store.set({ cover: [] });

  function setCovering(on) {
    byId("cover").setAttribute("aria-pressed", String(on));
    map.setCovering(on);
    show();
  }

  function undo() {
    if (store.state.cover.length) store.set({ cover: store.state.cover.slice(0, -1) });
  }

  /** What is covered: nothing beside a comparison or layers, which are about the whole picture. */
  function rectangles() {
    if (store.state.tab !== "map") return [];
    const all = store.state.cover.map((text) => parseRectangle(text, shown.grid)).filter(Boolean);
    return draft ? [...all, draft] : all;
  }

  /** The model's input with covers. */
  function coveredInput(places) {
    const { pixels } = shown.answer.input;
    if (store.state.fill !== "blurred") return covered(pixels, places, () => mean);
    if (blur.pixels !== pixels) blur = { pixels, result: blurred(pixels) };
    return covered(pixels, places, (x, y) => blur.result[y][x]);
  }

  function show() {
    if (!shown) return;
    const places = rectangles();
    const input = pixelCanvas(places.length ? coveredInput(places) : shown.answer.input.pixels);
    map.cover(places, input);
    pictures.showInput(input, places.length > 0);
    for (const id of ["cover-undo", "cover-clear"]) byId(id).disabled = !store.state.cover.length;
    byId("fill").value = store.state.fill;
    if (places.length) ask(input, places);
    else forget();
    showScores(places);
  }

  function showScores(places) {
    const idle = byId("cover").getAttribute("aria-pressed") === "true" ? DRAWING : IDLE;
    scores.cover(prediction?.scores ?? null);
    byId("covered").textContent = places.length ? coverReport(shown, prediction, places) : idle;
  }

  function forget() {
    asking.cancel();
    clearTimeout(timer);
    timer = prediction = null;
    asked = "";
  }

  /** Ask for the scores, unless they are known: a map of another rule does not change them. */
  function ask(input, places) {
    const key = JSON.stringify([store.state.fill, shown.answer.input.crop, places]);
    if (key === asked) return;
    asked = key;
    next = { input, places };
    timer ??= setTimeout(send, PAUSE_MS);
  }

  function send() {
    const { input, places } = next;
    timer = null;
    asking.run(
      async (signal) => {
        const file = await new Promise((resolve) => input.toBlob(resolve, "image/png"));
        return predict(file, signal);
      },
      (answer) => {
        settle(trouble);
        prediction = { ...answer, places };
        showScores(rectangles());
      },
      (error) => {
        forget();
        showScores(rectangles());
        failed((trouble = error));
      },
    );
  }

  return {
    undo,

    /** Show a rectangle that is being drawn. @param {Rectangle | null} rectangle */
    draft(rectangle) {
      draft = rectangle;
      show();
    },

    /** @param {Rectangle} rectangle */
    add(rectangle) {
      draft = null;
      store.set({ cover: [...store.state.cover, written(rectangle)] });
    },

    /** Show the covers of the state. @param {NonNullable<typeof shown>} current what is on the page */
    show(current) {
      if (current.item !== shown?.item) {
        forget();
        draft = null;
      }
      shown = current;
      show();
    },

    clear() {
      forget();
      shown = draft = null;
      byId("covered").textContent = IDLE;
      for (const id of ["cover-undo", "cover-clear"]) byId(id).disabled = true;
    },
  };
}

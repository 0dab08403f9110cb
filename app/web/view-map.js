// Picture, overlay and map side by side: one frame, one probe, one scale.

import { byId } from "./dom.js";
import { Frame, clearCanvas, drawMap, drawOverlay, drawPatches, drawPicture, outline, paint, veilOf } from "./draw.js";
import { clearScale, markScale, positionOf, showScale } from "./legend.js";
import { Probe } from "./probe.js";
import { describeMap, percent, signed } from "./words.js";

const PANELS = ["panel-picture", "panel-overlay", "panel-relevance"];
const IDLE = "Point at a pixel to read its relevance.";

/** @typedef {{answer: any, title: string, map: ImageBitmap, grid: import("./draw.js").Grid, colours: string[],
 *   kind: string, picture: CanvasImageSource, crop: object, padColour: string, sign: string, smooth: boolean, absolute: boolean}} Shown */

/** @typedef {import("./cover.js").Rectangle} Rectangle */

/** @param {Pick<import("./probe.js").Handlers, "onDraft" | "onCover" | "onUndo">} covering what to do with rectangles */
export function createMapView(covering) {
  const frame = new Frame();
  /** @type {(Shown & {veil: HTMLCanvasElement}) | null} */
  let shown = null;
  let opacity = 1;
  /** @type {{rectangles: Rectangle[], pixels: HTMLCanvasElement | null}} */
  let covered = { rectangles: [], pixels: null };
  const probe = new Probe(byId("probe"), frame, {
    size: () => shown?.grid ?? null,
    onRead: read,
    onMove: draw,
    ...covering,
  });

  function draw() {
    if (!shown) return;
    const { grid, map, smooth, picture, crop, padColour } = shown;
    const { rectangles, pixels } = covered;
    const layers = [
      (c) => {
        drawPicture(c, picture, crop, padColour);
        drawPatches(c, pixels, rectangles);
      },
      (c) => drawOverlay(c, shown, opacity),
      (c) => drawMap(c, map, smooth),
    ];
    PANELS.map(byId).forEach((canvas, i) => {
      paint(canvas, frame, (c) => {
        layers[i](c);
        for (const rectangle of rectangles) outline(c, rectangle, grid);
        if (probe.cell) outline(c, { ...probe.cell, width: 1, height: 1 }, grid);
      });
    });
    byId("zoom-level").textContent = `${Math.round(10 * frame.zoom) / 10}×`;
    byId("zoom-out").disabled = frame.zoom <= 1;
    byId("zoom-in").disabled = frame.zoom >= 8;
    byId("probe").classList.toggle("zoomed", frame.zoom > 1);
  }

  /** Write what the probe's pixel says. */
  function read() {
    const { cell } = probe;
    if (!cell) {
      markScale(null);
      byId("readout").textContent = IDLE;
    } else {
      const value = shown.grid.at(cell.x, cell.y);
      const { vmin, vmax } = shown.answer.heatmap;
      markScale(positionOf(value, shown.answer.heatmap, shown.absolute));
      const share = percent(Math.abs(value) / (Math.max(Math.abs(vmin), Math.abs(vmax)) || 1));
      byId("readout").textContent =
        `Pixel ${cell.x}, ${cell.y}: relevance ${signed(value)}, ${share} of the scale.`;
    }
    draw();
  }

  /** @param {number} percentage of the map over the picture */
  function setOpacity(percentage) {
    opacity = percentage / 100;
    draw();
  }

  byId("opacity").oninput = ({ target }) => setOpacity(Number(target.value));
  byId("zoom-in").onclick = () => probe.zoom(2);
  byId("zoom-out").onclick = () => probe.zoom(1 / 2);
  new ResizeObserver(draw).observe(byId("probe"));

  return {
    clear() {
      shown = null;
      covered = { rectangles: [], pixels: null };
      probe.reset();
      for (const canvas of PANELS.map(byId)) {
        clearCanvas(canvas);
        canvas.setAttribute("aria-label", "Nothing to show");
      }
      clearScale();
      byId("readout").textContent = IDLE;
    },

    setOpacity,

    /** @param {boolean} on whether dragging covers a rectangle */
    setCovering(on) {
      probe.covering = on;
      byId("probe").classList.toggle("covering", on);
    },

    /** Draw covers. @param {Rectangle[]} rectangles @param {HTMLCanvasElement | null} pixels of the model's input, covered */
    cover(rectangles, pixels) {
      covered = { rectangles, pixels };
      draw();
    },

    /** @param {Shown} next */
    show(next) {
      shown = { ...next, veil: veilOf(next) };
      const { answer, title, grid } = next;
      const text = describeMap(answer, title, grid);
      byId("panel-relevance").setAttribute("aria-label", text);
      byId("panel-overlay").setAttribute("aria-label", `Over the picture: ${text}`);
      byId("panel-picture").setAttribute("aria-label", "The part of the picture that the model saw");
      showScale({ ...next, scale: answer.heatmap });
      read();
    },
  };
}

// Picture, overlay and map side by side: one frame, one probe, one scale.

import { byId } from "./dom.js";
import { Frame, clearCanvas, drawMap, drawOverlay, drawPicture, drawProbe, paint } from "./draw.js";
import { describeMap, percent, signed } from "./words.js";

const PANELS = ["panel-picture", "panel-overlay", "panel-relevance"];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const IDLE = "Point at a pixel to read its relevance.";

/** @typedef {{answer: any, title: string, map: ImageBitmap, grid: import("./draw.js").Grid, colours: string[],
 *   kind: string, picture: CanvasImageSource, crop: object, padColour: string, sign: string, smooth: boolean, absolute: boolean}} Shown */

export function createMapView() {
  const probe = byId("probe");
  const frame = new Frame();
  /** @type {Shown | null} */
  let shown = null;
  let cell = null;
  let dragged = null;

  function draw() {
    if (!shown) return;
    const { grid, map, smooth, picture, crop, padColour, sign, answer } = shown;
    const layers = [
      (c) => drawPicture(c, picture, crop, padColour),
      (c) => drawOverlay(c, { picture, crop, padColour, map, grid, sign, smooth, heatmap: answer.heatmap }),
      (c) => drawMap(c, map, smooth),
    ];
    PANELS.map(byId).forEach((canvas, i) => {
      paint(canvas, frame, (c) => {
        layers[i](c);
        if (cell) drawProbe(c, cell, grid);
      });
    });
    byId("zoom-level").textContent = `${Math.round(10 * frame.zoom) / 10}×`;
    byId("zoom-out").disabled = frame.zoom <= 1;
    byId("zoom-in").disabled = frame.zoom >= 8;
    probe.classList.toggle("zoomed", frame.zoom > 1);
  }

  function read(next) {
    cell = next;
    const mark = byId("scale-mark");
    mark.hidden = !cell;
    if (!cell) {
      byId("readout").textContent = IDLE;
    } else {
      const value = shown.grid.at(cell.x, cell.y);
      const { vmin, vmax } = shown.answer.heatmap;
      const position = ((shown.absolute ? Math.abs(value) : value) - vmin) / (vmax - vmin || 1);
      mark.style.left = `${100 * Math.min(1, Math.max(0, position))}%`;
      const share = percent(Math.abs(value) / (Math.max(Math.abs(vmin), Math.abs(vmax)) || 1));
      byId("readout").textContent =
        `Pixel ${cell.x}, ${cell.y}: relevance ${signed(value)}, ${share} of the scale.`;
    }
    draw();
  }

  function pointOf(event) {
    const box = event.target.getBoundingClientRect();
    return frame.point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  function cellOf(event) {
    const { x, y } = pointOf(event);
    const within = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value * size)));
    return { x: within(x, shown.grid.width), y: within(y, shown.grid.height) };
  }

  function zoom(factor, around = {}) {
    frame.zoomBy(factor, around.x, around.y);
    draw();
  }

  /** Keep the probe in sight when the keyboard moves it. */
  function follow() {
    const [x, y] = [(cell.x + 0.5) / shown.grid.width, (cell.y + 0.5) / shown.grid.height];
    const reach = 0.5 / frame.zoom;
    if (Math.abs(x - frame.x) > reach || Math.abs(y - frame.y) > reach) frame.moveTo(x, y);
  }

  probe.onpointermove = (event) => {
    if (!shown || event.target.tagName !== "CANVAS") return;
    if (dragged && frame.zoom > 1) {
      const { clientWidth, clientHeight } = event.target;
      frame.moveTo(
        dragged.x - (event.clientX - dragged.left) / (clientWidth * frame.zoom),
        dragged.y - (event.clientY - dragged.top) / (clientHeight * frame.zoom),
      );
    }
    read(cellOf(event));
  };
  probe.onpointerdown = (event) => {
    if (!shown || event.target.tagName !== "CANVAS") return;
    dragged = { x: frame.x, y: frame.y, left: event.clientX, top: event.clientY };
    event.target.setPointerCapture(event.pointerId);
    read(cellOf(event));
  };
  probe.onpointerup = probe.onpointercancel = () => (dragged = null);
  probe.onpointerleave = () => shown && read(null);
  probe.ondblclick = (event) => shown && zoom(2, pointOf(event));
  probe.addEventListener(
    "wheel",
    (event) => {
      if (!shown || !event.ctrlKey || event.target.tagName !== "CANVAS") return; // plain wheels scroll the page
      event.preventDefault();
      zoom(2 ** (-event.deltaY / 200), pointOf(event));
    },
    { passive: false },
  );
  probe.onkeydown = (event) => {
    if (!shown) return;
    if (event.key in STEPS) {
      const { width, height } = shown.grid;
      const from = cell ?? { x: width >> 1, y: height >> 1 };
      const [right, down] = cell ? STEPS[event.key] : [0, 0];
      cell = {
        x: Math.min(width - 1, Math.max(0, from.x + right)),
        y: Math.min(height - 1, Math.max(0, from.y + down)),
      };
      follow();
      read(cell);
    } else if (event.key === "+" || event.key === "=") zoom(2);
    else if (event.key === "-") zoom(1 / 2);
    else if (event.key === "Escape") read(null);
    else return;
    event.preventDefault();
  };
  byId("zoom-in").onclick = () => zoom(2);
  byId("zoom-out").onclick = () => zoom(1 / 2);
  new ResizeObserver(draw).observe(probe);

  return {
    clear() {
      shown = cell = null;
      for (const canvas of PANELS.map(byId)) {
        clearCanvas(canvas);
        canvas.setAttribute("aria-label", "Nothing to show");
      }
      for (const id of ["scale-low", "scale-middle", "scale-high"]) byId(id).textContent = "";
      byId("scale-bar").style.background = "";
      byId("scale-mark").hidden = true;
      byId("readout").textContent = IDLE;
    },

    /** @param {Shown} next */
    show(next) {
      shown = next;
      const { answer, title, grid } = next;
      const text = describeMap(answer, title, grid);
      byId("panel-relevance").setAttribute("aria-label", text);
      byId("panel-overlay").setAttribute("aria-label", `Over the picture: ${text}`);
      byId("panel-picture").setAttribute("aria-label", "The part of the picture that the model saw");
      showScale(next);
      read(cell);
    },
  };
}

function showScale({ answer, colours, kind, absolute }) {
  const { vmin, vmax } = answer.heatmap;
  const [lower, upper] = answer.versus
    ? [`for ${answer.versus.label}`, `for ${answer.target.label}`]
    : ["against", "for"];
  const used = absolute && kind === "diverging" ? colours.slice(colours.length >> 1) : colours;
  byId("scale-bar").style.background = `linear-gradient(to right, ${used.join(", ")})`;
  byId("scale-low").textContent = vmin < 0 ? `${signed(vmin)} ${lower}` : signed(vmin);
  byId("scale-middle").textContent = vmin === -vmax ? "0" : "";
  byId("scale-high").textContent = vmax > 0 && !absolute ? `${upper} ${signed(vmax)}` : signed(vmax);
}

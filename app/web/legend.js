// The scale of colours, its ends, and a mark at one value.

import { byId } from "./dom.js";
import { signed } from "./words.js";

/** @param {{scale: {vmin: number, vmax: number}, answer: any, colours: string[], kind: string, absolute: boolean}} shown */
export function showScale({ scale: { vmin, vmax }, answer, colours, kind, absolute }) {
  const [lower, upper] = answer.versus
    ? [`for ${answer.versus.label}`, `for ${answer.target.label}`]
    : ["against", "for"];
  const used = absolute && kind === "diverging" ? colours.slice(colours.length >> 1) : colours;
  byId("scale-bar").style.background = `linear-gradient(to right, ${used.join(", ")})`;
  byId("scale-low").textContent = vmin < 0 ? `${signed(vmin)} ${lower}` : signed(vmin);
  byId("scale-middle").textContent = vmin === -vmax ? "0" : "";
  byId("scale-high").textContent = vmax > 0 && !absolute ? `${upper} ${signed(vmax)}` : signed(vmax);
}

export function clearScale() {
  for (const id of ["scale-low", "scale-middle", "scale-high"]) byId(id).textContent = "";
  byId("scale-bar").style.background = "";
  markScale(null);
}

/** Where a value is on the scale: 0 at its lower end, 1 at its upper. @param {number} value @param {boolean} absolute */
export function positionOf(value, { vmin, vmax }, absolute) {
  const position = ((absolute ? Math.abs(value) : value) - vmin) / (vmax - vmin || 1);
  return Math.min(1, Math.max(0, position));
}

/** @param {number | null} position null: no value is marked */
export function markScale(position) {
  const mark = byId("scale-mark");
  mark.hidden = position === null;
  if (position !== null) mark.style.left = `${100 * position}%`;
}

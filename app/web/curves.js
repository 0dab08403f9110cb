// Perturbation curves as inline SVG: the probability of the target while patches are removed.

import { makeSvg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 190]; // of the drawing, in its own units
const FRAME = { x: 54, y: 10, width: 236, height: 136 };
const TICK = 6;

/**
 * @param {{most_relevant_first: number[], least_relevant_first: number[]}} curves after each removal
 * @param {number} start probability before the first one @param {string} text what the drawing shows, as a sentence
 * @returns {SVGElement}
 */
export function drawCurves({ most_relevant_first: most, least_relevant_first: least }, start, text) {
  const patches = most.length;
  const [first, last] = [most, least].map((curve) => points([start, ...curve]));
  const half = Math.max(1, Math.floor(patches / 2)) + 1; // the gap is measured over these
  return makeSvg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text },
    makeSvg("polygon", { class: "gap", points: joined([...first.slice(0, half), ...last.slice(0, half).reverse()]) }),
    makeSvg("rect", { class: "frame", ...FRAME }),
    ...[0, 0.5, 1].flatMap(levelTick),
    ...[0, Math.floor(patches / 2), patches].flatMap((count) => countTick(count, patches)),
    label("patches removed", FRAME.x + FRAME.width / 2, HEIGHT - 6, "middle"),
    makeSvg("g", { transform: `translate(12 ${FRAME.y + FRAME.height / 2}) rotate(-90)` }, label("probability", 0, 0, "middle")),
    makeSvg("polyline", { class: "least", points: joined(last) }),
    makeSvg("polyline", { class: "most", points: joined(first) }),
  );
}

const across = (share) => FRAME.x + share * FRAME.width;
const down = (level) => FRAME.y + (1 - level) * FRAME.height;

/** Places of probabilities after 0, 1, … removals. */
const points = (curve) => curve.map((level, i) => [across(i / (curve.length - 1)), down(level)]);
const joined = (places) => places.map((place) => place.map((value) => value.toFixed(2)).join(",")).join(" ");

function levelTick(level) {
  const y = down(level);
  return [
    makeSvg("line", { class: "tick", x1: FRAME.x, x2: FRAME.x + FRAME.width, y1: y, y2: y }),
    label(`${100 * level}%`, FRAME.x - TICK, y + 4, "end"),
  ];
}

function countTick(count, patches) {
  const [x, y] = [across(count / patches), FRAME.y + FRAME.height];
  return [
    makeSvg("line", { class: "tick", x1: x, x2: x, y1: y, y2: y + TICK / 2 }),
    label(String(count), x, y + 16, "middle"),
  ];
}

const label = (text, x, y, anchor) => makeSvg("text", { x, y, "text-anchor": anchor }, text);

// Checks what a link says: what is unknown here is named, and replaced by the default.

import { parseRectangle } from "./cover.js";
import { byId } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { DEFAULTS, fieldOf } from "./state.js";
import { plain } from "./words.js";

/** @typedef {{noun: string, knows: (value: any) => boolean, instead: string, wrong: string}} Check of one field */

/** @returns {Check} for a field that has one of `values` */
function among(noun, values, instead) {
  return { noun, knows: (value) => values.includes(value), instead, wrong: "is unknown" };
}

/** @returns {Check} for a field that is chosen from a list on the page */
function chosen(noun, name) {
  const values = [...byId(name).options].map(({ value }) => value).filter(Boolean); // "" is automatic
  return among(noun, values, `The default, ${DEFAULTS[name] ?? "automatic"}, is used.`);
}

/** @returns {Check} for a number from `minimum` to `maximum`; or above `minimum`, if that is Infinity */
function number(noun, minimum, maximum, instead) {
  const open = maximum === Infinity;
  const inRange = (value) => (open ? value > minimum : value >= minimum && value <= maximum);
  const knows = (value) => typeof value === "number" && inRange(value);
  const range = open ? `above ${plain(minimum)}` : `from ${plain(minimum)} to ${plain(maximum)}`;
  return { noun, knows, instead, wrong: `is not a number ${range}` };
}

/**
 * @param {{rules: any[], model: any, models: string[], colormaps: any[]}} service what it has
 * @param {string[]} tabs @param {import("./state.js").State} defaults
 * @returns {Record<string, Check>} by field of the state; others are not checked
 */
export function createChecks({ rules, model, models, colormaps }, tabs, defaults) {
  const names = rules.map(({ name }) => name);
  const classes = [...model.classes, ...model.classes.keys()].map(String); // numbers are taken as well
  const usualRule = rules.find(({ name }) => name === defaults.rule)?.title;
  const [, height, width] = model.input_size ?? [];
  const categorical = model.table?.features.filter(({ categories }) => categories) ?? [];
  const parameters = rules.flatMap((rule) => rule.parameters);
  return {
    model: among("model", models, `The default, ${model.name}, is used.`),
    example: among("example", EXAMPLES, "The first one is shown."),
    tab: among("view", tabs, "The map is shown."),
    rule: among("rule", names, `The default, ${usualRule}, is used.`),
    rules: among("rule", names, "It is left out of the comparison."),
    attention: among("rule of attention", model.attention, "The default is used."),
    target: among("class", classes, "The predicted class is explained."),
    versus: among("class", classes, "No class is contrasted."),
    targets: among("class", classes, "It is left out of the comparison."),
    unit: chosen("unit", "unit"),
    baseline: chosen("baseline", "baseline"),
    start: chosen("start", "start"),
    fit: chosen("fit", "fit"),
    sign: chosen("sign", "sign"),
    normalize: chosen("scale", "normalize"),
    view: chosen("view of a PNG", "view"),
    colormap: among(
      "colour map",
      colormaps.map(({ name }) => name),
      `The default, ${DEFAULTS.colormap}, is used.`,
    ),
    interpolation: among("interpolation", ["nearest", "bicubic"], "The map is not smoothed."),
    opacity: number("opacity", 0, 100, "The default is used."),
    cover: {
      noun: "cover",
      knows: (text) => parseRectangle(text, { width, height }) !== null,
      instead: "It is left out.",
      wrong: "is not left, top, width and height of a part of the picture, in pixels of the model",
    },
    fill: chosen("fill", "fill"),
    vmax: number("end of the scale", 0, Infinity, "The map has its own scale."),
    ...Object.fromEntries(
      categorical.map(({ name, categories }) => [
        fieldOf(name),
        among(name, categories, "The most frequent one is used."),
      ]),
    ),
    ...Object.fromEntries(
      parameters.map(({ name, minimum, maximum }) => [
        name,
        number(`parameter ${name}`, minimum, maximum, "Its default is used."),
      ]),
    ),
  };
}

/**
 * Replace what is not known by the default.
 * @param {import("./state.js").State} state @param {import("./state.js").State} defaults
 * @param {Record<string, Check>} checks
 * @returns {{state: import("./state.js").State, problems: string[]}} what was replaced, in sentences
 */
export function checkState(state, defaults, checks) {
  const known = { ...state };
  const problems = [];
  for (const [name, { noun, knows, instead, wrong }] of Object.entries(checks)) {
    if (state[name] === defaults[name]) continue;
    const unknown = [state[name]].flat().filter((value) => !knows(value));
    if (!unknown.length) continue;
    known[name] = Array.isArray(state[name]) ? state[name].filter(knows) : defaults[name];
    for (const value of unknown) problems.push(`The ${noun} “${value}” in the link ${wrong}. ${instead}`);
  }
  return { state: known, problems };
}

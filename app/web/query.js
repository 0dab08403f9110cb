// State -> the query parameters of a request, leaving out what the service would assume anyway.

import { DEFAULTS, applies } from "./state.js";

const SHARED = ["model", "attention", "unit", "baseline", "start", "fit", "sign", "normalize", "colormap", "interpolation"];

/** A change of one of these, or of a parameter of a rule, asks for a new explanation. */
export const ASKED = [...SHARED, "rule", "target", "versus", "layers", "vmax"];
/** A change of one of these, or of a parameter of a rule, asks for a new comparison. */
export const COMPARED = [...SHARED, "layers", "vmax", "rules", "targets"];

/** @param {string} kind of the model @param {import("./state.js").State} state @param {string[]} parameters those of the rule */
export function explainQuery(kind, state, parameters) {
  const query = new URLSearchParams({ rule: state.rule });
  for (const name of ["target", "versus"]) if (state[name] !== null) query.set(name, state[name]);
  return withStyle(query, kind, state, parameters);
}

/**
 * @param {string} kind of the model @param {import("./state.js").State} state @param {string[]} rules
 * @param {string[]} targets @param {string[]} parameters those of any of the rules
 */
export function compareQuery(kind, state, rules, targets, parameters) {
  const query = new URLSearchParams();
  for (const rule of rules) query.append("rule", rule);
  for (const target of targets) query.append("target", target);
  return withStyle(query, kind, state, parameters);
}

/** An evaluation is about a rule with its default parameters. @param {import("./state.js").State} state */
export function evaluateQuery(state) {
  const query = new URLSearchParams({ rule: state.rule });
  if (state.target !== null) query.set("target", state.target);
  return withChanged(query, state, ["model", "attention", "fit"]);
}

/** The scores of pixels that already have the size of the model's input. @param {import("./state.js").State} state */
export function predictQuery(state) {
  return withChanged(new URLSearchParams({ fit: "stretch" }), state, ["model"]);
}

function withStyle(query, kind, state, parameters) {
  for (const name of parameters) if (state[name] !== null) query.set(name, state[name]);
  for (const override of state.layers) query.append("layers", override);
  withChanged(query, state, SHARED.filter((name) => applies(kind, name)));
  if (applies(kind, "vmax") && state.vmax !== null && state.normalize !== "minmax") query.set("vmax", state.vmax);
  return query;
}

/** Add those of `names` whose value is not the default. */
function withChanged(query, state, names) {
  for (const name of names) if (state[name] !== DEFAULTS[name]) query.set(name, state[name]);
  return query;
}

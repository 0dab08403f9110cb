// What is asked for. All of it but a picture itself lives in the address, so that a link shows the same.

const text = { read: (values) => values[0], write: (value) => [value] };
const number = {
  /** What is no number stays text, for a message. */
  read: ([value]) => (value.trim() === "" || Number.isNaN(Number(value)) ? value : Number(value)),
  write: (value) => [String(value)],
};
const list = { read: (values) => values, write: (value) => value };

const FIELDS = {
  model: text,
  example: text,
  text,
  unit: text,
  baseline: text,
  tab: text,
  rule: text,
  attention: text,
  layers: list,
  target: text,
  versus: text,
  start: text,
  fit: text,
  sign: text,
  normalize: text,
  vmax: number,
  colormap: text,
  interpolation: text,
  opacity: number,
  cover: list,
  fill: text,
  view: text,
  rules: list,
  targets: list,
};

/**
 * What is not in the address. `null` leaves the choice to the service: its default model, parameter or start, the
 * predicted class, the map's own scale; no rules and targets to compare are the page's first few. The rule is in
 * `RULES`.
 */
export const DEFAULTS = Object.freeze({
  model: null,
  example: null,
  text: null,
  unit: "word",
  baseline: "mean",
  tab: "map",
  rule: null,
  attention: null,
  layers: [],
  target: null,
  versus: null,
  start: null,
  fit: "crop",
  sign: "all",
  normalize: "symmetric",
  vmax: null,
  colormap: "RdBu_r",
  interpolation: "nearest",
  opacity: 85,
  cover: [],
  fill: "grey",
  view: "heatmap",
  rules: [],
  targets: [],
});

/** The rule that a kind of model is explained with, where none is named. */
const RULES = { image: "epsilon_plus_flat", text: "epsilon_plus_flat", table: "zero" };
/** Fields that only some kinds of models have; others are for all. */
const OF_KINDS = {
  example: ["image"],
  text: ["text"],
  unit: ["text"],
  baseline: ["table"],
  fit: ["image"],
  sign: ["image", "text"],
  normalize: ["image", "text"],
  vmax: ["image", "text"],
  colormap: ["image", "text"],
  interpolation: ["image"],
  opacity: ["image"],
  cover: ["image"],
  fill: ["image"],
  view: ["image"],
};

/** @param {string} kind of the model @param {string} name of a field */
export const applies = (kind, name) => OF_KINDS[name]?.includes(kind) ?? true;

/** What a new picture makes meaningless. */
export const OF_PICTURE = Object.freeze({ target: null, versus: null, vmax: null, targets: [], cover: [] });
/** What another model makes meaningless. */
export const OF_MODEL = Object.freeze({ ...OF_PICTURE, attention: null, layers: [] });

/** Parameters that follow from another one, which GET /rules does not say: α − β = 1. */
const DEPENDENT = new Set(["beta"]);

/** Names of the parameters of `rules` that can be set, each once. @param {any[]} rules as of GET /rules */
export function settable(rules) {
  const names = rules.flatMap(({ parameters }) => parameters.map(({ name }) => name));
  return [...new Set(names)].filter((name) => !DEPENDENT.has(name));
}

/** The field of a feature of a table; null in the state is its usual value. @param {string} feature its name */
export const fieldOf = (feature) => `x.${feature}`;

/** @typedef {typeof DEFAULTS & Record<string, number | null>} State with the parameters of rules */

/** Converts the state to the fragment of an address and back. */
export class Address {
  #fields;

  /** @param {import("./models.js").About} about the model that is asked, and its rules */
  constructor({ model, rules }) {
    const features = model.table?.features ?? [];
    const more = [
      ...settable(rules).map((name) => [name, number]),
      ...features.map(({ name, categories }) => [fieldOf(name), categories ? text : number]),
    ];
    this.#fields = Object.fromEntries([
      ...Object.entries(FIELDS).filter(([name]) => applies(model.kind, name)),
      ...more,
    ]);
    const usual = { ...DEFAULTS, rule: RULES[model.kind] };
    /** @type {State} what an address without fragment says; without what only other kinds of models have */
    this.defaults = Object.fromEntries(Object.keys(this.#fields).map((name) => [name, usual[name] ?? null]));
  }

  /**
   * The fragment that keeps of a state what this model has as well.
   * @param {State} state @param {State} defaults of the model before
   */
  keep(state, defaults) {
    const fields = Object.keys(this.defaults).filter((name) => name.startsWith("x."));
    const own = { ...OF_MODEL, ...Object.fromEntries(fields.map((name) => [name, null])) };
    if (state.rule === defaults.rule) own.rule = this.defaults.rule;
    return this.write({ ...this.defaults, ...state, ...own });
  }

  /** The model that a link names: its rules have the parameters that the link may have. @param {string} hash */
  static model(hash) {
    return new URLSearchParams(hash.slice(1)).get("model");
  }

  /** @param {string} hash @returns {State} */
  read(hash) {
    const query = new URLSearchParams(hash.slice(1));
    const given = Object.entries(this.#fields).filter(([name]) => query.has(name));
    return {
      ...this.defaults,
      ...Object.fromEntries(given.map(([name, field]) => [name, field.read(query.getAll(name))])),
    };
  }

  /** @param {string} hash @returns {string[]} names with a value that are none of the state's */
  unknown(hash) {
    const given = [...new URLSearchParams(hash.slice(1))];
    return given.filter(([name, value]) => value && !(name in this.#fields)).map(([name]) => name);
  }

  /** @param {State} state @returns {string} hash with everything that differs from the defaults */
  write(state) {
    const query = new URLSearchParams();
    for (const [name, field] of Object.entries(this.#fields)) {
      if (state[name] === this.defaults[name]) continue;
      for (const value of field.write(state[name])) query.append(name, value);
    }
    return query.size ? `#${query}` : "";
  }
}

/** The one place where state changes. */
export class Store {
  #listeners = [];

  /** @param {State} state */
  constructor(state) {
    this.state = state;
  }

  /** @param {(state: State, changed: Set<string>) => void} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  /** @param {Partial<State>} patch */
  set(patch) {
    const changed = new Set(Object.keys(patch).filter((name) => patch[name] !== this.state[name]));
    if (!changed.size) return;
    this.state = { ...this.state, ...patch };
    for (const listener of this.#listeners) listener(this.state, changed);
  }
}

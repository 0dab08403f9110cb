// What is asked for. All of it but the picture itself lives in the address, so that a link shows the same.

const text = { read: (values) => values[0], write: (value) => [value] };
const number = { read: (values) => Number(values[0]), write: (value) => [String(value)] };
const list = { read: (values) => values, write: (value) => value };

const FIELDS = {
  example: text,
  tab: text,
  rule: text,
  epsilon: number,
  gamma: number,
  alpha: number,
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
  view: text,
  rules: list,
  targets: list,
};

/**
 * What is not in the address. `null` leaves the choice to the service: its default parameter, the predicted
 * class, the map's own scale; no rules and targets to compare are the page's first few.
 */
export const DEFAULTS = Object.freeze({
  example: null,
  tab: "map",
  rule: "epsilon_plus_flat",
  epsilon: null,
  gamma: null,
  alpha: null,
  layers: [],
  target: null,
  versus: null,
  start: "one",
  fit: "crop",
  sign: "all",
  normalize: "symmetric",
  vmax: null,
  colormap: "RdBu_r",
  interpolation: "nearest",
  view: "heatmap",
  rules: [],
  targets: [],
});

/** What a new picture makes meaningless. */
export const OF_PICTURE = Object.freeze({ target: null, versus: null, vmax: null, targets: [] });

/** @typedef {typeof DEFAULTS} State */

/** @param {string} hash of an address @returns {State} */
export function fromHash(hash) {
  const query = new URLSearchParams(hash.slice(1));
  const given = Object.keys(FIELDS).filter((name) => query.has(name));
  return {
    ...DEFAULTS,
    ...Object.fromEntries(given.map((name) => [name, FIELDS[name].read(query.getAll(name))])),
  };
}

/** @param {State} state @returns {string} hash with all that differs from the defaults */
export function toHash(state) {
  const query = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS)) {
    if (state[name] === DEFAULTS[name]) continue;
    for (const value of field.write(state[name])) query.append(name, value);
  }
  return query.size ? `#${query}` : "";
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

// The models of the service, and what it says of each.

/** @typedef {{model: any, rules: any[]}} About one model, as of GET /models/NAME and GET /rules */

/** Kinds of models, as of GET /models: the page begins with the first that there is. */
const KINDS = ["image", "text", "table"];

export class Models {
  #service;
  #default;
  #about = new Map();

  /** @param {import("./api.js").Service} service @param {any[]} entries as of GET /models */
  constructor(service, entries) {
    const defaults = KINDS.map((kind) => entries.find((entry) => entry.default && entry.kind === kind));
    this.#service = service;
    this.#default = defaults.find(Boolean).name;
    this.names = entries.map(({ name }) => name);
    this.kinds = new Map(entries.map(({ name, kind }) => [name, kind]));
  }

  /** @param {string} name @returns {string} what it takes */
  kind(name) {
    return this.kinds.get(name);
  }

  /** @param {string} name @returns {string | null} as in the state: null for the default model */
  inState(name) {
    return name === this.#default ? null : name;
  }

  /** @param {string | null} name one of `names`, else the default model is described @returns {Promise<About>} */
  async describe(name) {
    const known = this.names.includes(name) ? name : this.#default;
    const paths = [`models/${encodeURIComponent(known)}`, `rules?model=${encodeURIComponent(known)}`];
    if (!this.#about.has(known)) {
      const [model, rules] = await Promise.all(paths.map((path) => this.#service.read(path)));
      this.#about.set(known, { model, rules });
    }
    return this.#about.get(known);
  }
}

// The models of the service, and what it says of each.

/** @typedef {{model: any, rules: any[]}} About one model, as of GET /models/NAME and GET /rules */

export class Models {
  #service;
  #default;
  #about = new Map();

  /** @param {import("./api.js").Service} service @param {any[]} entries as of GET /models; those for pictures are used */
  constructor(service, entries) {
    const usable = entries.filter(({ kind }) => kind === "image");
    this.#service = service;
    this.#default = usable.find((entry) => entry.default)?.name;
    this.names = usable.map(({ name }) => name);
  }

  /** @param {string} name @returns {string | null} as in the state: null for the default model */
  inState(name) {
    return name === this.#default ? null : name;
  }

  /** @param {string | null} name one of `names`, else the default model is described @returns {Promise<About>} */
  async describe(name) {
    const known = this.names.includes(name) ? this.inState(name) : null;
    const paths = known === null ? ["model", "rules"] : [`models/${encodeURIComponent(known)}`, `rules?model=${encodeURIComponent(known)}`];
    if (!this.#about.has(known)) {
      const [model, rules] = await Promise.all(paths.map((path) => this.#service.read(path)));
      this.#about.set(known, { model, rules });
    }
    return this.#about.get(known);
  }
}

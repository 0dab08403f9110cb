// Requests about what is on the page: a picture, a text or a row of a table.

import { requestFor } from "./code.js";
import { compareQuery, explainQuery, predictQuery } from "./query.js";
import { settable } from "./state.js";
import { SHOWN } from "./view-scores.js";

const CELL_SIDE = 128; // of the small maps of layers, in pixels
const AT_ONCE = 4; // requests for them: more may be refused by a busy service
const SUFFIXES = { image: "", text: "/text", table: "/table" }; // of paths, by kind of model

/** @typedef {{body: Blob | string, name: string, title?: string}} Item what is explained: a picture's file or JSON, a name
 *   for files, and for people where it differs */
/** @typedef {Item & {answer: any}} Shown what is on the page, and its answer */

export class Requests {
  /**
   * @param {import("./api.js").Service} service @param {import("./state.js").Store} store @param {import("./models.js").About} about
   * @param {(state: import("./state.js").State, answer: any) => {rules: string[], targets: string[]}} picked to compare
   */
  constructor(service, store, { model, rules }, picked) {
    this.service = service;
    this.store = store;
    this.kind = model.kind;
    this.parameters = new Map(rules.map((rule) => [rule.name, settable([rule])]));
    this.picked = picked;
    /** Parameters that ask for the scores of all classes: those in view may be far down. */
    this.allScores = model.classes.length > SHOWN ? { top_k: model.classes.length } : {};
  }

  /**
   * Ask for the explanation that the state describes.
   * @param {Item} item @param {Record<string, any>} more parameters; null: the default @param {AbortSignal} signal
   */
  explain({ body }, more, signal) {
    const query = this.#explainQuery();
    for (const [name, value] of Object.entries(more)) {
      if (value === null) query.delete(name);
      else query.set(name, value);
    }
    return this.#ask(`explain${SUFFIXES[this.kind]}`, query, body, signal);
  }

  /** @param {Shown} shown @param {AbortSignal} signal */
  compare({ body, answer }, signal) {
    return this.#ask(`compare${SUFFIXES[this.kind]}`, this.#compareQuery(answer), body, signal);
  }

  /**
   * Ask for the relevance at several layers, a few at a time.
   * @param {Shown} shown @param {string[]} layers @param {AbortSignal} signal @param {(count: number) => void} onAnswers
   */
  async layers(shown, layers, signal, onAnswers) {
    const answers = [];
    while (answers.length < layers.length) {
      onAnswers(answers.length);
      const next = layers.slice(answers.length, answers.length + AT_ONCE);
      answers.push(...(await Promise.all(next.map((layer) => this.explain(shown, { layer, size: CELL_SIDE }, signal)))));
    }
    return answers;
  }

  /** Ask for the scores of pixels of the model's size. @param {Blob} file @param {AbortSignal} signal */
  predict(file, signal) {
    const query = predictQuery(this.store.state);
    for (const [name, value] of Object.entries(this.allScores)) query.set(name, value);
    return this.#ask("predict", query, file, signal);
  }

  /** @param {URLSearchParams} query @param {Shown} shown @param {AbortSignal} signal */
  evaluate(query, { body }, signal) {
    return this.#ask("evaluate", query, body, signal);
  }

  /** What is in view as a request, to be sent again from elsewhere. @param {Shown} shown @returns {import("./code.js").Request} */
  describe(shown) {
    const { state } = this.store;
    const query = state.tab === "compare" ? this.#compareQuery(shown.answer) : this.#explainQuery();
    return requestFor(state, shown, SUFFIXES[this.kind], query, this.service.hasKey);
  }

  /** What is in view, in another form. @param {Shown} shown @param {string} accept @returns {Promise<Blob>} */
  async fetchAs(shown, accept) {
    const { path, query } = this.describe(shown);
    return (await this.service.post(`${path}?${query}`, shown.body, accept)).blob();
  }

  async #ask(path, query, body, signal) {
    return (await this.service.post(`${path}?${query}`, body, "application/json", signal)).json();
  }

  #explainQuery() {
    const { state } = this.store;
    return explainQuery(this.kind, state, this.parameters.get(state.rule) ?? []);
  }

  #compareQuery(answer) {
    const { state } = this.store;
    const { rules, targets } = this.picked(state, answer);
    const parameters = rules.flatMap((rule) => this.parameters.get(rule) ?? []);
    return compareQuery(this.kind, state, rules, targets, parameters);
  }
}

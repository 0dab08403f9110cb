// Explanations of rows of tables.

import { byId } from "./dom.js";
import { fieldOf } from "./state.js";
import { createBarsView, smallBars } from "./view-bars.js";
import { createFormView, usualValue } from "./view-form.js";
import { reportOfRow } from "./words.js";

/** The rows of the page; a `Kind`. */
export class Tables {
  tab = "Features";
  parts = "features";
  main = "bars";
  plain = {};
  details = {};
  #item = null;

  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.page = page;
    this.bars = createBarsView();
    byId("baseline").onchange = ({ target }) => page.store.set({ baseline: target.value });
    byId("usual-row").onclick = () => page.store.set(Object.fromEntries(this.asked.map((name) => [name, null])));
  }

  use({ model }) {
    const { features } = model.table;
    this.features = features;
    this.asked = features.map(({ name }) => fieldOf(name));
    this.#item = null;
    this.form = createFormView(features, (name, value) => this.page.store.set({ [fieldOf(name)]: value }));
  }

  item(state) {
    const values = this.features.map((feature) => {
      const value = state[fieldOf(feature.name)] ?? usualValue(feature);
      return [feature.name, value === "" ? null : value];
    });
    const body = JSON.stringify({ features: Object.fromEntries(values) });
    if (this.#item?.body !== body) this.#item = { body, name: "row", title: "this row" };
    return this.#item;
  }

  link() {
    this.page.renew();
  }

  show(state) {
    this.form.show(state);
    byId("baseline").value = state.baseline;
  }

  async explain(item, _, signal) {
    const { requests } = this.page;
    return { answer: await requests.explain(item, requests.allScores, signal) };
  }

  deliver({ answer }) {
    this.form.mark([]);
    this.bars.show(answer);
  }

  report(answer) {
    return reportOfRow(answer);
  }

  scale() {
    return null;
  }

  extreme() {
    return 0;
  }

  cells(answers) {
    return smallBars(answers);
  }

  clear() {
    this.form.mark([]);
    this.bars.clear();
  }

  /** Errors about features are shown at their fields. */
  refuse({ errors = [] }) {
    return this.form.mark(errors.map(({ loc, msg }) => ({ name: loc.at(-1), message: msg })));
  }
}

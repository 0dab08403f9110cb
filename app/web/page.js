// What is explained and all that is shown of it: state in, requests out, answers to the views. What is special about
// pictures, texts and tables is in a module for each.

import { Latest } from "./api.js";
import { createClassSearch } from "./class-search.js";
import { byId, save } from "./dom.js";
import { Pictures } from "./pictures.js";
import { ASKED, COMPARED } from "./query.js";
import { Requests } from "./requests.js";
import { settable } from "./state.js";
import { Tables } from "./tables.js";
import { Texts } from "./texts.js";
import { showAnswer, showNoAnswer } from "./view-answer.js";
import { createCompareView } from "./view-compare.js";
import { createHoldView } from "./view-hold.js";
import { createLayersView } from "./view-layers.js";
import { createModelView } from "./view-model.js";
import { createRuleView } from "./view-rule.js";
import { createScoresView } from "./view-scores.js";
import { createTakeView } from "./view-take.js";
import { settle, tell } from "./view-trouble.js";
import { createVerifyView } from "./view-verify.js";
import { overrideOf } from "./words.js";

/** Tabs by kind of model; the first kind has all. */
export const TABS = {
  image: ["map", "compare", "layers", "trust"],
  text: ["map", "compare", "layers"],
  table: ["map", "compare", "layers"],
};
const PAUSE_MS = 80; // between requests while a slider moves

/**
 * @typedef {object} Kind what is special about a kind of input
 * @property {string} tab the name of the first one
 * @property {string} parts what relevance is about, such as "pixels"
 * @property {(answer: any) => string} report where the relevance went
 * @property {string} main the id of what is explained
 * @property {string[]} asked fields of the state that say what is explained
 * @property {Record<string, any>} plain parameters of an explanation that is not drawn large
 * @property {(state: import("./state.js").State) => import("./requests.js").Item | null} item what is explained; the
 *   same object while it is the same
 * @property {(about: import("./models.js").About) => void} use create the views that depend on the model
 * @property {(state: import("./state.js").State) => void} link a link says what is explained
 * @property {(state: import("./state.js").State) => void} show the state
 * @property {(item: any, state: import("./state.js").State, signal: AbortSignal) => Promise<any>} explain
 *   -> `answer`, and more that `deliver` needs
 * @property {(shown: any, state: import("./state.js").State) => void} deliver an answer
 * @property {(answer: any) => {vmin: number, vmax: number}} scale
 * @property {(shown: any, sign: 1 | -1) => number} extreme the largest or smallest relevance
 * @property {(answers: any[]) => (answer: any, text: string) => Node} cells draws each of several answers small, on one
 *   scale, with a text that says what it shows
 * @property {(item: any) => void} clear show what is explained without an answer
 * @property {(error: any) => boolean} refuse show what is wrong with parts of the input; false: it is something else
 */

/** What the page shows, once the service has said what there is. */
export class Page {
  #explaining = new Latest();
  #detailing = new Latest(); // the comparison, the layers or the evaluation, whichever is in view
  #trouble = null; // the last error of these
  #timer = null;
  #kind = null; // of the model
  #shown = null; // what everything on the page is about, and its answer
  #about = null; // the model that answers

  /**
   * A page without a model; `use` gives it one.
   * @param {import("./api.js").Service} service @param {import("./state.js").Store} store
   * @param {{models: string[], colormaps: any[]}} offered @param {(name: string) => void} onModel another one is chosen
   */
  constructor(service, store, { models, colormaps }, onModel) {
    this.service = service;
    this.store = store;
    this.colormaps = colormaps;
    this.model = createModelView(models, onModel);
    /** @type {Record<string, Kind>} */
    this.kinds = { image: new Pictures(this), text: new Texts(this), table: new Tables(this) };
    this.scores = createScoresView(
      (target) => this.#choose(target),
      (versus) => this.#contrast(versus),
    );
    this.take = createTakeView(
      () => this.requests.describe(this.#shown),
      (accept) => this.requests.fetchAs(this.#shown, accept),
      (error) => this.fail(error),
    );
    this.hold = createHoldView(
      store,
      () => this.#shown && this.#kind.scale(this.#shown.answer),
      (sign) => (this.#shown ? this.#kind.extreme(this.#shown, sign) : 0),
    );
    byId("grid-png").onclick = () =>
      this.requests.fetchAs(this.#shown, "image/png").then(
        (blob) => save(blob, this.requests.describe(this.#shown).saveAs),
        (error) => this.fail(error),
      );
    this.verify = createVerifyView(
      (signal) => this.explainShown({ verify: true, ...this.#kind.plain }, signal),
      (error) => this.fail(error),
    );
    byId("copy-link").onclick = () => this.#copyLink();
    store.subscribe((state, changed) => this.#changed(state, changed));
  }

  /** The tabs of the kind of model. */
  get tabs() {
    return TABS[this.#about.model.kind];
  }

  /** The id of what is explained. */
  get main() {
    return this.#kind.main;
  }

  /**
   * Show what is about another model, and nothing of the one before.
   * @param {import("./models.js").About} about @param {import("./state.js").Address} address for its fields
   */
  use(about, address) {
    if (about === this.#about) return;
    const { model, rules } = about;
    this.#explaining.cancel();
    if (this.#kind?.item(this.store.state)) this.#clear(`${model.name} is asked …`);
    this.#about = about;
    this.#kind = this.kinds[model.kind];
    this.address = address;
    this.#createViews(model, rules);
    this.model.show(model);
    this.#show(this.store.state);
  }

  /** Show what a link says is to be explained. @param {import("./state.js").State} state */
  link(state) {
    this.#kind.link(state);
  }

  /** Create what depends on the model. */
  #createViews(model, rules) {
    const { store } = this;
    for (const element of document.querySelectorAll("[data-for]"))
      element.classList.toggle("off", !element.dataset.for.split(" ").includes(model.kind));
    byId("tab-map").textContent = this.#kind.tab;
    this.titles = new Map(rules.map(({ name, title }) => [name, title]));
    this.#kind.use(this.#about);
    this.asked = [...ASKED, ...this.#kind.asked, ...settable(rules)];
    this.rule = createRuleView(store, rules, this.colormaps, model);
    this.compare = createCompareView(
      store,
      rules,
      model.classes,
      (rule, target) => store.set({ rule, target, versus: null, tab: "map" }),
      this.#kind,
    );
    this.requests = new Requests(this.service, store, this.#about, (state, answer) => this.compare.picked(state, answer));
    this.layers = createLayersView(
      model,
      (name) => this.titles.get(name) ?? name,
      this.#kind.parts,
      model.kind === "image" ? (...asked) => this.requests.layers(...asked) : null,
      () => this.#detail(),
    );
    this.details = this.#createDetails();
    createClassSearch("class-search", model.classes, (label, button) =>
      button === "versus" ? this.#contrast(label) : this.#choose(label),
    );
  }

  /** Say what went wrong. @param {Error} error @param {() => void} [again] what may help */
  fail(error, again = () => this.#explain()) {
    this.model.mark(this.#about.model.name);
    tell(error, again);
  }

  /** Explain what is on the page, with more parameters. @param {Record<string, any>} more @param {AbortSignal} signal */
  explainShown(more, signal) {
    return this.requests.explain(this.#shown, more, signal);
  }

  /** What is to be explained is another one. */
  renew() {
    this.#enable(false);
    this.#schedule(0);
  }

  /** Whether this kind of model is asked. @param {Kind} kind */
  has(kind) {
    return kind === this.#kind;
  }

  /** What the page shows, if it is what is to be explained. */
  current() {
    return this.#isOther(this.#kind.item(this.store.state)) ? null : this.#shown;
  }

  #choose(target) {
    this.store.set({ target, ...(this.store.state.versus === target && { versus: null }) });
  }

  #contrast(versus) {
    const { state } = this.store;
    const target = state.target ?? this.#shown?.answer.target.label;
    if (versus === target || !target) return;
    this.store.set(versus === state.versus ? { versus: null } : { versus, target });
  }

  #changed(state, changed) {
    history.replaceState(null, "", this.address.write(state) || location.pathname + location.search);
    this.#show(state);
    if (this.#kind.asked.some((name) => changed.has(name))) this.#enable(false);
    if (this.asked.some((name) => changed.has(name))) this.#schedule(PAUSE_MS);
    else if (changed.has("tab") || COMPARED.some((name) => changed.has(name))) this.#detail();
  }

  #show(state) {
    this.rule.show(state);
    this.hold.show(state);
    this.#kind.show(state);
    for (const tab of TABS.image) {
      byId(`tab-${tab}`).hidden = !this.tabs.includes(tab);
      byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === state.tab));
      byId(`tab-${tab}`).tabIndex = tab === state.tab ? 0 : -1;
      byId(`panel-${tab}`).hidden = tab !== state.tab;
    }
    if (this.#shown) this.#showRequest(state);
  }

  /** What is about the explanation or the comparison, whichever is in view. */
  #showRequest({ tab }) {
    this.take.show(tab !== "compare", this.#shown);
    byId("report").textContent = tab === "compare" ? this.compare.summary() : this.#kind.report(this.#shown.answer);
  }

  /** Allow what needs the answer on the page to be that for the input and the state. @param {boolean} on */
  #enable(on) {
    byId("take").inert = !on;
    byId("verify").disabled = !on;
    byId("sample").disabled = !on;
    byId("grid-png").disabled = !on;
  }

  /** Explain after `pause` milliseconds; what the open tab still computes is about an earlier state. */
  #schedule(pause) {
    this.#detailing.cancel();
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#explain();
    }, pause);
  }

  #explain() {
    const { state } = this.store;
    const item = this.#kind.item(state);
    if (!item) return;
    byId("panel-map").setAttribute("aria-busy", "true");
    this.#explaining.run(
      (signal) => this.#kind.explain(item, state, signal),
      ({ answer, ...more }) => {
        if (this.#isOther(item)) this.#clearDetails();
        this.#shown = { ...item, item, answer, ...more };
        this.#deliver(state);
        this.#detail();
      },
      (error) => {
        byId("panel-map").setAttribute("aria-busy", "false");
        this.#enable(false);
        if (this.#isOther(item)) this.#clear(`No explanation of ${item.title ?? item.name}`);
        if (!this.#kind.refuse(error)) this.fail(error);
      },
    );
  }

  /** Whether the page shows no answer for `item`. */
  #isOther(item) {
    return this.#shown?.item !== item;
  }

  #clearDetails() {
    this.#detailing.cancel();
    for (const { view } of Object.values(this.details)) view.clear();
  }

  /** Remove all that is about the last input or model: there is no answer for the new one. */
  #clear(heading) {
    this.#shown = null;
    this.#enable(false);
    this.#clearDetails();
    showNoAnswer(heading);
    byId("report").textContent = "";
    for (const view of [this.scores, this.verify, this.take]) view.clear();
    this.#kind.clear(this.#kind.item(this.store.state));
  }

  #deliver(state) {
    const { answer, note } = this.#shown;
    byId("error").hidden = true;
    byId("panel-map").setAttribute("aria-busy", "false");
    this.#enable(true);
    this.verify.reset();
    showAnswer(answer, note ? [note, ...answer.warnings] : answer.warnings);
    this.scores.show(answer);
    this.hold.show(state);
    this.#showRequest(state);
    byId("layers-example").textContent = overrideOf(answer.rule);
    this.#kind.deliver(this.#shown, state);
  }

  /** What tabs other than the map fetch and show, by tab. */
  #createDetails() {
    return {
      compare: { fetch: (signal) => this.requests.compare(this.#shown, signal), view: this.compare },
      layers: { fetch: (signal) => this.layers.fetch(this.#shown, signal), view: this.layers },
      ...this.#kind.details,
    };
  }

  /** Fetch what the open tab needs besides the map. */
  #detail() {
    const { state } = this.store;
    const detail = this.details[state.tab];
    const shown = this.current();
    if (!detail || !shown) return this.#detailing.cancel();
    return this.#detailing.run(
      (signal) => detail.fetch(signal, shown),
      (result) => {
        settle(this.#trouble);
        detail.view.show(result);
        this.#showRequest(state);
      },
      (error) => {
        detail.view.clear();
        this.#showRequest(state);
        this.fail((this.#trouble = error));
      },
    );
  }

  #copyLink() {
    const isMissing = this.#kind === this.kinds.image && !this.store.state.example;
    const words = isMissing
      ? "Link copied. The picture itself is not in it: who opens it chooses one."
      : "Link copied; it shows the same.";
    this.take.copy(location.href, words);
  }
}

// One picture and all that is shown of it: state in, requests out, answers to the views.

import { Latest } from "./api.js";
import { createClassSearch } from "./class-search.js";
import { bitmapOf, byId, save } from "./dom.js";
import { Grid, colourOf, pixelCanvas, whole } from "./draw.js";
import { exampleFile } from "./examples.js";
import { readPicture } from "./picture.js";
import { ASKED, COMPARED } from "./query.js";
import { Requests } from "./requests.js";
import { withinLimits } from "./scale.js";
import { OF_PICTURE, settable } from "./state.js";
import { showAnswer, showNoAnswer } from "./view-answer.js";
import { createCompareView } from "./view-compare.js";
import { createCoverView } from "./view-cover.js";
import { createHoldView } from "./view-hold.js";
import { createLayersView } from "./view-layers.js";
import { createMapView } from "./view-map.js";
import { createModelView } from "./view-model.js";
import { createPictureView } from "./view-picture.js";
import { createRuleView } from "./view-rule.js";
import { createSamplesView } from "./view-samples.js";
import { createScoresView } from "./view-scores.js";
import { createStripView } from "./view-strip.js";
import { createTakeView } from "./view-take.js";
import { settle, tell } from "./view-trouble.js";
import { createTrustView } from "./view-trust.js";
import { createVerifyView } from "./view-verify.js";
import { overrideOf, report } from "./words.js";

export const TABS = ["map", "compare", "layers", "trust"];
const PAUSE_MS = 80; // between requests while a slider moves
const SMOOTH_SIDE = 512; // enough for a smooth map on a dense screen; others are enlarged here

/** What the page shows, once the service has said what there is. */
export class Page {
  #explaining = new Latest();
  #detailing = new Latest(); // the comparison, the layers or the evaluation, whichever is in view
  #trouble = null; // the last error of these
  #loading = new Latest();
  #timer = null;
  #picture = null; // to be explained
  #shown = null; // the picture that everything on the page is about, and its answer
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
    this.map = createMapView({
      onDraft: (rectangle) => this.cover.draft(rectangle),
      onCover: (rectangle) => this.cover.add(rectangle),
      onUndo: () => this.cover.undo(),
    });
    this.pictures = createPictureView((example) => this.open({ example }));
    this.strip = createStripView((file) => this.open({ file }));
    this.scores = createScoresView(
      (target) => this.#choose(target),
      (versus) => this.#contrast(versus),
    );
    this.take = createTakeView(
      () => this.requests.describe(this.#shown),
      (accept) => this.requests.fetchAs(this.#shown, accept),
      (error) => this.fail(error),
    );
    this.hold = createHoldView(store, () => this.#shown);
    byId("grid-png").onclick = () =>
      this.requests.fetchAs(this.#shown, "image/png").then(
        (blob) => save(blob, this.requests.describe(this.#shown).saveAs),
        (error) => this.fail(error),
      );
    this.verify = createVerifyView(
      (signal) => this.requests.explain(this.#shown, { verify: true, size: "model" }, signal),
      (error) => this.fail(error),
    );
    byId("copy-link").onclick = () => this.#copyLink();
    store.subscribe((state, changed) => this.#changed(state, changed));
  }

  /**
   * Show what is about another model, and nothing of the one before.
   * @param {import("./models.js").About} about @param {import("./state.js").Address} address for its rules
   */
  use(about, address) {
    if (about === this.#about) return;
    const { model, rules } = about;
    this.#explaining.cancel();
    if (this.#picture) this.#clear(this.#picture, `${model.name} is asked …`);
    this.#about = about;
    this.address = address;
    this.#createViews(model, rules);
    this.model.show(model);
    this.#show(this.store.state);
  }

  /** Create what depends on the model. */
  #createViews(model, rules) {
    const { store } = this;
    const failed = (error) => this.fail(error);
    const mean = model.normalisation.mean.map((level) => Math.round(255 * level));
    this.limits = model.limits;
    this.padColour = colourOf(mean);
    this.asked = [...ASKED, ...settable(rules)];
    this.titles = new Map(rules.map(({ name, title }) => [name, title]));
    this.rule = createRuleView(store, rules, this.colormaps);
    this.compare = createCompareView(store, rules, model.classes, (rule, target) =>
      store.set({ rule, target, versus: null, tab: "map" }),
    );
    this.requests = new Requests(this.service, store, this.#about, (state, answer) => this.compare.picked(state, answer));
    this.cover = createCoverView(store, (file, signal) => this.requests.predict(file, signal), mean, this, failed);
    this.layers = createLayersView(
      model,
      (name) => this.titles.get(name) ?? name,
      (...asked) => this.requests.layers(...asked),
      () => this.#detail(),
    );
    this.trust = createTrustView(store, this.titles, (query, shown, signal) =>
      this.requests.evaluate(query, shown, signal),
    );
    this.samples = createSamplesView(model, (more, signal) => this.requests.explain(this.#shown, more, signal), failed);
    this.details = this.#createDetails();
    createClassSearch("class-search", model.classes, (label, button) =>
      button === "versus" ? this.#contrast(label) : this.#choose(label),
    );
  }

  /** Explain the first of these files; a strip lets choose another. @param {File[]} files @param {boolean} [made] by the page */
  openAll(files, made) {
    this.strip.show(files.length > 1 ? files : []);
    this.open({ file: files[0], made });
  }

  /** Take a new picture: a file, or an example by name. */
  open({ file = null, example = null, made = file === null }, keep = false) {
    this.#loading.run(
      async () => {
        const picture = await readPicture(file ?? (await exampleFile(example)), made);
        return withinLimits(picture, this.limits);
      },
      (picture) => {
        this.#picture = picture;
        this.#enable(false);
        this.strip.mark(picture.source);
        this.store.set({ example, ...(!keep && OF_PICTURE) });
        this.#schedule(0);
      },
      (error) => this.fail(error),
    );
  }

  /** Say what went wrong. @param {Error} error @param {() => void} [again] what may help */
  fail(error, again = () => this.#explain()) {
    this.model.mark(this.#about.model.name);
    tell(error, again);
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
    if (this.asked.some((name) => changed.has(name))) this.#schedule(PAUSE_MS);
    else if (changed.has("tab") || COMPARED.some((name) => changed.has(name))) this.#detail();
  }

  #show(state) {
    this.rule.show(state);
    this.hold.show(state);
    this.map.setOpacity(state.opacity);
    if (!this.#isOther(this.#picture)) this.cover.show(this.#shown);
    this.pictures.mark(state.example);
    for (const tab of TABS) {
      byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === state.tab));
      byId(`tab-${tab}`).tabIndex = tab === state.tab ? 0 : -1;
      byId(`panel-${tab}`).hidden = tab !== state.tab;
    }
    if (this.#shown) this.#showRequest(state);
  }

  /** What is about the explanation or the comparison, whichever is in view. */
  #showRequest({ tab }) {
    this.take.show(tab !== "compare", this.#shown);
    byId("report").textContent = tab === "compare" ? this.compare.summary() : report(this.#shown.answer);
  }

  /** Allow what needs the answer on the page to be that for the picture and the state. @param {boolean} on */
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
    if (!this.#picture) return;
    const { state } = this.store;
    const picture = this.#picture;
    byId("panel-map").setAttribute("aria-busy", "true");
    this.#explaining.run(
      async (signal) => {
        const size = state.interpolation === "bicubic" ? SMOOTH_SIDE : "model";
        const more = { values: true, size, ...this.requests.allScores };
        const answer = await this.requests.explain(picture, more, signal);
        return { answer, map: await bitmapOf(answer.heatmap.data) };
      },
      ({ answer, map }) => {
        if (this.#isOther(picture)) this.#clearDetails();
        this.#shown = { ...picture, picture, answer, grid: new Grid(answer.relevance.values) };
        this.#deliver(map, state);
        this.#detail();
      },
      (error) => {
        byId("panel-map").setAttribute("aria-busy", "false");
        this.#enable(false);
        if (this.#isOther(picture)) this.#clear(picture, `No explanation of ${picture.name}`);
        this.fail(error);
      },
    );
  }

  /** Whether the page shows no answer for `picture`. */
  #isOther(picture) {
    return this.#shown?.picture !== picture;
  }

  #clearDetails() {
    this.#detailing.cancel();
    for (const { view } of Object.values(this.details)) view.clear();
  }

  /** Remove all that is about the last picture or model: there is no answer for the new one. */
  #clear(picture, heading) {
    this.#shown = null;
    this.#enable(false);
    this.#clearDetails();
    showNoAnswer(heading);
    byId("report").textContent = "";
    for (const view of [this.pictures, this.scores, this.map, this.cover, this.verify, this.samples, this.take]) view.clear(picture);
  }

  #deliver(map, state) {
    const { answer, grid, name, image, note } = this.#shown;
    const seen = pixelCanvas(answer.input.pixels);
    const shown = image ? { picture: image, crop: answer.input.crop } : { picture: seen, crop: whole(seen) };
    const { colours, kind } = this.colormaps.find((colormap) => colormap.name === answer.heatmap.colormap);
    byId("error").hidden = true;
    byId("panel-map").setAttribute("aria-busy", "false");
    this.#enable(true);
    this.verify.reset();
    this.samples.reset();
    showAnswer(answer, note ? [note, ...answer.warnings] : answer.warnings);
    this.pictures.show(answer, name, shown);
    this.scores.show(answer);
    this.hold.show(state);
    this.#showRequest(state);
    byId("layers-example").textContent = overrideOf(answer.rule);
    this.map.show({
      ...shown,
      padColour: this.padColour,
      answer,
      map,
      colours,
      kind,
      title: this.titles.get(answer.rule.name),
      grid,
      sign: state.sign,
      smooth: state.interpolation === "bicubic",
      absolute: state.normalize === "absolute",
    });
    this.cover.show(this.#shown);
  }

  /** What tabs other than the map fetch and show, by tab. */
  #createDetails() {
    return {
      compare: { fetch: (signal) => this.requests.compare(this.#shown, signal), view: this.compare },
      layers: { fetch: (signal) => this.layers.fetch(this.#shown, signal), view: this.layers },
      trust: { fetch: (signal) => this.trust.fetch(this.#shown, signal), view: this.trust },
    };
  }

  /** Fetch what the open tab needs besides the map. */
  #detail() {
    const { state } = this.store;
    const detail = this.details[state.tab];
    if (!detail || !this.#shown || this.#isOther(this.#picture)) return this.#detailing.cancel();
    return this.#detailing.run(
      detail.fetch,
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
    const words = this.store.state.example
      ? "Link copied; it shows the same."
      : "Link copied. The picture itself is not in it: who opens it chooses one.";
    this.take.copy(location.href, words);
  }
}

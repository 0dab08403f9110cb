// One picture and all that is shown of it: state in, requests out, answers to the views.

import { Latest } from "./api.js";
import { requestFor } from "./code.js";
import { bitmapOf, byId, save } from "./dom.js";
import { Grid, pixelCanvas, whole } from "./draw.js";
import { exampleFile } from "./examples.js";
import { readPicture } from "./picture.js";
import { ASKED, COMPARED, compareQuery, explainQuery } from "./query.js";
import { withinLimits } from "./scale.js";
import { OF_PICTURE, settable } from "./state.js";
import { showAnswer, showNoAnswer } from "./view-answer.js";
import { createCompareView } from "./view-compare.js";
import { createLayersView } from "./view-layers.js";
import { createMapView } from "./view-map.js";
import { createPictureView } from "./view-picture.js";
import { createRuleView } from "./view-rule.js";
import { createScoresView } from "./view-scores.js";
import { createStripView } from "./view-strip.js";
import { createTakeView } from "./view-take.js";
import { tell } from "./view-trouble.js";
import { report, verified } from "./words.js";

export const TABS = ["map", "compare", "layers"];
const PAUSE_MS = 80; // between requests while a slider moves
const MAP_SIDE = 512; // enough for a smooth map on a dense screen
const CELL_SIDE = 128;

/** What the page shows, once the service has said what there is. */
export class Page {
  #explaining = new Latest();
  #detailing = new Latest(); // the comparison or the layers, whichever is in view
  #loading = new Latest();
  #verifying = new Latest();
  #timer = null;
  #picture = null; // to be explained
  #shown = null; // the picture that everything on the page is about, and its answer

  constructor(service, store, address, { rules, model, colormaps }) {
    this.address = address;
    this.service = service;
    this.store = store;
    this.colormaps = colormaps;
    this.limits = model.limits;
    this.parameters = new Map(rules.map((rule) => [rule.name, settable([rule])]));
    this.asked = [...ASKED, ...settable(rules)];
    this.titles = new Map(rules.map(({ name, title }) => [name, title]));
    this.map = createMapView();
    this.rule = createRuleView(store, rules, colormaps);
    this.pictures = createPictureView((example) => this.open({ example }));
    this.strip = createStripView((file) => this.open({ file }));
    this.scores = createScoresView(
      (target) => store.set({ target, ...(store.state.versus === target && { versus: null }) }),
      (versus) => this.#contrast(versus),
    );
    this.compare = createCompareView(store, rules, model.classes, (rule, target) =>
      store.set({ rule, target, versus: null, tab: "map" }),
    );
    this.layers = createLayersView(model.layers, (name) => this.titles.get(name) ?? name);
    this.details = {
      compare: { fetch: (signal) => this.#fetchComparison(signal), view: this.compare },
      layers: { fetch: (signal) => this.#fetchLayers(signal), view: this.layers },
    };
    this.take = createTakeView(
      () => this.#request(),
      (accept) => this.#fetchAs(accept),
      (error) => this.fail(error),
    );
    const [, height, width] = model.input_size;
    document.documentElement.style.setProperty("--model-shape", `${width} / ${height}`);
    this.padColour = colourOf(model.normalisation.mean);
    byId("model").textContent =
      `${model.name}${model.accuracy ? `, right on ${(100 * model.accuracy).toFixed(1)}% of its test pictures` : ""}`;
    byId("hold").onchange = ({ target }) =>
      store.set({ vmax: target.checked && this.#shown ? this.#shown.answer.heatmap.vmax : null });
    byId("grid-png").onclick = () =>
      this.#fetchAs("image/png").then(
        (blob) => save(blob, this.#request().saveAs),
        (error) => this.fail(error),
      );
    byId("copy-link").onclick = () => this.#copyLink();
    byId("verify").onclick = () => this.#verify();
    store.subscribe((state, changed) => this.#changed(state, changed));
    this.#show(store.state);
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

  /** Say what went wrong. @param {Error} error */
  fail(error) {
    tell(error, () => this.#explain());
  }

  #contrast(versus) {
    const { state } = this.store;
    if (versus === state.versus) return this.store.set({ versus: null });
    return this.store.set({ versus, target: state.target ?? this.#shown.answer.target.label });
  }

  #changed(state, changed) {
    history.replaceState(null, "", this.address.write(state) || location.pathname + location.search);
    this.#show(state);
    if (this.asked.some((name) => changed.has(name))) this.#schedule(PAUSE_MS);
    else if (changed.has("tab") || COMPARED.some((name) => changed.has(name))) this.#detail();
  }

  #show(state) {
    this.rule.show(state);
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
    byId("grid-png").disabled = !on;
  }

  #schedule(pause) {
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
        const query = this.#explainQuery();
        query.set("values", "true");
        query.set("size", MAP_SIDE);
        const answer = await this.#ask("explain", query, signal, picture);
        return { answer, map: await bitmapOf(answer.heatmap.data) };
      },
      ({ answer, map }) => {
        if (this.#isOther(picture)) this.#clearDetails();
        this.#shown = { ...picture, picture, answer };
        this.#deliver(map, state);
        this.#detail();
      },
      (error) => {
        byId("panel-map").setAttribute("aria-busy", "false");
        this.#enable(false);
        if (this.#isOther(picture)) this.#clear(picture);
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

  /** Remove all that is about the last picture: there is no answer for the new one. */
  #clear(picture) {
    this.#shown = null;
    this.#verifying.cancel();
    this.#clearDetails();
    showNoAnswer(picture.name);
    byId("report").textContent = "";
    byId("verified").textContent = "";
    for (const view of [this.pictures, this.scores, this.map, this.take]) view.clear(picture);
  }

  #deliver(map, state) {
    const { answer, name, image, note } = this.#shown;
    const seen = pixelCanvas(answer.input.pixels);
    const shown = image ? { picture: image, crop: answer.input.crop } : { picture: seen, crop: whole(seen) };
    const { colours, kind } = this.colormaps.find((colormap) => colormap.name === answer.heatmap.colormap);
    byId("error").hidden = true;
    byId("panel-map").setAttribute("aria-busy", "false");
    this.#verifying.cancel();
    this.#enable(true);
    byId("verified").textContent = "against Zennit, the reference";
    showAnswer(answer, note ? [note, ...answer.warnings] : answer.warnings);
    this.pictures.show(answer, name, { ...shown, seen });
    this.scores.show(answer);
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
      grid: new Grid(answer.relevance.values),
      sign: state.sign,
      smooth: state.interpolation === "bicubic",
      absolute: state.normalize === "absolute",
    });
  }

  /** Fetch what the open tab needs besides the map. */
  #detail() {
    const { state } = this.store;
    const detail = this.details[state.tab];
    if (!detail || !this.#shown || this.#isOther(this.#picture)) return this.#detailing.cancel();
    return this.#detailing.run(
      detail.fetch,
      (result) => {
        detail.view.show(result);
        this.#showRequest(state);
      },
      (error) => {
        detail.view.clear();
        this.#showRequest(state);
        this.fail(error);
      },
    );
  }

  #fetchComparison(signal) {
    const query = this.#compareQuery();
    query.set("size", CELL_SIDE);
    return this.#ask("compare", query, signal);
  }

  #fetchLayers(signal) {
    const names = this.layers.names(this.#shown.answer);
    return Promise.all(names.map((layer) => this.#explainLayer(layer, signal)));
  }

  #explainLayer(layer, signal) {
    const query = this.#explainQuery();
    query.set("layer", layer);
    query.set("size", CELL_SIDE);
    return this.#ask("explain", query, signal);
  }

  /** Send a picture, get the answer to the question that `query` is. */
  async #ask(path, query, signal, { file } = this.#shown) {
    return (await this.service.post(`${path}?${query}`, file, "application/json", signal)).json();
  }

  #explainQuery() {
    const { state } = this.store;
    return explainQuery(state, this.parameters.get(state.rule) ?? []);
  }

  #compareQuery() {
    const { state } = this.store;
    const { rules, targets } = this.compare.picked(state, this.#shown.answer);
    return compareQuery(
      state,
      rules,
      targets,
      rules.flatMap((rule) => this.parameters.get(rule) ?? []),
    );
  }

  /** This very request, to be sent again from elsewhere. @returns {import("./code.js").Request} */
  #request() {
    const { state } = this.store;
    const query = state.tab === "compare" ? this.#compareQuery() : this.#explainQuery();
    return requestFor(state, this.#shown, query, this.service.hasKey);
  }

  async #fetchAs(accept) {
    const { path, query } = this.#request();
    return (await this.service.post(`${path}?${query}`, this.#shown.file, accept)).blob();
  }

  #verify() {
    const query = this.#explainQuery();
    query.set("verify", "true");
    query.set("size", "model");
    byId("verified").textContent = "computing it again …";
    this.#verifying.run(
      (signal) => this.#ask("explain", query, signal),
      ({ relevance }) => (byId("verified").textContent = verified(relevance.verify)),
      (error) => this.fail(error),
    );
  }

  #copyLink() {
    const words = this.store.state.example
      ? "Link copied; it shows the same."
      : "Link copied. The picture itself is not in it: who opens it chooses one.";
    this.take.copy(location.href, words);
  }
}

/** @param {number[]} mean one level of grey, or of red, green and blue, in 0…1 @returns {string} */
function colourOf([red, green = red, blue = red]) {
  return `rgb(${[red, green, blue].map((level) => Math.round(255 * level)).join(" ")})`;
}

/** An override for the first layer at which a rule does something. */
function overrideOf({ layers }) {
  return `${layers.find(({ rule }) => rule !== "pass").name}:w_square`;
}

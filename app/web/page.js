// One picture and all that is shown of it: state in, requests out, answers to the views.

import { Latest } from "./api.js";
import { bitmapOf, byId, make, save } from "./dom.js";
import { Grid, pixelCanvas } from "./draw.js";
import { exampleFile } from "./examples.js";
import { readPicture } from "./picture.js";
import { ASKED, COMPARED, compareQuery, explainQuery } from "./query.js";
import { OF_PICTURE, settable } from "./state.js";
import { createCompareView } from "./view-compare.js";
import { createLayersView } from "./view-layers.js";
import { createMapView } from "./view-map.js";
import { createPictureView } from "./view-picture.js";
import { createRuleView } from "./view-rule.js";
import { createScoresView } from "./view-scores.js";
import { createTakeView } from "./view-take.js";
import { tell } from "./view-trouble.js";
import { question, report, standing, verified } from "./words.js";

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
  #picture = null;
  #answer = null;

  constructor(service, store, address, { rules, model, colormaps }) {
    this.address = address;
    this.service = service;
    this.store = store;
    this.colormaps = colormaps;
    this.parameters = new Map(rules.map((rule) => [rule.name, settable([rule])]));
    this.asked = [...ASKED, ...settable(rules)];
    this.titles = new Map(rules.map(({ name, title }) => [name, title]));
    this.map = createMapView();
    this.rule = createRuleView(store, rules, colormaps);
    this.pictures = createPictureView((example) => this.open({ example }));
    this.scores = createScoresView(
      (target) => store.set({ target, ...(store.state.versus === target && { versus: null }) }),
      (versus) => this.#contrast(versus),
    );
    this.compare = createCompareView(store, rules, model.classes, (rule, target) =>
      store.set({ rule, target, versus: null, tab: "map" }),
    );
    this.layers = createLayersView(model.layers, (name) => this.titles.get(name) ?? name);
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
      store.set({ vmax: target.checked && this.#answer ? this.#answer.heatmap.vmax : null });
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

  /** Take a new picture: a file, or an example by name. */
  open({ file = null, example = null }, keep = false) {
    this.#loading.run(
      async () => readPicture(file ?? (await exampleFile(example))),
      (picture) => {
        this.#picture = picture;
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
    return this.store.set({ versus, target: state.target ?? this.#answer.target.label });
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
    if (this.#answer) this.take.show(state.tab !== "compare");
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
        const answer = await this.#ask("explain", query, signal);
        return { answer, map: await bitmapOf(answer.heatmap.data) };
      },
      ({ answer, map }) => {
        this.#answer = answer;
        this.#deliver(answer, map, picture, state);
        this.#detail();
      },
      (error) => {
        byId("panel-map").setAttribute("aria-busy", "false");
        byId("take").inert = true;
        this.fail(error);
      },
    );
  }

  #deliver(answer, map, { name, image }, state) {
    const seen = pixelCanvas(answer.input.pixels);
    const whole = { left: 0, top: 0, width: seen.width, height: seen.height };
    const shown = image ? { picture: image, crop: answer.input.crop } : { picture: seen, crop: whole };
    const { colours, kind } = this.colormaps.find((colormap) => colormap.name === answer.heatmap.colormap);
    byId("error").hidden = true;
    byId("panel-map").setAttribute("aria-busy", "false");
    this.#verifying.cancel();
    byId("take").inert = false;
    byId("verified").textContent = "against Zennit, the reference";
    byId("question").textContent = question(answer);
    document.title = `${question(answer)} LRPServe`;
    byId("answer").textContent = standing(answer);
    byId("report").textContent = report(answer);
    byId("warnings").replaceChildren(...answer.warnings.map((textContent) => make("li", { textContent })));
    this.pictures.show(answer, name, { ...shown, seen });
    this.scores.show(answer);
    this.take.show(state.tab !== "compare");
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

  /** What the open tab needs besides the map. */
  #detail() {
    const { state } = this.store;
    if (!this.#answer || state.tab === "map") return this.#detailing.cancel();
    if (state.tab === "compare") {
      return this.#detailing.run(
        async (signal) => {
          const query = this.#compareQuery();
          query.set("size", CELL_SIDE);
          return this.#ask("compare", query, signal);
        },
        (comparison) => this.compare.show(comparison),
        (error) => this.fail(error),
      );
    }
    return this.#detailing.run(
      (signal) =>
        Promise.all(this.layers.names(this.#answer).map((layer) => this.#explainLayer(layer, signal))),
      (answers) => this.layers.show(answers),
      (error) => this.fail(error),
    );
  }

  #explainLayer(layer, signal) {
    const query = this.#explainQuery();
    query.set("layer", layer);
    query.set("size", CELL_SIDE);
    return this.#ask("explain", query, signal);
  }

  /** Send the picture, get the answer to the question that `query` is. */
  async #ask(path, query, signal) {
    const response = await this.service.post(
      `${path}?${query}`,
      this.#picture.file,
      "application/json",
      signal,
    );
    return response.json();
  }

  #explainQuery() {
    const { state } = this.store;
    return explainQuery(state, this.parameters.get(state.rule) ?? []);
  }

  #compareQuery() {
    const { state } = this.store;
    const { rules, targets } = this.compare.picked(state, this.#answer);
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
    const comparing = state.tab === "compare";
    const query = comparing ? this.#compareQuery() : this.#explainQuery();
    if (!comparing && state.view !== "heatmap") query.set("view", state.view);
    const { name } = this.#picture;
    const stem = name.replace(/\.\w+$/, "");
    const what = comparing ? ["compared"] : [this.#answer.target.label, state.rule];
    return {
      path: comparing ? "compare" : "explain",
      query,
      name,
      saveAs: `${[stem, ...what].join("-")}.png`,
      withKey: this.service.hasKey,
    };
  }

  async #fetchAs(accept) {
    const { path, query } = this.#request();
    return (await this.service.post(`${path}?${query}`, this.#picture.file, accept)).blob();
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

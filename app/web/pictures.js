// Explanations of pictures.

import { Latest, ServiceError } from "./api.js";
import { bitmapOf, heatmapImage } from "./dom.js";
import { Grid, colourOf, pixelCanvas, whole } from "./draw.js";
import { EXAMPLES, exampleFile } from "./examples.js";
import { readPicture, watchSources } from "./picture.js";
import { withinLimits } from "./scale.js";
import { OF_PICTURE } from "./state.js";
import { createCoverView } from "./view-cover.js";
import { createMapView } from "./view-map.js";
import { createPictureView } from "./view-picture.js";
import { createSamplesView } from "./view-samples.js";
import { createStripView } from "./view-strip.js";
import { createTrustView } from "./view-trust.js";
import { report } from "./words.js";

const SMOOTH_SIDE = 512; // enough for a smooth map on a dense screen; others are enlarged here

/** The pictures of the page; a `Kind`. */
export class Pictures {
  tab = "Map";
  parts = "pixels";
  main = "probe";
  asked = [];
  plain = { size: "model" };
  #loading = new Latest();
  #picture = null; // to be explained

  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.page = page;
    this.map = createMapView({
      onDraft: (rectangle) => this.cover.draft(rectangle),
      onCover: (rectangle) => this.cover.add(rectangle),
      onUndo: () => this.cover.undo(),
    });
    this.pictures = createPictureView((example) => this.open({ example }));
    this.strip = createStripView((file) => this.open({ file }));
    watchSources(
      (files, made) => this.#take(files, made),
      (message) => page.fail(new ServiceError(message)),
    );
  }

  use({ model }) {
    const { page } = this;
    const failed = (error) => page.fail(error);
    const mean = model.normalisation.mean.map((level) => Math.round(255 * level));
    this.limits = model.limits;
    this.padColour = colourOf(mean);
    const views = { map: this.map, pictures: this.pictures, scores: page.scores };
    this.cover = createCoverView(page.store, (file, signal) => page.requests.predict(file, signal), mean, views, failed);
    this.trust = createTrustView(page.store, page.titles, (query, shown, signal) =>
      page.requests.evaluate(query, shown, signal),
    );
    this.samples = createSamplesView(model, (more, signal) => page.explainShown(more, signal), failed);
    this.details = { trust: { fetch: (signal, shown) => this.trust.fetch(shown, signal), view: this.trust } };
  }

  item() {
    return this.#picture;
  }

  link({ example }) {
    const isShown = this.#picture && (example === null || example === this.page.store.state.example);
    if (!isShown) this.open({ example: example ?? EXAMPLES[0] }, true);
  }

  /** Explain the first of these files; a strip lets choose another. */
  #take(files, made) {
    if (!this.page.has(this)) return this.page.fail(new ServiceError("This model does not take pictures; choose another model first."));
    this.strip.show(files.length > 1 ? files : []);
    return this.open({ file: files[0], made });
  }

  /** Take a new picture: a file, made by the page or not, or an example by name. */
  open({ file = null, example = null, made = file === null }, keep = false) {
    const { page } = this;
    this.#loading.run(
      async () => {
        const picture = await readPicture(file ?? (await exampleFile(example)), made);
        return withinLimits(picture, this.limits);
      },
      (picture) => {
        if (!page.has(this)) return; // another model was chosen
        this.#picture = picture;
        this.strip.mark(picture.source);
        page.store.set({ example, ...(!keep && OF_PICTURE) });
        page.renew();
      },
      (error) => page.fail(error),
    );
  }

  show(state) {
    const shown = this.page.current();
    this.map.setOpacity(state.opacity);
    if (shown) this.cover.show(shown);
    this.pictures.mark(state.example);
  }

  async explain(picture, state, signal) {
    const { requests } = this.page;
    const size = state.interpolation === "bicubic" ? SMOOTH_SIDE : "model";
    const answer = await requests.explain(picture, { values: true, size, ...requests.allScores }, signal);
    return { answer, map: await bitmapOf(answer.heatmap.data), grid: new Grid(answer.relevance.values) };
  }

  deliver(shown, state) {
    const { answer, map, grid, name, image } = shown;
    const seen = pixelCanvas(answer.input.pixels);
    const drawn = image ? { picture: image, crop: answer.input.crop } : { picture: seen, crop: whole(seen) };
    const { colours, kind } = this.page.colormaps.find((colormap) => colormap.name === answer.heatmap.colormap);
    this.samples.reset();
    this.pictures.show(answer, name, drawn);
    this.map.show({
      ...drawn,
      padColour: this.padColour,
      answer,
      map,
      colours,
      kind,
      title: this.page.titles.get(answer.rule.name),
      grid,
      sign: state.sign,
      smooth: state.interpolation === "bicubic",
      absolute: state.normalize === "absolute",
    });
    this.cover.show(shown);
  }

  report(answer) {
    return report(answer, this.parts);
  }

  scale({ heatmap }) {
    return heatmap;
  }

  extreme({ grid }, sign) {
    return grid.extreme(sign).value;
  }

  cells() {
    return ({ heatmap }, text) => heatmapImage(heatmap, text);
  }

  clear(picture) {
    for (const view of [this.pictures, this.map, this.cover, this.samples]) view.clear(picture);
  }

  refuse() {
    return false;
  }
}

// Explanations of texts.

import { byId, make } from "./dom.js";
import { clearScale, markScale, showScale } from "./legend.js";
import { createTextView, paintPaper, paintedText, painter } from "./view-text.js";
import { report } from "./words.js";

const PAUSE_MS = 300; // after the last key, before a text is sent
const EXAMPLES = [
  "a gorgeous, witty film",
  "not bad at all",
  "the jokes are stale, the plot is thin and nobody seems to care",
  "although it takes an hour to find its feet and never quite explains why the two brothers stopped talking, this " +
    "quiet drama earns its tears, because the actors trust a silence more than any of the speeches they are given",
];
const NAMES = ["praise", "a negation", "a complaint", "a long sentence"];

/** The texts of the page; a `Kind`. */
export class Texts {
  tab = "Words";
  parts = "words";
  main = "words";
  asked = ["text"];
  plain = {};
  details = {};
  #item = null;
  #timer = null;

  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.page = page;
    this.view = createTextView((word) => markScale(word && word.position));
    byId("text").oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#write(byId("text").value), PAUSE_MS);
    };
    byId("unit").onchange = ({ target }) => page.store.set({ unit: target.value });
    this.buttons = EXAMPLES.map((text, i) => {
      const button = make("button", { type: "button", title: text, textContent: NAMES[i] });
      button.onclick = () => this.#write(text);
      return button;
    });
    byId("text-examples").replaceChildren(...this.buttons.map((button) => make("li", {}, button)));
  }

  #write(text) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.page.store.set({ text: text === EXAMPLES[0] ? null : text });
  }

  use({ model }) {
    byId("text-limit").textContent = `The model takes ${model.text.max_tokens} tokens.`;
  }

  item({ text }) {
    const sent = text ?? EXAMPLES[0];
    if (this.#item?.text !== sent) this.#item = { text: sent, body: JSON.stringify({ text: sent }), name: "text", title: "this text" };
    return this.#item;
  }

  link() {
    this.page.renew();
  }

  show(state) {
    const { text } = this.item(state);
    if (this.#timer === null && byId("text").value !== text) byId("text").value = text; // else it is being written
    byId("unit").value = state.unit;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(EXAMPLES[i] === text)));
  }

  async explain(item, _, signal) {
    const { requests } = this.page;
    return { answer: await requests.explain(item, requests.allScores, signal) };
  }

  deliver({ text, answer }, state) {
    const colormap = this.#colormap(answer);
    showScale({ ...colormap, scale: answer.scale, answer, absolute: state.normalize === "absolute" });
    this.view.show(text, answer, painter(answer.scale, colormap, state));
  }

  #colormap({ scale }) {
    return this.page.colormaps.find(({ name }) => name === scale.colormap);
  }

  report(answer) {
    return report(answer, this.parts);
  }

  scale({ scale }) {
    return scale;
  }

  extreme({ answer: { tokens } }, sign) {
    return sign * Math.max(0, ...tokens.map(({ relevance }) => sign * relevance));
  }

  cells([first]) {
    const { state } = this.page.store;
    const paint = painter(first.scale, this.#colormap(first), state);
    const { text: sent } = this.item(state);
    return ({ tokens }, text) => {
      const words = make("span", { className: "words" }, ...paintedText(sent, tokens, paint));
      words.append(make("span", { className: "unseen", textContent: text }));
      paintPaper(words, paint);
      return words;
    };
  }

  clear() {
    clearScale();
    this.view.clear();
  }

  refuse() {
    return false;
  }
}

// How much relevance arrives at each layer, and where: what "layer-wise" means.

import { byId, heatmapImage, make } from "./dom.js";
import { plain, signed } from "./words.js";

const FEW = 12; // columns, unless all are asked for

/**
 * @param {any} model as of GET /model @param {(name: string) => string} titleOf a rule's title
 * @param {string} parts what relevance is about, such as "pixels"
 * @param {((shown: any, layers: string[], signal: AbortSignal, onAnswers: (count: number) => void) => Promise<any[]>) | null} ask
 *   for maps of layers; null: there are none
 * @param {() => void} onEvery other layers are to be fetched
 */
export function createLayersView({ layers, input_size, attention }, titleOf, parts, ask, onEvery) {
  const kinds = new Map(layers.map(({ name, kind }) => [name, kind]));
  const every = byId("every");
  const progress = byId("flow-progress");
  every.ariaPressed = "false";
  every.onclick = () => {
    every.ariaPressed = String(every.ariaPressed === "false");
    onEvery();
  };

  /** Layers at which a rule does something, from the output to the input. @param {any} answer */
  function names(answer) {
    const active = answer.rule.layers.filter(({ rule }) => rule !== "pass").reverse();
    return active.map(({ name }) => name);
  }

  function clear() {
    progress.hidden = true;
    byId("flow").replaceChildren();
  }

  /** What the numbers of a map are that has not the shape of the picture; empty for others. */
  function shapeOf({ relevance: { shape } }, rule) {
    const [, height, width] = input_size;
    const [, down, across] = shape;
    const alike = shape.length === 3 && Math.abs(down * width - across * height) < Math.max(height, width);
    return alike && !attention.includes(rule) ? "" : `${shape.join(" × ")} values, no picture`;
  }

  return {
    clear,

    /** @param {any} shown what is on the page, and its answer @param {AbortSignal} signal */
    async fetch(shown, signal) {
      const all = names(shown.answer);
      every.hidden = all.length <= FEW;
      every.textContent = `All ${all.length} layers`;
      const asked = every.hidden || every.ariaPressed === "true" ? all : spread(all);
      progress.max = asked.length;
      if (!ask) return asked.map((layer) => ({ ...shown.answer, layer }));
      progress.hidden = every.hidden;
      signal.addEventListener("abort", () => (progress.hidden = true));
      return ask(shown, asked, signal, (count) => (progress.value = count));
    },

    /** @param {any[]} answers one a layer, from the output to the input */
    show(answers) {
      progress.hidden = true;
      const [{ relevance, target, versus }] = answers;
      const sums = new Map(relevance.layers.map(({ name, sum }) => [name, sum]));
      const amounts = [relevance.start, ...answers.map(({ layer }) => sums.get(layer))];
      const high = Math.max(0, ...amounts);
      const low = Math.min(0, ...amounts);
      const bar = (amount) => {
        const fill = make("span", { className: amount < 0 ? "fill below" : "fill" });
        fill.style.height = `${(100 * Math.abs(amount)) / (high - low || 1)}%`;
        fill.style.bottom = `${(100 * (Math.min(0, amount) - low)) / (high - low || 1)}%`;
        return make("div", { className: "column", "aria-hidden": "true" }, fill);
      };
      const output = make(
        "li",
        {},
        amount(relevance.start),
        bar(relevance.start),
        name("output"),
        words(`put in at ${target.label}${versus ? `, taken from ${versus.label}` : ""}`),
      );
      const cards = answers.map((answer, i) => {
        const { rule } = answer.rule.layers.find((layer) => layer.name === answer.layer);
        const shape = ask ? shapeOf(answer, rule) : "";
        const text = `Relevance at the input of ${answer.layer}${shape && ` (${shape})`}: in all ${signed(amounts[i + 1])}.`;
        const where = i === answers.length - 1 ? `the ${parts}` : `input of ${answer.layer}`;
        return make(
          "li",
          {},
          amount(amounts[i + 1]),
          bar(amounts[i + 1]),
          ...(ask ? [heatmapImage(answer.heatmap, text)] : []),
          name(where),
          words(`${kinds.get(answer.layer)}, ${titleOf(rule)}`),
          words(shape),
        );
      });
      byId("flow").replaceChildren(output, ...cards);
    },
  };
}

/** A few of `names`, evenly spaced: the first and the last are among them. */
const spread = (names) =>
  Array.from({ length: FEW }, (_, i) => names[Math.round((i * (names.length - 1)) / (FEW - 1))]);

const amount = (value) => make("b", { textContent: plain(value) });
const name = (text) => make("span", { className: "name", textContent: text });
const words = (text) => make("span", { className: "hint", textContent: text });

// How much relevance arrives at each layer, and where: what "layer-wise" means.

import { byId, heatmapImage, make } from "./dom.js";
import { plain, signed } from "./words.js";

/** @param {any[]} layers as GET /model lists them @param {(name: string) => string} titleOf a rule's title */
export function createLayersView(layers, titleOf) {
  const kinds = new Map(layers.map(({ name, kind }) => [name, kind]));

  return {
    /** Layers at which a rule does something, from the output to the pixels. @param {any} answer */
    names: (answer) =>
      answer.rule.layers
        .filter(({ rule }) => rule !== "pass")
        .map(({ name }) => name)
        .reverse(),

    clear: () => byId("flow").replaceChildren(),

    /** @param {any[]} answers one a layer, in the order of `names` */
    show(answers) {
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
        const text = `Relevance at the input of ${answer.layer}: in all ${signed(amounts[i + 1])}.`;
        const where = i === answers.length - 1 ? "the pixels" : `input of ${answer.layer}`;
        return make(
          "li",
          {},
          amount(amounts[i + 1]),
          bar(amounts[i + 1]),
          heatmapImage(answer.heatmap, text),
          name(where),
          words(`${kinds.get(answer.layer)}, ${titleOf(rule)}`),
        );
      });
      byId("flow").replaceChildren(output, ...cards);
    },
  };
}

const amount = (value) => make("b", { textContent: plain(value) });
const name = (text) => make("span", { className: "name", textContent: text });
const words = (text) => make("span", { className: "hint", textContent: text });

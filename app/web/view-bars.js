// The relevance of a row's features, and of the biases, as bars to both sides of zero.

import { byId, make } from "./dom.js";
import { plain, signed } from "./words.js";

const BIAS = "biases";

/** @param {any} answer @returns {{name: string, value: string, relevance: number, isOutside: boolean}[]} */
function barsOf({ features, relevance: { bias } }) {
  return [
    ...features.map(({ name, value, unit, relevance, outside_training_range: isOutside }) => ({
      name,
      value: value === null ? "missing" : typeof value === "number" ? `${plain(value)} ${unit ?? ""}`.trim() : value,
      relevance,
      isOutside,
    })),
    { name: BIAS, value: "", relevance: bias, isOutside: false },
  ];
}

/** Place a bar between zero and its value, on a scale that ends at `largest` on both sides. */
function place(fill, relevance, largest) {
  const width = (50 * Math.abs(relevance)) / (largest || 1);
  fill.className = relevance < 0 ? "fill against" : "fill for";
  fill.style.width = `${width}%`;
  fill.style.left = `${relevance < 0 ? 50 - width : 50}%`;
}

const largestOf = (bars) => Math.max(...bars.map(({ relevance }) => Math.abs(relevance)));

/** Draws the bars of each of several answers alone, on one scale. @param {any[]} answers */
export function smallBars(answers) {
  const largest = largestOf(answers.flatMap(barsOf));
  return (answer, text) => {
    const tracks = barsOf(answer).map(({ name, relevance }) => {
      const fill = make("span", {});
      place(fill, relevance, largest);
      return make("span", { className: "track", title: `${name}: ${signed(relevance)}` }, fill);
    });
    return make("span", { className: "small-bars" }, ...tracks, make("span", { className: "unseen", textContent: text }));
  };
}

export function createBarsView() {
  let rows = [];

  function build(names) {
    rows = names.map((name) => {
      const fill = make("span", { className: "fill" });
      const value = make("span", { className: "value" });
      const number = make("span", { className: "number" });
      const label = make("span", { className: "name" }, name, " ", value);
      const item = make("li", {}, label, make("span", { className: "track" }, fill), number);
      return { name, fill, value, number, item };
    });
    byId("bars").replaceChildren(...rows.map(({ item }) => item));
  }

  return {
    clear() {
      build([]);
    },

    /** @param {any} answer */
    show(answer) {
      const bars = barsOf(answer);
      const names = bars.map(({ name }) => name);
      if (names.join() !== rows.map(({ name }) => name).join()) build(names); // else bars move to their new ends
      bars.forEach(({ value, relevance, isOutside }, i) => {
        place(rows[i].fill, relevance, largestOf(bars));
        rows[i].value.textContent = isOutside ? `${value}, outside the training data` : value;
        rows[i].number.textContent = signed(relevance);
      });
    },
  };
}

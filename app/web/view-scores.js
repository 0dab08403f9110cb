// The classes' probabilities as bars; each is a button for its heatmap, and one for the contrast with it.

import { byId, make } from "./dom.js";
import { percent } from "./words.js";

/** @param {(label: string) => void} onTarget @param {(label: string) => void} onVersus */
export function createScoresView(onTarget, onVersus) {
  let rows = [];

  function build(labels) {
    rows = labels.map((label) => {
      const fill = make("span", { className: "fill" });
      const number = make("span", { className: "number" });
      const target = make(
        "button",
        { type: "button", className: "score" },
        make("span", { className: "label", textContent: label }),
        make("span", { className: "bar" }, fill),
        number,
      );
      const versus = make("button", {
        type: "button",
        className: "versus",
        textContent: "not",
        "aria-label": `and not ${label}`,
      });
      target.onclick = () => onTarget(label);
      versus.onclick = () => onVersus(label);
      return { label, fill, number, target, versus, item: make("li", {}, target, versus) };
    });
    byId("scores").replaceChildren(...rows.map(({ item }) => item));
  }

  return {
    clear: () => build([]),

    /** @param {{scores: {label: string, probability: number}[], target: object, versus: object | null}} answer */
    show({ scores, target, versus }) {
      const labels = scores.map(({ label }) => label);
      if (labels.join() !== rows.map(({ label }) => label).join()) build(labels); // else the focus stays
      rows.forEach((row, i) => {
        row.fill.style.width = `${100 * scores[i].probability}%`;
        row.number.textContent = percent(scores[i].probability);
        row.target.setAttribute("aria-pressed", String(row.label === target.label));
        row.versus.setAttribute("aria-pressed", String(row.label === versus?.label));
        row.versus.disabled = row.label === target.label;
      });
    },
  };
}

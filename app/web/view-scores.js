// The classes' probabilities as bars, and how covers change them. Each is a button for its heatmap, and one for the
// contrast with it.

import { byId, make } from "./dom.js";
import { percent, points, quantity } from "./words.js";

/** So many of the most probable classes are shown; others are searched. */
export const SHOWN = 10;
const LONG = 11; // letters of a name that has no room beside its bar

/** @param {(label: string) => void} onTarget @param {(label: string) => void} onVersus */
export function createScoresView(onTarget, onVersus) {
  let rows = [];
  let scores = []; // of the whole picture: the most probable ones, and those that are asked about

  function build(labels) {
    rows = labels.map((label) => {
      const fill = make("span", { className: "fill" });
      const was = make("span", { className: "was", hidden: true });
      const number = make("span", { className: "number" });
      const change = make("span", { className: "change", hidden: true });
      const target = make(
        "button",
        { type: "button", className: "score" },
        make("span", { className: "label", textContent: label }),
        make("span", { className: "bar" }, fill, was),
        number,
        change,
      );
      const versus = make("button", {
        type: "button",
        className: "versus",
        textContent: "not",
        "aria-label": `and not ${label}`,
      });
      target.onclick = () => onTarget(label);
      versus.onclick = () => onVersus(label);
      return { label, fill, was, number, change, target, versus, item: make("li", {}, target, versus) };
    });
    byId("scores").classList.toggle("long", labels.some((label) => label.length > LONG));
    byId("scores").replaceChildren(...rows.map(({ item }) => item));
  }

  return {
    clear() {
      build([]);
      byId("value").textContent = "";
      this.cover(null);
    },

    /** Show how scores change, or no longer. @param {{label: string, probability: number}[] | null} covered */
    cover(covered) {
      byId("scores").classList.toggle("covered", covered !== null);
      byId("scores-hint").hidden = covered !== null || !rows.length;
      byId("covered-hint").hidden = covered === null;
      rows.forEach((row, i) => {
        const before = scores[i].probability;
        const now = covered ? covered.find(({ label }) => label === row.label).probability : before;
        row.fill.style.width = `${100 * now}%`;
        row.number.textContent = percent(now);
        row.was.style.left = `${100 * before}%`;
        row.change.textContent = points(now - before);
        row.was.hidden = row.change.hidden = covered === null;
      });
    },

    /** @param {{scores: {label: string, probability: number}[], prediction: any, target: object, versus: object | null}} answer */
    show({ target, versus, prediction, ...answer }) {
      byId("value").textContent = "value" in prediction ? `${prediction.name}: ${quantity(prediction)}` : "";
      const asked = [target.label, versus?.label];
      scores = answer.scores.filter(({ label }, place) => place < SHOWN || asked.includes(label));
      const labels = scores.map(({ label }) => label);
      if (labels.join() !== rows.map(({ label }) => label).join()) build(labels); // else the focus stays
      for (const row of rows) {
        row.target.setAttribute("aria-pressed", String(row.label === target.label));
        row.versus.setAttribute("aria-pressed", String(row.label === versus?.label));
        row.versus.disabled = row.label === target.label;
      }
      this.cover(null);
    },
  };
}

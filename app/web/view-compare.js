// Rules × classes as a grid; maps are all on one scale.

import { createClassSearch } from "./class-search.js";
import { byId, make } from "./dom.js";
import { SHOWN } from "./view-scores.js";
import { describeCell, plain, putIn, signed } from "./words.js";

const SOME = 3;

/**
 * @param {import("./state.js").Store} store @param {any[]} rules @param {string[]} classes
 * @param {(rule: string, target: string) => void} onCell
 * @param {Pick<import("./page.js").Kind, "cells" | "scale">} kind of what is compared
 */
export function createCompareView(store, rules, classes, onCell, kind) {
  const titles = new Map(rules.map(({ name, title }) => [name, title]));
  const pickers = {
    rules: createPicker(byId("pick-rules"), (name) => titles.get(name), (rules) => store.set({ rules })),
    targets: createPicker(byId("pick-targets"), (label) => label, (targets) => store.set({ targets })),
  };
  const added = new Set(); // classes that are offered though they are not likely
  createClassSearch("compare-search", classes, (label) =>
    store.set({ targets: [...new Set([...pickers.targets.ticked(), label])] }),
  );

  let summary = "";

  return {
    /** What was put in, in one sentence. */
    summary: () => summary,

    clear() {
      summary = "";
      added.clear();
      byId("grid").replaceChildren();
      byId("grid-scale").textContent = "";
    },

    /** What is compared: what was picked, else the first few. @param {any} answer of the map */
    picked(state, answer) {
      const few = [...new Set([state.rule, ...titles.keys()])].slice(0, SOME);
      const scored = answer.scores.length ? answer.scores : [answer.target]; // a value has no scores
      const likely = scored.slice(0, SHOWN).map(({ label }) => label);
      const rules = state.rules.length ? state.rules : few;
      const targets = state.targets.length ? state.targets : likely.slice(0, SOME);
      for (const label of targets) added.add(label);
      pickers.rules.show(rules, [...titles.keys()]);
      pickers.targets.show(targets, classes.filter((label) => likely.includes(label) || added.has(label)));
      return { rules, targets };
    },

    /** @param {{explanations: any[]}} comparison rules outer, classes inner */
    show({ explanations }) {
      const columns = startsByTarget(explanations);
      const drawn = kind.cells(explanations);
      const head = make(
        "tr",
        {},
        make("td"),
        ...[...columns].map(([label, starts]) =>
          make("th", { scope: "col" }, label, make("small", { textContent: `${starts} put in` })),
        ),
      );
      const rows = [...new Set(explanations.map(({ rule }) => rule.name))].map((name) => {
        const cells = explanations
          .filter(({ rule }) => rule.name === name)
          .map((cell) => make("td", {}, cellButton(cell, drawn)));
        return make("tr", {}, make("th", { scope: "row" }, ...breakable(titles.get(name))), ...cells);
      });
      byId("grid").style.setProperty("--columns", columns.size);
      byId("grid").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
      const scale = kind.scale(explanations[0]);
      summary = putIn(columns);
      byId("grid-scale").textContent = scale
        ? `All on one scale, ${signed(scale.vmin)} to ${signed(scale.vmax)}. Choose one to look closer.`
        : "All on one scale. Choose one to look closer.";
    },
  };

  function cellButton(answer, drawn) {
    const text = describeCell(answer, titles.get(answer.rule.name));
    const button = make("button", { type: "button", title: text }, drawn(answer, text));
    button.onclick = () => onCell(answer.rule.name, answer.target.label);
    return button;
  }
}

/**
 * The relevance put in for each class. It differs between rules where it has the logit's sign under some only.
 * @param {any[]} explanations @returns {Map<string, string>} such as "3.94", or "1 or −1"
 */
function startsByTarget(explanations) {
  const starts = new Map();
  for (const { target, relevance } of explanations)
    starts.set(target.label, (starts.get(target.label) ?? new Set()).add(plain(relevance.start)));
  return new Map([...starts].map(([label, values]) => [label, [...values].join(" or ")]));
}

/** CamelCase that may break before its capitals. @returns {(Node|string)[]} */
const breakable = (title) => title.split(/(?<=[a-z\d])(?=[A-Z])/).flatMap((part) => [make("wbr"), part]);

/** Boxes to tick, of which one at least stays ticked. */
function createPicker(place, textOf, onChange) {
  let boxes = [];

  function build(choices) {
    boxes = choices.map((value) => make("input", { type: "checkbox", value }));
    place.replaceChildren(...boxes.map((box) => make("label", {}, box, textOf(box.value))));
  }

  const ticked = () => boxes.filter(({ checked }) => checked).map(({ value }) => value);
  place.onchange = ({ target }) => {
    if (!ticked().length) target.checked = true;
    else onChange(ticked());
  };
  return {
    ticked,

    /** @param {string[]} names that are ticked @param {string[]} choices all that are offered */
    show(names, choices) {
      if (choices.join() !== boxes.map(({ value }) => value).join()) build(choices); // else the focus stays
      for (const box of boxes) box.checked = names.includes(box.value);
    },
  };
}

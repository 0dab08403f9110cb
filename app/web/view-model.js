// The model that answers, and the choice between several.

import { byId, make } from "./dom.js";
import { SHOWN } from "./view-scores.js";

const ATTENTION = { cp: "CP: weights are constants", attnlrp: "AttnLRP: half to the weights" };
const LARGE = 100; // pixels of a side: small maps of such inputs are reduced, not enlarged

const TESTED = { image: "pictures", text: "texts", table: "rows" };

/** What a model tells apart, or predicts, and what it takes. */
function factsOf({ output, classes, input_size, text, table }) {
  const given = output === "value" ? classes[0] : `${classes.length} ${output}`;
  if (text) return [given, `text of ${text.max_tokens} tokens`];
  if (table) return [given, `${table.features.length} features`];
  return [given, `${input_size[2]}×${input_size[1]} pixels`];
}

function showShape([, height, width]) {
  const { style } = document.documentElement;
  style.setProperty("--model-shape", `${width} / ${height}`);
  style.setProperty("--map-rendering", Math.max(width, height) > LARGE ? "auto" : "pixelated");
}

/** @param {string[]} names of all models @param {(name: string) => void} onModel */
export function createModelView(names, onModel) {
  const several = names.length > 1;
  const select = byId("models");
  select.append(...names.map((name) => make("option", { value: name, textContent: name })));
  select.hidden = !several;
  select.onchange = () => onModel(select.value);

  return {
    /** Show again which one answers. @param {string} name */
    mark(name) {
      select.value = name;
    },

    /** @param {any} model as of GET /models/NAME */
    show(model) {
      const { name, kind, classes, input_size: size, accuracy, attention } = model;
      const facts = several ? factsOf(model) : [name];
      if (accuracy) facts.push(`right on ${(100 * accuracy).toFixed(1)}% of its test ${TESTED[kind]}`);
      select.value = name;
      byId("model").textContent = facts.join(", ");
      if (size) showShape(size);
      const usual = make("option", { value: "", textContent: "automatic: CP" });
      byId("attention").replaceChildren(usual, ...attention.map((value) => make("option", { value, textContent: ATTENTION[value] })));
      byId("of-attention").hidden = !attention.length;
      const searched = classes.length > SHOWN ? classes : [];
      byId("classes").replaceChildren(...searched.map((value) => make("option", { value })));
      for (const id of ["class-search", "compare-search"]) byId(id).hidden = !searched.length;
    },
  };
}

// The rule with its formula and parameters, and how its map is drawn.

import { byId, make } from "./dom.js";
import { settable } from "./state.js";
import { plain, typed } from "./words.js";

const STEPS = 1000;
const GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho".split(" ");
const CHOICES = ["attention", "fit", "sign", "normalize", "colormap", "start", "view"];

/** @param {import("./state.js").Store} store @param {any[]} rules @param {any[]} colormaps @param {any} model */
export function createRuleView(store, rules, colormaps, { output }) {
  byId("rule").replaceChildren(
    optionGroup("Composites: a rule for each kind of layer", "composite"),
    optionGroup("Single rules, on every layer", "rule"),
  );
  byId("colormap").replaceChildren(
    ...colormaps.map(({ name, description }) =>
      make("option", { value: name, textContent: name, title: description }),
    ),
  );
  byId("start-probability").hidden = output !== "classes"; // others have none
  byId("rule").onchange = ({ target }) => store.set({ rule: target.value });
  for (const name of CHOICES) {
    const alsoReset = name === "fit" ? { cover: [] } : {}; // covers are places in what the model saw
    byId(name).onchange = ({ target }) => store.set({ [name]: target.value || null, ...alsoReset });
  }
  byId("opacity").onchange = ({ target }) => store.set({ opacity: Number(target.value) });
  byId("smooth").onchange = ({ target }) =>
    store.set({ interpolation: target.checked ? "bicubic" : "nearest" });
  byId("layers").onchange = ({ target }) =>
    store.set({
      layers: target.value
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
    });

  let sliders = [];
  let shown = null;

  function optionGroup(label, kind) {
    const options = rules
      .filter((rule) => rule.kind === kind)
      .map(({ name, title }) => make("option", { value: name, textContent: title }));
    return make("optgroup", { label }, ...options);
  }

  function showRule(rule) {
    byId("formula").textContent = rule.formula;
    byId("when").textContent = rule.when;
    byId("meaning").textContent = rule.meaning;
    byId("source").textContent = rule.source;
    const names = settable([rule]);
    const free = rule.parameters.filter(({ name }) => names.includes(name));
    sliders = free.map((parameter) =>
      createSlider(parameter, (value) => store.set({ [parameter.name]: value })),
    );
    byId("parameters").replaceChildren(...sliders.map(({ element }) => element));
  }

  return {
    /** @param {import("./state.js").State} state */
    show(state) {
      const rule = rules.find(({ name }) => name === state.rule);
      byId("rule").value = state.rule;
      if (rule && rule !== shown) showRule((shown = rule));
      for (const slider of sliders) slider.show(state);
      for (const name of CHOICES) byId(name).value = state[name] ?? "";
      byId("start-automatic").textContent = `automatic: ${usualStart(state, output)}`;
      byId("opacity").value = state.opacity;
      byId("smooth").checked = state.interpolation === "bicubic";
      byId("layers").value = state.layers.join("\n");
    },
  };
}

/** What the service puts in at the output where `start` is not given. @param {import("./state.js").State} state */
function usualStart({ tab, versus }, output) {
  if (output === "value") return "the value";
  return tab === "compare" || versus !== null ? "the logits" : "±1";
}

function createSlider({ name, default: usual, minimum, maximum, description }, onChange) {
  const curve = createCurve(minimum, maximum, usual);
  const id = `parameter-${name}`;
  const slider = make("input", { type: "range", id, min: 0, max: STEPS, step: 1, title: description });
  const field = make("input", { type: "text", inputMode: "decimal", "aria-label": `${name}, exact value` });
  const label = make(
    "label",
    { htmlFor: id, title: description },
    make("i", { textContent: symbol(name) }),
  );
  slider.setAttribute("aria-label", name);
  slider.oninput = () => onChange(Number(curve.value(slider.value / STEPS).toPrecision(2)));
  field.onchange = () => onChange(field.value.trim() === "" ? null : Number(field.value.replace("−", "-")));
  return {
    element: make("div", { className: "parameter" }, label, slider, field),
    show(state) {
      const value = state[name] ?? usual;
      slider.value = String(Math.round(STEPS * curve.position(value)));
      slider.setAttribute("aria-valuetext", plain(value));
      field.value = typed(value);
    },
  };
}

/** The letter that `name` spells, or `name` itself. */
function symbol(name) {
  const index = GREEK.indexOf(name);
  return index < 0 ? name : String.fromCodePoint("α".codePointAt(0) + index);
}

/** Positions 0…1 <-> values: logarithmic, or from zero with the usual value in the middle. */
function createCurve(minimum, maximum, usual) {
  if (minimum > 0 && maximum / minimum > 1e4) {
    const [low, high] = [Math.log(minimum), Math.log(maximum)];
    return {
      value: (t) => Math.exp(low + t * (high - low)),
      position: (v) => (Math.log(v) - low) / (high - low),
    };
  }
  const span = maximum - minimum;
  const base = (span / (usual - minimum) - 1) ** 2;
  return {
    value: (t) => minimum + (span * (base ** t - 1)) / (base - 1),
    position: (v) => Math.log(1 + ((v - minimum) * (base - 1)) / span) / Math.log(base),
  };
}

// A row of a table as a form: a slider and a field for each number, a list for each category.

import { byId, make } from "./dom.js";
import { fieldOf } from "./state.js";
import { plain } from "./words.js";

const STEPS = 100; // of a slider, at least
const PAUSE_MS = 80; // between changes while a slider moves

/** The value of a feature that is not in the address: the mean, or the most frequent category. */
export function usualValue({ categories, shares, mean, min, max }) {
  if (categories) return categories[shares.indexOf(Math.max(...shares))];
  return rounded(mean, min, max);
}

/** The size of a step of a slider: 1, 2 or 5 times a power of ten. */
function stepOf(min, max) {
  const size = (max - min) / STEPS || 1;
  const power = 10 ** Math.floor(Math.log10(size));
  return power * [5, 2, 1].find((factor) => factor * power <= size * (1 + 1e-9));
}

function rounded(value, min, max) {
  const step = stepOf(min, max);
  return Math.min(max, Math.max(min, Number((Math.round(value / step) * step).toPrecision(6))));
}

/** @param {any[]} features as of GET /models/NAME @param {(name: string, value: number | string) => void} onValue */
export function createFormView(features, onValue) {
  const fields = features.map((feature, i) => {
    const create = feature.categories ? createChoice : createNumber;
    return create(feature, `feature-${i}`, (value) => onValue(feature.name, value));
  });
  byId("features").replaceChildren(...fields.map(({ element }) => element));

  return {
    /** @param {import("./state.js").State} state */
    show(state) {
      features.forEach((feature, i) => fields[i].show(state[fieldOf(feature.name)] ?? usualValue(feature)));
    },

    /**
     * Say at the fields what is wrong with their values.
     * @param {{name: string | number, message: string}[]} errors @returns {boolean} whether all are about fields
     */
    mark(errors) {
      features.forEach(({ name }, i) => fields[i].mark(errors.find((error) => error.name === name)?.message ?? ""));
      const names = features.map(({ name }) => name);
      return errors.length > 0 && errors.every(({ name }) => names.includes(name));
    },
  };
}

/** The parts that all fields have: a label, a hint about the range, an error. */
function createField(name, id, inputs) {
  const hint = make("span", { className: "hint outside", id: `${id}-hint` });
  const error = make("span", { className: "wrong", id: `${id}-error`, role: "alert" });
  const [main] = inputs.slice(-1);
  main.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
  return {
    element: make("div", { className: "feature" }, make("label", { htmlFor: id, textContent: name }), ...inputs, hint, error),
    hint,
    mark(message) {
      error.textContent = message;
      main.setAttribute("aria-invalid", String(message !== ""));
    },
  };
}

function createNumber({ name, unit, min, max }, id, onChange) {
  const label = unit ? `${name} (${unit})` : name;
  const step = stepOf(min, max);
  const slider = make("input", { type: "range", min, max, step, disabled: min === max, "aria-label": label });
  const field = make("input", { type: "text", inputMode: "decimal", id, autocomplete: "off" });
  const { element, hint, mark } = createField(label, id, [slider, field]);
  let timer = null;
  const typed = () => {
    const text = field.value.trim().replace("−", "-");
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };

  /** Say that a value is outside the range of the training data, which is allowed. */
  function check(value) {
    const isOutside = typeof value === "number" && (value < min || value > max);
    hint.textContent = isOutside ? `outside the training data, ${plain(min)} to ${plain(max)}` : "";
  }

  slider.oninput = () => {
    const value = rounded(Number(slider.value), min, max);
    field.value = String(value);
    check(value);
    timer ??= setTimeout(() => {
      timer = null;
      onChange(typed());
    }, PAUSE_MS);
  };
  field.onchange = () => onChange(typed());
  return {
    element,
    mark,

    show(value) {
      if (timer !== null) return; // the slider is moving
      if (typeof value === "number") slider.value = String(value);
      slider.setAttribute("aria-valuetext", `${value} ${unit ?? ""}`);
      field.value = String(value);
      check(value);
    },
  };
}

function createChoice({ name, categories }, id, onChange) {
  const select = make("select", { id }, ...categories.map((value) => make("option", { value, textContent: value })));
  const { element, mark } = createField(name, id, [select]);
  select.onchange = () => onChange(select.value);
  return { element, mark, show: (value) => (select.value = value) };
}

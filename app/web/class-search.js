// Finding one of many classes by typing a part of its name. The browser suggests names from the list of classes.

import { byId } from "./dom.js";

/**
 * @param {string} id of the form @param {string[]} classes
 * @param {(label: string, button: string) => void} onClass told the value of the button that was used
 */
export function createClassSearch(id, classes, onClass) {
  const form = byId(id);
  const field = form.querySelector("input");
  const hint = form.querySelector("output");
  const names = classes.map((label) => label.toLowerCase());
  form.reset();
  hint.textContent = "";
  field.oninput = () => (hint.textContent = "");
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = field.value.trim().toLowerCase();
    const found = matches(text);
    if (found.length === 1) {
      form.reset();
      hint.textContent = "";
      onClass(classes[found[0]], event.submitter?.value);
    } else {
      hint.textContent = sentence(field.value.trim(), found.length);
      field.focus();
    }
  };

  /** Places of the class of this name, else of those with the text in their names. @returns {number[]} */
  function matches(text) {
    const exact = names.indexOf(text);
    if (exact >= 0) return [exact];
    return text ? [...names.keys()].filter((i) => names[i].includes(text)) : [];
  }
}

function sentence(text, count) {
  if (!text) return "Type a part of the class’s name.";
  return count ? `${count} classes have “${text}” in their names; choose one.` : `No class has “${text}” in its name.`;
}

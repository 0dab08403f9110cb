// The heading, the sentences below it, and the warnings.

import { byId, make } from "./dom.js";
import { question, standing } from "./words.js";

/** @param {string} heading */
function showHeading(heading) {
  byId("question").textContent = heading;
  document.title = `${heading} – LRPServe`;
}

/** @param {any} answer @param {string[]} warnings */
export function showAnswer(answer, warnings) {
  showHeading(question(answer));
  byId("answer").textContent = standing(answer);
  byId("warnings").replaceChildren(...warnings.map((textContent) => make("li", { textContent })));
}

/** Say that there is no answer for a picture. @param {string} name */
export function showNoAnswer(name) {
  showHeading(`No explanation of ${name}`);
  byId("answer").textContent = "";
  byId("warnings").replaceChildren();
}

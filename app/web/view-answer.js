// The heading, the sentences below it, and the warnings.

import { byId, make } from "./dom.js";
import { question, standing } from "./words.js";

const LONG = 60; // letters of a heading that is set smaller

/** @param {string} heading */
function showHeading(heading) {
  byId("question").textContent = heading;
  byId("question").classList.toggle("long", heading.length > LONG);
  document.title = `${heading} – LRPServe`;
}

/** @param {any} answer @param {string[]} warnings */
export function showAnswer(answer, warnings) {
  showHeading(question(answer));
  byId("answer").textContent = standing(answer);
  byId("warnings").replaceChildren(...warnings.map((textContent) => make("li", { textContent })));
}

/** Show nothing but a heading. @param {string} heading */
export function showNoAnswer(heading) {
  showHeading(heading);
  byId("answer").textContent = "";
  byId("warnings").replaceChildren();
}

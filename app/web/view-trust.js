// How far the map can be trusted: perturbation curves, what they mean in one sentence, and other measures.

import { drawCurves } from "./curves.js";
import { byId, make } from "./dom.js";
import { evaluateQuery } from "./query.js";
import { hundredths, measures, notEvaluated, trust } from "./words.js";

/**
 * @param {import("./state.js").Store} store @param {Map<string, string>} titles of rules, by name
 * @param {(query: URLSearchParams, shown: any, signal: AbortSignal) => Promise<any>} evaluate
 */
export function createTrustView(store, titles, evaluate) {
  let known = { item: null, query: "", evaluated: null }; // the last evaluation: drawing does not change it

  function say(text) {
    byId("trust-status").textContent = text;
    byId("panel-trust").setAttribute("aria-busy", String(text !== ""));
  }

  function clear() {
    say("");
    byId("trust").hidden = true;
    for (const id of ["trust-meaning", "trust-note", "curves", "measures"]) byId(id).replaceChildren();
  }

  return {
    clear,

    /** @param {any} shown the picture on the page, and its answer @param {AbortSignal} signal */
    async fetch(shown, signal) {
      const query = evaluateQuery(store.state);
      if (known.item !== shown.item || known.query !== String(query)) {
        clear();
        say("Removing the picture patch by patch, in several orders; this takes some seconds …");
        signal.addEventListener("abort", () => say(""));
        const evaluated = await evaluate(query, shown, signal);
        known = { item: shown.item, query: String(query), evaluated };
      }
      return { evaluated: known.evaluated, answer: shown.answer };
    },

    /** @param {{evaluated: any, answer: any}} result the evaluation, and the answer of the map */
    show({ evaluated, answer }) {
      const [rule] = evaluated.evaluations;
      const title = titles.get(rule.rule.name);
      const orders = [
        [title, rule],
        ["occlusion", evaluated.occlusion],
        ["random order", evaluated.random],
      ];
      say("");
      byId("trust-meaning").textContent = trust(evaluated, title);
      byId("trust-note").textContent = notEvaluated(answer, rule.rule, store.state, title);
      byId("curves").replaceChildren(...orders.map(([name, order]) => panel(name, order, evaluated.target)));
      byId("measures").replaceChildren(
        ...measures(rule, evaluated.patches).flatMap(([name, value, meaning]) => [
          make("dt", {}, name, " ", make("b", { textContent: value })),
          make("dd", { className: "hint", textContent: meaning }),
        ]),
      );
      byId("trust").hidden = false;
    },
  };
}

function panel(name, { curves, gap }, { label, probability }) {
  const text = `Probability of ${label} while patches are removed in the order of ${name}: gap ${hundredths(gap)}.`;
  const caption = make("figcaption", {}, make("b", { textContent: name }), ` gap ${hundredths(gap)}`);
  return make("figure", {}, caption, drawCurves(curves, probability, text));
}

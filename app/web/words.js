// Numbers and sentences.

import { covers } from "./cover.js";

/** @param {number} value @returns {string} three digits, with a true minus */
export function plain(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const digits =
    size >= 1e-4 && size < 1e5
      ? String(Number(size.toPrecision(3)))
      : size.toExponential(1).replace("-", "−");
  return (value < 0 ? "−" : "") + digits;
}

/** @param {number} value @returns {string} as short as it can be typed */
export const typed = (value) => (value && Math.abs(value) < 1e-3 ? value.toExponential() : String(value));

/** @param {number} value @returns {string} with its sign */
export const signed = (value) => (value > 0 ? "+" : "") + plain(value);

/** @param {number} share @returns {string} */
export function percent(share) {
  const hundred = 100 * share;
  return hundred > 0 && hundred < 1 ? "<1%" : `${Math.round(hundred)}%`;
}

/** @param {number} difference of probabilities @returns {string} in percentage points, with its sign */
export function points(difference) {
  const value = Math.round(100 * difference);
  return value > 0 ? `+${value}` : String(value).replace("-", "−");
}

/** A value that is predicted, with its unit. */
export const quantity = ({ value, unit }) => (unit ? `${plain(value)} ${unit}` : plain(value));

/** The question that an answer answers. */
export function question({ prediction, target, versus }) {
  if ("value" in prediction) return `Why ${quantity(prediction)}?`;
  return `Why ${target.label}${versus ? `, and not ${versus.label}` : ""}?`;
}

/** One sentence about what the network says. */
export function standing({ prediction, target, scores }) {
  if ("value" in prediction) return `The network predicts ${quantity(prediction)} (${prediction.name}).`;
  const said = `The network says ${prediction.label}, ${percent(prediction.probability)}`;
  if (target.index === prediction.index) return `${said}.`;
  const score = scores.find(({ index }) => index === target.index);
  return `${said}; ${target.label} got ${percent(score.probability)}.`;
}

/** Where the relevance went, in one sentence. @param {any} answer @param {string} parts such as "pixels" */
export function report({ relevance, target, versus }, parts) {
  const { start, sum, leak } = relevance;
  if (leak === null) {
    const put = versus ? `Nearly as much relevance was put in for ${target.label} as against ${versus.label}` : `The logit of ${target.label} is 0`;
    return `${put}; ${signed(sum)} on balance reached the ${parts}.`;
  }
  const put = `${plain(start)} was put in at ${target.label}${versus ? ` (less ${versus.label})` : ""}`;
  if (Math.abs(leak) < 0.0005) return `${put}; all of it reached the ${parts}.`;
  const reached = `${put}; ${plain(sum)} reached the ${parts}`;
  if (leak < 0)
    return `${reached}: ${percent(-leak)} more, gained from biases and negative contributions on the way.`;
  return leak > 1
    ? `${reached}: biases and evidence of the other sign took more than all of it on the way.`
    : `${reached}: ${percent(leak)} leaked to biases, ε and zero denominators on the way.`;
}

/** What the bars of a row's features add up to, in one or two sentences. */
export function reportOfRow({ prediction, relevance: { start, sum, bias, baseline } }) {
  const unit = prediction.unit ? ` ${prediction.unit}` : "";
  const added = `Features ${signed(sum)} and biases ${signed(bias)} add up to ${plain(start)}${"value" in prediction ? unit : " put in"}.`;
  return baseline === undefined ? added : `${added} The row that it is compared with gets ${plain(baseline)}${unit}.`;
}

/** What was put in for the classes of a comparison. @param {Map<string, string>} starts by class */
export function putIn(starts) {
  return `Put in: ${[...starts].map(([label, start]) => `${start} at ${label}`).join(", ")}.`;
}

/**
 * What covers change, in a few sentences.
 * @param {{answer: any, grid: import("./draw.js").Grid}} shown
 * @param {any} prediction of the covered picture, with the places that are covered; null while there is none
 * @param {import("./cover.js").Rectangle[]} places that are covered now
 */
export function coverReport({ answer, grid }, prediction, places) {
  const rectangles = prediction?.places ?? places;
  let [count, sum] = [0, 0];
  grid.values.forEach((row, y) =>
    row.forEach((value, x) => {
      if (!covers(rectangles, x, y)) return;
      count += 1;
      sum += value;
    }),
  );
  const what = `${count} of ${grid.width * grid.height} pixels are covered, with a relevance of ${signed(sum)} of ${signed(answer.relevance.sum)}.`;
  if (!prediction) return `${what} The scores are still those of the whole picture.`;
  const changes = [answer.target, answer.versus].filter(Boolean).map(({ label }) => {
    const [before, now] = [answer, prediction].map(({ scores }) => scores.find((score) => score.label === label));
    return `${label}: ${percent(before.probability)} → ${percent(now.probability)}, logit ${signed(before.logit)} → ${signed(now.logit)}.`;
  });
  const { label, probability } = prediction.prediction;
  const says = label === answer.prediction.label ? "still says" : "now says";
  return [what, ...changes, `The network ${says} ${label}, ${percent(probability)}.`].join(" ");
}

/** An override for the first layer at which a rule does something. */
export function overrideOf({ layers }) {
  return `${layers.find(({ rule }) => rule !== "pass").name}:w_square`;
}

/** How much samples differ, in two sentences. */
export function spread({ relevance, prediction }) {
  const { count, spread, sign_agreement: agreement } = relevance.samples;
  const votes = Object.entries(prediction.uncertainty.votes).map(([label, number]) => `${label} ${number}`);
  const differ =
    spread === null
      ? "The map is zero in all samples"
      : `The map varies by ${percent(spread)} of its size; ${percent(agreement)} of it keeps its sign`;
  return `${differ}. Votes of ${count} samples: ${votes.join(", ")}.`;
}

/** @param {number} value @returns {string} with two decimals at most */
export const hundredths = (value) => plain(Number(value.toFixed(2)));

/**
 * What the perturbation curves of a rule mean, in one sentence.
 * @param {any} evaluated answer of an evaluation of one rule @param {string} title of the rule
 */
export function trust({ evaluations: [{ gap }], occlusion, random, target, patches }, title) {
  const half = Math.max(1, Math.floor(patches / 2));
  const [points, lower] = [Math.abs(Math.round(100 * gap)), gap < 0 ? "higher" : "lower"];
  const figures =
    `while the first ${half} of ${patches} patches are removed, its probability is on average ${points} percentage points ${lower} ` +
    `if the most relevant go first than if the least relevant do (gap ${hundredths(gap)})`;
  const chance = Math.abs(random.gap); // the reverse of a random order is one as well, with a gap of the other sign
  const ends = `a random order of this picture has a gap of ${hundredths(random.gap)}`;
  if (occlusion.gap <= chance)
    return `For this picture the curves say little about the map of ${title} for ${target.label}: ${figures}, while occlusion has a gap of ${hundredths(occlusion.gap)}, no more than chance, and ${ends}.`;
  const share = gap / occlusion.gap;
  const finds =
    gap <= chance
      ? "is no better than chance at finding"
      : `finds ${share >= 0.75 ? "most" : share >= 0.4 ? "a part" : "little"} of`;
  const compared =
    gap > 0 ? `which is ${percent(share)} of occlusion’s ${hundredths(occlusion.gap)}` : `where occlusion has ${hundredths(occlusion.gap)}`;
  return `The map of ${title} ${finds} what speaks for ${target.label}: ${figures}, ${compared}; ${ends}.`;
}

/**
 * Other measures of a rule: name, value and meaning.
 * @param {any} rule its evaluation @param {number} patches of the picture @returns {string[][]}
 */
export function measures({ flips_after: flips, sensitivity, leak }, patches) {
  return [
    [
      "flips after",
      flips === null ? "never" : `${flips} of ${patches} patches`,
      flips === null
        ? "The predicted class stays, however many of the most relevant patches are removed."
        : "So many of the most relevant patches have to be removed to change the predicted class; fewer are better.",
    ],
    [
      "sensitivity",
      sensitivity === null ? "unknown" : hundredths(sensitivity),
      sensitivity === null
        ? "The class changes under every tiny random change of the picture that was tried."
        : "Largest change of the map, as a share of its size, under tiny random changes of the picture; less is better.",
    ],
    [
      "leak",
      leak === null ? "unknown" : percent(leak).replace("-", "−"),
      leak === null
        ? "Almost no relevance was put in, so that no share of it can be stated."
        : "Share of the relevance put in that does not reach the pixels; below 0, relevance was gained.",
    ],
  ];
}

/**
 * What distinguishes the map on the page from the one that is evaluated, in one sentence; empty if nothing does.
 * @param {any} answer of the map @param {any} rule as it is evaluated @param {import("./state.js").State} state
 * @param {string} title of the rule
 */
export function notEvaluated(answer, rule, state, title) {
  const own = Object.entries(answer.rule.parameters)
    .filter(([name, value]) => rule.parameters[name] !== value)
    .map(([name, value]) => `${name} = ${typed(value)}`);
  if (state.layers.length) own.push("rules by layer");
  if (answer.versus) own.push(`a contrast with ${answer.versus.label}`);
  if (state.start !== null) own.push("a chosen start");
  return own.length
    ? `Only ${title} with its default parameters is evaluated. The map on this page also has: ${own.join(", ")}.`
    : "";
}

/** What the reference engine says of the numbers. */
export function verified({ reference, difference }) {
  return `${reference} computes the same map; relative difference ${plain(difference)}.`;
}

/** One sentence for those who cannot see the map. @param {import("./draw.js").Grid} grid */
export function describeMap(answer, title, grid) {
  const { target, versus } = answer;
  const of = `Relevance for ${target.label}${versus ? ` rather than ${versus.label}` : ""} under ${title}`;
  const high = grid.extreme(1);
  const low = grid.extreme(-1);
  const support = high.value > 0 ? `most support, ${signed(high.value)}, ${place(high, grid)}` : "no support";
  const against =
    low.value < 0 ? `most opposition, ${signed(low.value)}, ${place(low, grid)}` : "no opposition";
  return `${of}: ${support}; ${against}; in all ${signed(answer.relevance.sum)}.`;
}

/** One sentence for a small map of which only the report is known. */
export function describeCell(answer, title) {
  const { target, relevance } = answer;
  return `${title} for ${target.label}: in all ${signed(relevance.sum)}, single values from ${signed(relevance.min)} to ${signed(relevance.max)}.`;
}

function place({ x, y }, { width, height }) {
  const vertical = ["upper", "", "lower"][Math.floor((3 * y) / height)];
  const horizontal = ["left", "", "right"][Math.floor((3 * x) / width)];
  return vertical || horizontal
    ? `at the ${[vertical, horizontal].filter(Boolean).join(" ")}`
    : "in the centre";
}

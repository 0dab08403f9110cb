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

/** The question that an answer answers. */
export function question({ target, versus }) {
  return `Why ${target.label}${versus ? `, and not ${versus.label}` : ""}?`;
}

/** One sentence about what the network says. */
export function standing({ prediction, target, scores }) {
  const said = `The network says ${prediction.label}, ${percent(prediction.probability)}`;
  if (target.index === prediction.index) return `${said}.`;
  const score = scores.find(({ index }) => index === target.index);
  return `${said}; ${target.label} got ${percent(score.probability)}.`;
}

/** Where the relevance went, in one sentence. */
export function report({ relevance, target, versus }) {
  const { start, sum, leak } = relevance;
  if (leak === null) {
    const put = versus ? `Nearly as much relevance was put in for ${target.label} as against ${versus.label}` : `The logit of ${target.label} is 0`;
    return `${put}; ${signed(sum)} on balance reached the pixels.`;
  }
  const reached = `${plain(start)} was put in at ${target.label}${versus ? ` (less ${versus.label})` : ""}; ${plain(sum)} reached the pixels`;
  if (Math.abs(leak) < 0.0005) return `${reached}: nothing leaked on the way.`;
  if (leak < 0)
    return `${reached}: ${percent(-leak)} more, gained from biases and negative contributions on the way.`;
  return leak > 1
    ? `${reached}: biases and evidence of the other sign took more than all of it on the way.`
    : `${reached}: ${percent(leak)} leaked to biases, ε and zero denominators on the way.`;
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

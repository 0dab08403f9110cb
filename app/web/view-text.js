// A text whose words, or tokens, have the colour of their relevance. Each can be read by pointer, by keyboard and by
// ear.

import { byId, make } from "./dom.js";
import { positionOf } from "./legend.js";
import { percent, signed } from "./words.js";

const IDLE = "Point at a word to read its relevance.";
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** @typedef {{text: string, start: number, end: number, known: boolean, relevance: number}} Token offsets in code points */
/** @typedef {{text: string, token: Token | null}} Piece a part of the text; null between tokens */

/**
 * The text in pieces. Offsets of tokens count code points, as Python does; strings here count units of UTF-16.
 * @param {string} text @param {Token[]} tokens in their order @returns {Piece[]}
 */
export function piecesOf(text, tokens) {
  const points = [...text];
  const pieces = [];
  let done = 0;
  const add = (end, token) => {
    if (end > done || token) pieces.push({ text: points.slice(done, end).join(""), token });
    done = Math.max(done, end);
  };
  for (const token of tokens) {
    add(Math.max(done, token.start), null);
    add(token.end, token);
    if (pieces.at(-1).text === "") pieces.at(-1).text = nameOf(token);
  }
  add(points.length, null);
  return pieces;
}

/** What is shown of a token without letters of its own: a special one, or a further part of the letter before. */
const nameOf = ({ text, start, end }) => (start === end ? text : "·");

/**
 * How words of this relevance look.
 * @param {{vmin: number, vmax: number}} scale @param {{colours: string[], kind: string}} colormap
 * @param {{sign: string, normalize: string}} state
 */
export function painter(scale, { colours, kind }, { sign, normalize }) {
  const absolute = normalize === "absolute";
  return (relevance) => {
    const value = sign === "all" || relevance > 0 === (sign === "positive") ? relevance : 0;
    const position = positionOf(value, scale, absolute);
    const place = absolute && kind === "diverging" ? 0.5 + position / 2 : position; // zero keeps its neutral colour
    return { position, colour: mixed(colours, place) };
  };
}

/** The colour at `place`, 0 to 1, as red, green and blue. @param {string[]} colours evenly spaced, #rrggbb */
function mixed(colours, place) {
  const at = place * (colours.length - 1);
  const [low, high] = [Math.floor(at), Math.ceil(at)].map((i) => levelsOf(colours[i]));
  return low.map((level, i) => Math.round(level + (high[i] - level) * (at % 1)));
}

const levelsOf = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** Black or white, whichever contrasts more (WCAG 2). @param {number[]} levels of red, green and blue */
function inkOn(levels) {
  const linear = levels.map((level) => (level / 255 <= 0.04045 ? level / 255 / 12.92 : ((level / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000" : "#fff";
}

/** @param {string} text @param {Token[]} tokens @param {ReturnType<typeof painter>} paint @returns {(Node | string)[]} */
export function paintedText(text, tokens, paint) {
  return piecesOf(text, tokens).map(({ text, token }) => (token ? markOf(text, token, paint) : text));
}

function markOf(text, token, paint) {
  const mark = make("mark", { title: signed(token.relevance) }, text);
  mark.classList.toggle("special", token.start === token.end);
  mark.classList.toggle("unknown", !token.known);
  setColour(mark, paint(token.relevance).colour);
  return mark;
}

/** Give what is between the words the colour of no relevance. @param {HTMLElement} paper @param {ReturnType<typeof painter>} paint */
export function paintPaper(paper, paint) {
  setColour(paper, paint(0).colour);
}

function setColour({ style }, colour) {
  style.background = `rgb(${colour.join(" ")})`;
  style.color = inkOn(colour);
}

/** @param {(word: {position: number} | null) => void} onRead another word is read, or none */
export function createTextView(onRead) {
  const place = byId("words");
  let words = []; // [mark, token]
  let paint = null;
  let largest = 1;

  function read(mark) {
    const found = words.find(([one]) => one === mark);
    byId("word").textContent = found ? sentence(found[1]) : IDLE;
    onRead(found ? paint(found[1].relevance) : null);
  }

  function sentence({ text, known, relevance }) {
    const unknown = known ? "" : " The model does not know it.";
    return `“${text}”: relevance ${signed(relevance)}, ${percent(Math.abs(relevance) / largest)} of the scale.${unknown}`;
  }

  place.onpointerover = ({ target }) => read(target.closest("mark"));
  place.onpointerleave = () => read(document.activeElement);
  place.addEventListener("focusin", ({ target }) => read(target));
  place.addEventListener("focusout", () => read(null));
  place.onkeydown = (event) => {
    const at = words.findIndex(([mark]) => mark === event.target);
    const step = STEPS[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    focus(words[Math.min(words.length - 1, Math.max(0, at + step))][0]);
  };

  /** One word is reached with Tab, the others with arrow keys. */
  function focus(mark) {
    for (const [one] of words) one.tabIndex = one === mark ? 0 : -1;
    mark.focus();
  }

  return {
    clear() {
      words = [];
      place.replaceChildren();
      read(null);
    },

    /** @param {string} text as sent @param {any} answer @param {ReturnType<typeof painter>} painted */
    show(text, answer, painted) {
      const { vmin, vmax } = answer.scale;
      paint = painted;
      largest = Math.max(Math.abs(vmin), Math.abs(vmax)) || 1;
      const nodes = paintedText(text, answer.tokens, paint);
      words = nodes.filter((node) => typeof node !== "string").map((mark, i) => [mark, answer.tokens[i]]);
      words.forEach(([mark, { relevance }], i) => {
        mark.tabIndex = i ? -1 : 0;
        mark.append(make("span", { className: "unseen", textContent: ` ${signed(relevance)} ` }));
      });
      place.replaceChildren(...nodes);
      paintPaper(place, paint);
      read(null);
    },
  };
}

"use strict";
/* Texts with the relevance of their words, and texts of a word that is chosen. */

const CAPTIONS = ["Why this class", "Why rather than the label"];

function written(pieces) {
  const parts = pieces.map(([text, paper, ink, relevance]) => {
    if (paper === undefined) return text;
    const word = made("span", { className: "scored", textContent: text, title: relevance });
    word.style.backgroundColor = paper;
    word.style.color = ink;
    return word;
  });
  const element = made("span", { className: "written", dir: "auto" }, ...parts);
  element.lang = "";
  return element;
}

const tileOf = (row) => DATA.drawings[row].slice(0, 1).map(written);
const textOf = (row) => `${DATA.items[row][0]} ${(DATA.drawings[row]?.[0] ?? []).map(([text]) => text).join("")}`;

function figuresOf(row) {
  return DATA.drawings[row].map((pieces, index) => made("figure", {}, made("figcaption", { textContent: CAPTIONS[index] }), written(pieces)));
}

function chooseWord(button) {
  const shown = button.closest("section").querySelector(".examples");
  const isOn = button.getAttribute("aria-pressed") === "true";
  button.closest("section").querySelectorAll(".word[aria-pressed='true']").forEach((one) => one.setAttribute("aria-pressed", "false"));
  shown.hidden = isOn;
  if (isOn) return;
  button.setAttribute("aria-pressed", "true");
  shown.querySelector("h3").textContent = `Texts with ${button.textContent}`;
  shown.querySelector("ul").replaceChildren(...DATA.words[button.dataset.word].map(tile));
}

document.querySelectorAll(".word").forEach((button) => button.addEventListener("click", () => chooseWord(button)));

"use strict";
/* Rows with the relevance of their features as bars. */

const CAPTIONS = ["Why this prediction", "Why rather than the label"];
const IN_TILE = 5;
const HALF = 50; // percent of the width of a bar

function bars(features, most) {
  const largest = Math.max(...features.map(([, , relevance]) => Math.abs(relevance)), 1e-30);
  const rows = features.slice(0, most).map(([name, value, relevance]) => {
    const bar = made("i");
    const width = (HALF * Math.abs(relevance)) / largest;
    bar.style.width = `${width}%`;
    bar.style.marginLeft = `${relevance < 0 ? HALF - width : HALF}%`;
    bar.className = relevance < 0 ? "against" : "for";
    return [made("span", { className: "feature", textContent: `${name} ${value}`.trim() }), made("span", { className: "track", title: String(relevance) }, bar)];
  });
  return made("span", { className: "bars" }, ...rows.flat());
}

const tileOf = (row) => [bars(DATA.drawings[row][0], IN_TILE)];
const textOf = (row) => `${DATA.items[row][0]} ${(DATA.drawings[row]?.[0] ?? []).map(([name, value]) => `${name} ${value}`).join(" ")}`;

function figuresOf(row) {
  return DATA.drawings[row].map((features, index) => made("figure", {}, made("figcaption", { textContent: CAPTIONS[index] }), bars(features, features.length)));
}

"use strict";
/* The items of the report, and what is chosen in it. Text is always set as text, never as HTML.
   The script of the kind of input has `tileOf(row)` and `figuresOf(row)`, the elements of an item in its tile and in
   its dialog, and `textOf(row)`, what it is found by. */

const DATA = JSON.parse(document.getElementById("survey-data").textContent);
const PLURAL = { one: "item", other: "items" };
const MAX_FOUND = 24;

const by = (id) => document.getElementById(id);

function made(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function item(row) {
  const [name, label, prediction, detail, cluster, neighbours] = DATA.items[row];
  return { name, label, prediction, detail, cluster, neighbours };
}

const count = (number) => `${number} ${number === 1 ? PLURAL.one : PLURAL.other}`;
const said = (one) => `${one.prediction}, ${one.detail}`;

/* Tiles */

function fill(button) {
  const row = button.dataset.row;
  const one = DATA.items[row] && item(row);
  if (!one) return;
  const shown = DATA.drawings[row] ? tileOf(row) : [];
  if (!shown.length) button.append(made("span", { className: "name", textContent: one.name }));
  button.prepend(...shown);
  button.title = `${one.name}\n${said(one)}`;
  button.setAttribute("aria-label", `${one.name}: ${said(one)}`);
}

function tile(row) {
  const button = made("button", { className: "tile" }, made("span", { textContent: said(item(row)) }));
  button.dataset.row = row;
  fill(button);
  return made("li", {}, button);
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      observer.unobserve(entry.target);
      fill(entry.target);
    }
  },
  { rootMargin: "600px" },
);
document.querySelectorAll(".tile").forEach((button) => observer.observe(button));

/* One item */

function open(row) {
  const one = item(row);
  by("item-title").textContent = one.name;
  by("item-drawings").replaceChildren(...(DATA.drawings[row] ? figuresOf(row) : []));
  const facts = [
    ["prediction", said(one)],
    ["label", one.label ?? "unknown"],
    ...(one.cluster ? [["cluster", `${one.prediction} cluster ${one.cluster}`]] : []),
  ];
  by("item-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [made("dt", { textContent: name }), made("dd", { textContent: value })]),
  );
  by("item-alike").hidden = !one.neighbours.length;
  by("item-neighbours").replaceChildren(...one.neighbours.filter((other) => DATA.items[other]).map(tile));
  if (!by("item").open) by("item").showModal();
  by("item").scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".tile");
  if (button && DATA.items[button.dataset.row]) open(button.dataset.row);
  if (event.target === by("item")) by("item").close(); // beside it
});

/* Confusion */

function choose(cell) {
  const isOn = cell.getAttribute("aria-pressed") === "true";
  document.querySelectorAll(".cell[aria-pressed='true']").forEach((one) => one.setAttribute("aria-pressed", "false"));
  by("chosen").hidden = isOn;
  if (isOn) return;
  cell.setAttribute("aria-pressed", "true");
  const [label, prediction] = cell.dataset.cell.split(",").map((number) => DATA.classes[number]);
  const rows = DATA.cells[cell.dataset.cell] ?? [];
  const of = rows.length < cell.dataset.count ? `, ${rows.length} of ${cell.dataset.count}, the most confident` : "";
  by("chosen").querySelector("h3").textContent = `${label} taken for ${prediction}${of}`;
  by("chosen").querySelector("ul").replaceChildren(...rows.map(tile));
}

document.querySelectorAll(".cell").forEach((cell) => cell.addEventListener("click", () => choose(cell)));

/* Search */

by("search").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  const found = text ? Object.keys(DATA.items).filter((row) => textOf(row).toLowerCase().includes(text)) : [];
  by("search-count").textContent = text ? `${count(found.length)} of ${Object.keys(DATA.items).length} in this report${found.length > MAX_FOUND ? `, the first ${MAX_FOUND}` : ""}` : "";
  by("search-found").replaceChildren(...found.slice(0, MAX_FOUND).map(tile));
});

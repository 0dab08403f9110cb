"use strict";
/* The pictures of the report, and what is chosen in it. Text is always set as text, never as HTML. */

const DATA = JSON.parse(document.getElementById("survey-data").textContent);
const PLURAL = { one: "item", other: "items" };
const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#99ddff", "#bbcc33", "#ffaabb", "#aaaa00"];
const NO_CLUSTER = "#999999";
const MAX_FOUND = 24;
const NEAR = 14; // pixels from the pointer to a point

const by = (id) => document.getElementById(id);

function made(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function item(row) {
  const [name, label, prediction, confidence, cluster, neighbours] = DATA.items[row];
  return { name, label, prediction: DATA.classes[prediction], class: prediction, confidence, cluster, neighbours };
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const count = (number) => `${number} ${number === 1 ? PLURAL.one : PLURAL.other}`;
const colourOf = (cluster) => (cluster ? COLOURS[(cluster - 1) % COLOURS.length] : NO_CLUSTER);

function said(one) {
  const judged = one.label === null ? "no label" : one.label === one.prediction ? "right" : `label ${one.label}`;
  return `${one.prediction} ${percent(one.confidence)}, ${judged}`;
}

/* Tiles */

const CAPTIONS = ["What the network sees", "Why this class", "Why rather than the label"];

function pictures(row) {
  return (DATA.images[row] ?? []).map((source, index) => made("img", { src: source, alt: CAPTIONS[index] }));
}

function fill(button) {
  const row = button.dataset.row;
  const one = DATA.items[row] && item(row);
  if (!one) return;
  const shown = pictures(row);
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
  by("item-pictures").replaceChildren(
    ...pictures(row).map((image) => made("figure", {}, image, made("figcaption", { textContent: image.alt }))),
  );
  const facts = [
    ["prediction", `${one.prediction}, ${percent(one.confidence)}`],
    ["label", one.label ?? "unknown"],
    ["cluster", one.cluster ? `${one.prediction} cluster ${one.cluster}` : "none"],
  ];
  by("item-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [made("dt", { textContent: name }), made("dd", { textContent: value })]),
  );
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

/* Plot */

class Plot {
  constructor(canvas, select, legend, pointed) {
    Object.assign(this, { canvas, select, legend, pointed });
    select.addEventListener("change", () => this.show(select.value));
    canvas.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    canvas.addEventListener("click", (event) => this.openPoint(this.nearest(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.show(select.value);
  }

  show(number) {
    this.rows = DATA.plots[number].rows;
    this.points = DATA.plots[number].points;
    this.clusters = this.rows.map((row) => DATA.items[row][4]);
    this.order = this.rows.map((_, index) => index).sort((a, b) => this.clusters[a] - this.clusters[b] || this.points[a][0] - this.points[b][0]);
    this.chosen = null;
    this.at = null;
    this.pointed.replaceChildren();
    this.list();
    this.draw();
  }

  list() {
    const sizes = new Map();
    for (const cluster of this.clusters) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
    const entries = [...sizes].sort((a, b) => (a[0] || Infinity) - (b[0] || Infinity));
    this.legend.replaceChildren(...entries.map(([cluster, size]) => made("li", {}, this.entry(cluster, size))));
  }

  entry(cluster, size) {
    const mark = made("i");
    mark.style.background = colourOf(cluster);
    const button = made("button", {}, mark, `${cluster ? `cluster ${cluster}` : "in none"}, ${count(size)}`);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      this.chosen = this.chosen === cluster ? null : cluster;
      for (const one of this.legend.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button && this.chosen === cluster));
      this.draw();
    });
    return button;
  }

  place([x, y]) {
    const half = this.canvas.clientWidth / 2;
    return [half + x * (half - 12), half - y * (half - 12)];
  }

  draw() {
    const side = this.canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (!side) return;
    this.canvas.width = this.canvas.height = side * ratio;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    this.points.forEach((point, index) => {
      const [x, y] = this.place(point);
      context.globalAlpha = this.chosen === null || this.chosen === this.clusters[index] ? 0.85 : 0.12;
      context.fillStyle = colourOf(this.clusters[index]);
      context.beginPath();
      context.arc(x, y, 3.5, 0, 7);
      context.fill();
    });
    if (this.at === null) return;
    context.globalAlpha = 1;
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(...this.place(this.points[this.at]), 7, 0, 7);
    context.stroke();
  }

  nearest(event) {
    const box = this.canvas.getBoundingClientRect();
    let best = null, least = NEAR;
    this.points.forEach((point, index) => {
      const [x, y] = this.place(point);
      const distance = Math.hypot(x - event.clientX + box.left, y - event.clientY + box.top);
      if (distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  point(index) {
    if (index === null || index === this.at) return;
    this.at = index;
    this.pointed.replaceChildren(made("ul", { className: "tiles wide" }, tile(this.rows[index])), made("p", { className: "hint", textContent: DATA.items[this.rows[index]][0] }));
    this.draw();
  }

  openPoint(index) {
    if (index !== null) open(this.rows[index]);
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step && event.key !== "Enter") return;
    event.preventDefault(); // neither scroll, nor press what the dialog focuses
    if (!step) return this.openPoint(this.at);
    const place = this.at === null ? -Math.min(step, 0) : this.order.indexOf(this.at) + step;
    this.point(this.order[(place + this.order.length) % this.order.length]);
  }
}

if (by("plot-class").options.length) new Plot(by("plot"), by("plot-class"), by("legend"), by("pointed"));

/* Search */

by("search").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  const found = text ? Object.keys(DATA.items).filter((row) => DATA.items[row][0].toLowerCase().includes(text)) : [];
  by("search-count").textContent = text ? `${count(found.length)} of ${Object.keys(DATA.items).length} in this report${found.length > MAX_FOUND ? `, the first ${MAX_FOUND}` : ""}` : "";
  by("search-found").replaceChildren(...found.slice(0, MAX_FOUND).map(tile));
});

"use strict";
/* Pictures, and the plot of their maps. */

const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#99ddff", "#bbcc33", "#ffaabb", "#aaaa00"];
const NO_CLUSTER = "#999999";
const NEAR = 14; // pixels from the pointer to a point
const colourOf = (cluster) => (cluster ? COLOURS[(cluster - 1) % COLOURS.length] : NO_CLUSTER);

const CAPTIONS = ["What the network sees", "Why this class", "Why rather than the label"];

function pictures(row) {
  return (DATA.drawings[row] ?? []).map((source, index) => made("img", { src: source, alt: CAPTIONS[index] }));
}

const tileOf = pictures;
const textOf = (row) => DATA.items[row][0];

function figuresOf(row) {
  return pictures(row).map((image) => made("figure", {}, image, made("figcaption", { textContent: image.alt })));
}

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

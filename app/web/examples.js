// Pictures to begin with, drawn here: no photograph has to travel with the service.

const SIDE = 192;

/** @typedef {(c: CanvasRenderingContext2D) => void} Drawing */

/** @param {CanvasRenderingContext2D} c @param {string} fill @param {number[][]} points */
function polygon(c, fill, points) {
  c.fillStyle = fill;
  c.beginPath();
  points.forEach(([x, y]) => c.lineTo(x, y));
  c.fill();
}

function ellipse(c, fill, x, y, width, height, turn = 0) {
  c.fillStyle = fill;
  c.beginPath();
  c.ellipse(x, y, width, height, turn, 0, 2 * Math.PI);
  c.fill();
}

function box(c, fill, x, y, width, height, radius = 0) {
  c.fillStyle = fill;
  c.beginPath();
  c.roundRect(x, y, width, height, radius);
  c.fill();
}

/** Fill a band of the picture from one colour to another. */
function shade(c, from, to, top = 0, bottom = SIDE) {
  const fill = c.createLinearGradient(0, top, 0, bottom);
  fill.addColorStop(0, from);
  fill.addColorStop(1, to);
  box(c, fill, 0, top, SIDE, bottom - top);
}

function wheel(c, x, y, radius) {
  ellipse(c, "#17181a", x, y, radius, radius);
  ellipse(c, "#9aa0a6", x, y, radius * 0.5, radius * 0.5);
}

/** @type {Record<string, Drawing>} */
const DRAWINGS = {
  automobile(c) {
    shade(c, "#c7d6de", "#e8ecec", 0, 100);
    shade(c, "#7d8082", "#585b5d", 100);
    ellipse(c, "rgb(20 20 20 / 55%)", 96, 152, 84, 9);
    polygon(c, "#b3181b", [
      [50, 92],
      [70, 60],
      [126, 60],
      [150, 92],
    ]);
    box(c, "#c81d20", 14, 88, 166, 46, 16);
    polygon(c, "#2b3a46", [
      [58, 90],
      [74, 66],
      [96, 66],
      [96, 90],
    ]);
    polygon(c, "#2b3a46", [
      [102, 90],
      [102, 66],
      [122, 66],
      [140, 90],
    ]);
    box(c, "#8f1214", 14, 120, 166, 14, 6);
    ellipse(c, "#f6e9b4", 172, 104, 8, 6);
    wheel(c, 50, 136, 20);
    wheel(c, 144, 136, 20);
  },
  truck(c) {
    shade(c, "#a9c4d8", "#dde6ea", 0, 118);
    shade(c, "#77746d", "#55534e", 118);
    box(c, "#eceae4", 12, 40, 112, 90, 3);
    box(c, "#d0cdc4", 12, 118, 112, 12);
    polygon(c, "#2a5d9c", [
      [128, 132],
      [128, 66],
      [158, 66],
      [178, 96],
      [178, 132],
    ]);
    polygon(c, "#23313d", [
      [136, 94],
      [136, 74],
      [154, 74],
      [166, 94],
    ]);
    box(c, "#2c2e31", 12, 130, 168, 9);
    wheel(c, 42, 144, 17);
    wheel(c, 78, 144, 17);
    wheel(c, 152, 144, 17);
  },
  ship(c) {
    shade(c, "#9fc3e4", "#dfeaf2", 0, 112);
    shade(c, "#3f6f96", "#173c5c", 108);
    polygon(c, "#20303f", [
      [14, 98],
      [180, 92],
      [162, 128],
      [32, 128],
    ]);
    polygon(c, "#8d2f26", [
      [26, 117],
      [168, 114],
      [162, 128],
      [32, 128],
    ]);
    box(c, "#f2f1ec", 44, 74, 96, 24);
    box(c, "#f7f6f2", 58, 56, 64, 20);
    box(c, "#c8452f", 78, 32, 18, 26);
    box(c, "#20303f", 78, 32, 18, 7);
    for (let x = 50; x < 134; x += 14) box(c, "#33506a", x, 82, 7, 7);
    box(c, "#55616c", 150, 40, 3, 54);
  },
  airplane(c) {
    shade(c, "#4f8fd0", "#cfe2f3");
    ellipse(c, "#f4f8fb", 44, 158, 52, 13);
    ellipse(c, "#eef4f9", 150, 30, 40, 10);
    polygon(c, "#b9c2cb", [
      [92, 92],
      [130, 90],
      [70, 40],
      [56, 40],
    ]);
    ellipse(c, "#f3f5f7", 98, 100, 78, 14, -0.06);
    polygon(c, "#d8dee4", [
      [26, 106],
      [50, 102],
      [30, 62],
      [14, 62],
    ]);
    polygon(c, "#8b97a3", [
      [84, 108],
      [126, 106],
      [92, 158],
      [76, 158],
    ]);
    ellipse(c, "#5d6974", 104, 128, 13, 6);
    for (let x = 62; x < 150; x += 11) box(c, "#38516b", x, 95 - x * 0.03, 5, 4);
    ellipse(c, "#2d3f52", 164, 94, 7, 4);
  },
  frog(c) {
    shade(c, "#6d6a43", "#4b4a2b");
    ellipse(c, "#86824f", 40, 40, 50, 26);
    ellipse(c, "#39381f", 150, 170, 60, 20);
    ellipse(c, "#4f7d2a", 48, 138, 34, 20, 0.5);
    ellipse(c, "#4f7d2a", 144, 138, 34, 20, -0.5);
    ellipse(c, "#6da238", 96, 118, 56, 42);
    ellipse(c, "#b9c987", 96, 138, 36, 22);
    ellipse(c, "#7ab241", 96, 84, 44, 28);
    ellipse(c, "#7ab241", 68, 60, 15, 15);
    ellipse(c, "#7ab241", 124, 60, 15, 15);
    ellipse(c, "#1b1a12", 68, 58, 8, 8);
    ellipse(c, "#1b1a12", 124, 58, 8, 8);
    ellipse(c, "#3f5d20", 96, 96, 26, 4);
  },
  horse(c) {
    shade(c, "#b9d3e6", "#dfe9ea", 0, 96);
    shade(c, "#8aa35a", "#5e7a38", 92);
    for (const x of [60, 76, 122, 138]) box(c, "#5b3219", x, 118, 10, 54);
    ellipse(c, "#7b4522", 100, 104, 52, 25);
    polygon(c, "#7b4522", [
      [128, 104],
      [150, 96],
      [166, 46],
      [146, 40],
      [126, 84],
    ]);
    polygon(c, "#6d3c1d", [
      [146, 40],
      [168, 42],
      [186, 70],
      [174, 78],
      [152, 62],
    ]);
    polygon(c, "#2a170c", [
      [146, 36],
      [154, 40],
      [132, 92],
      [120, 88],
    ]);
    polygon(c, "#2a170c", [
      [50, 94],
      [40, 100],
      [34, 150],
      [44, 150],
      [54, 112],
    ]);
  },
};

/** Names of the pictures, in the order in which they are offered. */
export const EXAMPLES = Object.keys(DRAWINGS);

/** @param {string} name one of `EXAMPLES` @returns {HTMLCanvasElement} */
export function drawExample(name) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  DRAWINGS[name](canvas.getContext("2d"));
  return canvas;
}

/** @param {string} name one of `EXAMPLES` @returns {Promise<File>} as PNG */
export function exampleFile(name) {
  return new Promise((resolve) => {
    drawExample(name).toBlob(
      (blob) => resolve(new File([blob], `${name}.png`, { type: "image/png" })),
      "image/png",
    );
  });
}

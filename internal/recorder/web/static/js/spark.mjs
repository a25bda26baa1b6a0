// A sparkline on a small canvas.

import { outline } from "./series.mjs";

export const BOX = { width: 84, height: 22 };

// make builds a canvas with the pixels of the screen.
export function make() {
  const canvas = document.createElement("canvas");
  const scale = window.devicePixelRatio || 1;
  canvas.width = BOX.width * scale;
  canvas.height = BOX.height * scale;
  canvas.className = "spark";
  canvas.setAttribute("aria-hidden", "true");
  canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
  return canvas;
}

// draw paints the history as a line over its area; the upper edge is the limit if
// there is one.
export function draw(canvas, ring, top, colours) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, BOX.width, BOX.height);
  const inner = { width: BOX.width - 2, height: BOX.height - 3 };
  if (top > 0) {
    pen.fillStyle = colours.grid;
    pen.fillRect(1, 0.5, inner.width, 1);
  }
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.area;
  pen.lineWidth = 1.25;
  for (const run of runs(outline(ring, inner, top))) stroke(pen, run, inner.height + 1.5);
}

// runs cuts the points at the gaps.
function runs(points) {
  const all = [];
  let open = null;
  for (const point of points) {
    if (Number.isNaN(point[1])) open = null;
    else if (open) open.push(point);
    else all.push((open = [point]));
  }
  return all;
}

function stroke(pen, run, floor) {
  pen.beginPath();
  for (const [i, [x, y]] of run.entries()) {
    if (i === 0) pen.moveTo(x + 1, y + 1.5);
    else pen.lineTo(x + 1, y + 1.5);
  }
  pen.stroke();
  pen.lineTo(run[run.length - 1][0] + 1, floor);
  pen.lineTo(run[0][0] + 1, floor);
  pen.fill();
}

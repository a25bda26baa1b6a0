// A time plot on uPlot. All plots of a page share one cursor; the legend above
// each says the values there, or the last ones.

import { axis, clock, date, quantity } from "./format.mjs";
import { downsample, lastIndex } from "./series.mjs";
import { html, useEffect, useRef } from "./view.mjs";
import { onTheme, palette, SERIES } from "./theme.mjs";

const HEIGHT = 160;
const GUTTER = 50; // pixels for the numbers at the left
const SYNC = "tallyman"; // key of the shared cursor
const FONT = '11px Inter, system-ui, sans-serif';
// Steps of an axis of bytes: powers of two, so that it reads 256M and not 191M.
const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const ROUND = Array.from({ length: 40 }, (_, i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3));
const FINE = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, ...ROUND];
// What is counted comes in whole numbers, unless there is less than one.
const STEPS_OF = { bytes: POWERS, "bytes/s": POWERS, count: (u, i, low, high) => (high >= 4 ? ROUND : FINE) };

// Plot shows { unit, data: [xs in seconds, ...ys], lines: [{ label, limit }] }.
// marks are moments { ms, kind } drawn as lines across, at is the cursor of the
// time bar. pick(ms) is called on a click, zoom(fromMs, toMs) after a brush.
// size is { height, gutter } where the usual ones do not do.
export function Plot({ plot, marks = [], at = null, pick, zoom, title, size = {} }) {
  const host = useRef(null);
  const values = useRef(null);
  const made = useRef(null);
  const latest = useRef({});
  latest.current = { marks, at, pick, zoom, plot, values, height: size.height || HEIGHT, gutter: size.gutter || GUTTER };
  const shape = `${plot.unit}|${plot.lines.map((l) => l.label).join("|")}`;

  useEffect(() => {
    const make = () => {
      if (made.current) made.current.destroy();
      made.current = build(host.current, latest);
      showValues(made.current, latest.current);
    };
    make();
    const sizes = new ResizeObserver(() => {
      const width = host.current.clientWidth;
      if (made.current && width > 0 && Math.abs(made.current.width - width) > 1) made.current.setSize({ width, height: latest.current.height });
    });
    sizes.observe(host.current);
    const unwatch = onTheme(make);
    return () => {
      sizes.disconnect();
      unwatch();
      made.current.destroy();
      made.current = null;
    };
  }, [shape]);

  useEffect(() => {
    if (!made.current) return;
    made.current.setData(thinned(plot.data, host.current.clientWidth));
    showValues(made.current, latest.current);
  }, [plot.data, shape]);

  useEffect(() => {
    if (made.current) made.current.redraw(false);
    if (made.current) showValues(made.current, latest.current);
  }, [marks, at]);

  return html`<ul class="values" ref=${values}>
      ${plot.lines.map((l, i) => html`<li key=${i}><i class=${`line-${l.limit ? "limit" : i % SERIES}${i >= SERIES ? " is-dotted" : ""}`}></i><span class="name" title=${l.label}>${l.label}</span><b></b></li>`)}
      <li class="when"></li>
    </ul>
    <div class="plot" data-plot=${title} data-points=${plot.data[0].length} role="img" aria-label=${`Plot: ${title}`} ref=${host}></div>`;
}

// thinned leaves about two points per pixel. Series that share an axis must
// keep sharing it, so one is thinned by peaks and several by the raw grid,
// which the query has already made as coarse as the screen.
function thinned(data, width) {
  const slots = Math.max(100, width);
  if (data.length !== 2 || data[0].length <= slots * 2) return data;
  return downsample(data[0], data[1], slots);
}

function build(host, latest) {
  const { plot, height, gutter } = latest.current;
  const colours = palette();
  const write = axis(plot.unit);
  const uPlot = globalThis.uPlot;
  const line = { stroke: colours.faint, font: FONT, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false } };
  const options = {
    width: Math.max(200, host.clientWidth),
    height,
    padding: [8, 8, 0, 0],
    cursor: {
      sync: { key: SYNC },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
    },
    legend: { show: false },
    scales: { y: { range: (u, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.08 : plot.unit.startsWith("bytes") ? 1024 : 1] } },
    axes: [
      { ...line, size: 24, gap: 4, space: 64, values: moments },
      { ...line, size: gutter, gap: 6, space: 32, incrs: STEPS_OF[plot.unit], values: (u, list) => list.map(write) },
    ],
    series: [{ label: "time" }, ...plot.lines.map((l, i) => lineOf(l, i, { colours, isAlone: plot.lines.filter((o) => !o.limit).length <= 2 }))],
    hooks: {
      draw: [(u) => drawMarks(u, latest.current, colours)],
      setSelect: [(u) => selected(u, latest)],
      setCursor: [(u) => showValues(u, latest.current)],
      // uPlot keeps the click that ends a drag to itself.
      ready: [(u) => u.over.addEventListener("click", () => clicked(u, latest))],
    },
  };
  if (plot.window) options.scales.x = { range: () => [plot.window.from, plot.window.to] };
  return new uPlot(options, thinned(plot.data, host.clientWidth), host);
}

// moments writes the labels below a plot, in the zone of the reader and as the
// time bar does.
function moments(u, list, place, space, step) {
  return list.map((s) => (step >= 86400 ? date(s * 1000).slice(5) : step >= 60 ? clock(s * 1000).slice(0, 5) : clock(s * 1000)));
}

function lineOf(line, i, { colours, isAlone }) {
  const colour = line.limit ? colours.limit : colours.series[i % SERIES];
  return {
    label: line.label,
    stroke: colour,
    // The area of the first line, where others do not run through it. The colours
    // are #rrggbb; two digits more are the strength.
    fill: i === 0 && isAlone && !line.limit ? `${colour}1c` : undefined,
    // Colours come again after SERIES lines, then broken.
    dash: line.limit ? [6, 4] : i >= SERIES ? [2, 2] : undefined,
    width: 1.5,
    points: { show: false },
    spanGaps: false,
  };
}

// showValues writes the legend: at the pointer, else at the moment of the time bar,
// else the last there are.
function showValues(u, { values, plot, at }) {
  const list = values.current && u.data && u.data[0] ? values.current.children : null;
  if (!list || list.length !== plot.lines.length + 1) return;
  const xs = u.data[0];
  const pointed = u.cursor && u.cursor.idx;
  const isPointed = pointed !== null && pointed !== undefined;
  const end = isPointed ? pointed : at === null ? xs.length - 1 : lastIndex(xs, at / 1000);
  const write = quantity(plot.unit);
  for (let i = 0; i < plot.lines.length; i++) {
    const ys = u.data[i + 1];
    let v = ys[end];
    // The newest second has not reached every series.
    for (let back = 1; !isPointed && back <= 3 && (v === null || v === undefined); back++) v = ys[end - back];
    put(list[i].children[2], write(v));
  }
  put(list[plot.lines.length], isPointed ? clock(xs[end] * 1000) : "");
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function clicked(u, latest) {
  const { pick } = latest.current;
  if (pick && u.cursor.left >= 0) pick(u.posToVal(u.cursor.left, "x") * 1000);
}

function selected(u, latest) {
  const { zoom } = latest.current;
  const { left, width } = u.select;
  // The shared cursor draws the brush in every plot; the one below the pointer acts.
  if (zoom && width >= 3 && u.root.matches(":hover")) zoom(u.posToVal(left, "x") * 1000, u.posToVal(left + width, "x") * 1000);
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

function drawMarks(u, { marks, at }, colours) {
  const pen = u.ctx;
  const { left, top, width, height } = u.bbox;
  const scale = globalThis.devicePixelRatio || 1;
  const place = (ms) => {
    const x = Math.round(u.valToPos(ms / 1000, "x", true));
    return x >= left && x <= left + width ? x : null;
  };
  pen.save();
  for (const mark of marks) {
    const x = place(mark.ms);
    if (x === null) continue;
    pen.strokeStyle = pen.fillStyle = colours[mark.kind] || colours.faint;
    upright(pen, { x, top, height, dash: [3 * scale, 3 * scale], width: scale });
    // A flag at the top: a thin line alone is lost among others.
    pen.fillRect(x - 2 * scale, top, 4 * scale, 7 * scale);
  }
  const x = at === null ? null : place(at);
  if (x !== null) {
    pen.strokeStyle = colours.ink;
    upright(pen, { x, top, height, dash: [], width: scale });
  }
  pen.restore();
}

function upright(pen, { x, top, height, dash, width }) {
  pen.setLineDash(dash);
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x + 0.5, top);
  pen.lineTo(x + 0.5, top + height);
  pen.stroke();
}

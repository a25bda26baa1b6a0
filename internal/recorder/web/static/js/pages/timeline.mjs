// Time line: a lane per container, its life as a bar, what happened as ticks.
// The lanes are one canvas, as hundreds of lanes with thousands of ticks would
// be as many nodes; a list for screen readers and keyboards stands beside it.

import { EventList } from "../eventlist.mjs";
import { clock, date, moment, newestOf } from "../format.mjs";
import { LANE, build, hit, mostLanes } from "../lanes.mjs";
import { Cut, Panel, pick, zoom } from "../panel.mjs";
import { HOST } from "../promql.mjs";
import { useStore } from "../store.mjs";
import { TICKS, captureTitle, eventText, mainTrigger, stateText } from "../story.mjs";
import { onTheme, palette } from "../theme.mjs";
import * as timebar from "../timebar.mjs";
import { html, useEffect, useMemo, useRef, useState } from "../view.mjs";

const LABEL = 190; // pixels for the names
const NARROW = 100; // the same on a phone
const EDGE = 18; // pixels free at the right, as a plot in its box has
const INSET = 10; // what the box takes at the left of a plot
const AXIS = 22; // pixels for the labels of the time, above the lanes
const MAX_ROWS = 200; // of the list below
const FONT = "12px Inter, system-ui, sans-serif";
const REACH = 5; // pixels around a tick that belong to it

const HOST_PANEL = { key: "host-psi", title: "Pressure of the host: share of time that something waits", unit: "ratio" };

// The plot below the lanes has its moments where they have them.
const HOST_SIZE = { height: 130, gutter: LABEL - INSET };
const HOST_NARROW = { height: 130, gutter: NARROW - INSET };
const NO_MARKS = [];

export function Timeline({ session }) {
  const [by, setBy] = useState("name");
  const [text, setText] = useState("");
  const entities = useStore(session.store, (s) => s.entities);
  const events = useStore(session.store, (s) => s.events);
  const captures = useStore(session.store, (s) => s.captures);
  const time = useStore(session.store, (s) => s.time);
  const now = useStore(session.store, (s) => Math.floor(s.now / 1000) * 1000);
  const shown = session.window();
  const lanes = useMemo(() => {
    const list = [...entities.values()].filter((e) => matches(e, text));
    const marks = captures.flatMap((c) => {
      const t = mainTrigger(c);
      return t ? [{ ms: t.ms, kind: "capture", container: t.container, name: "capture", body: captureTitle(c) }] : [];
    });
    return build(list, [...events, ...marks], shown, by);
  }, [entities, events, captures, by, text, shown.from, shown.to]);
  const step = timebar.resolution(time.span, 600);
  const queries = HOST.map((h) => ({ label: h.label, query: h.query(step) }));
  const scale = window.devicePixelRatio || 1;
  const drawn = useMemo(() => lanes.slice(0, mostLanes(scale)), [lanes, scale]);
  const inside = events.filter((e) => e.ms >= shown.from && e.ms <= shown.to);
  const nameOf = (id) => id && html`<a href=${session.link("container", id)}>${(entities.get(id) || { name: "" }).name || id.slice(0, 12)}</a>`;
  return html`<section class="page timeline">
    <div class="tools">
      <label class="search"><span class="sr">Filter</span><input data-search type="search" value=${text} onInput=${(e) => setText(e.target.value)} placeholder="name, image, project" /></label>
      <label class="group">Lane per <select data-lane-by value=${by} onChange=${(e) => setBy(e.target.value)}><option value="name">container</option><option value="service">service</option></select></label>
      <p class="legend spread">${TICKS.map((t) => html`<span key=${t.kind}><i class=${`swatch tick-${t.kind}`}></i>${t.text}</span>`)}</p>
    </div>
    <${Cut} session=${session} />
    ${lanes.length > drawn.length && html`<p class="hint" data-cut="lanes">The first ${drawn.length} of ${lanes.length} lanes, those with trouble before the others. The filter finds the rest.</p>`}
    <${Lanes} session=${session} lanes=${drawn} scale=${scale} shown=${shown} />
    <${Panel} session=${session} panel=${HOST_PANEL} queries=${queries} marks=${NO_MARKS} size=${innerWidth < 761 ? HOST_NARROW : HOST_SIZE} />
    <h2>What happened</h2>
    ${inside.length > MAX_ROWS && html`<p class="hint" data-cut="rows">${newestOf(MAX_ROWS, "events in this window")}</p>`}
    <${EventList} events=${inside.slice(-MAX_ROWS).reverse()} now=${now} onPick=${(ms) => pick(session, ms)} nameOf=${nameOf} />
  </section>`;
}

const matches = (e, text) => [e.name, e.image, e.project, e.service, e.id].some((v) => v.toLowerCase().includes(text.toLowerCase()));

function Lanes({ session, lanes, scale, shown }) {
  const canvas = useRef(null);
  const drawn = useRef({});
  const [tip, setTip] = useState(null);
  const cursor = session.cursor();
  drawn.current = { ...drawn.current, lanes, scale, shown, cursor };

  useEffect(() => {
    const repaint = () => requestAnimationFrame(() => canvas.current && draw(canvas.current, drawn.current));
    drawn.current.colours = palette();
    const sizes = new ResizeObserver(() => {
      drawn.current.width = canvas.current.parentElement.clientWidth;
      repaint();
    });
    sizes.observe(canvas.current.parentElement);
    const unwatch = onTheme(() => {
      drawn.current.colours = palette();
      repaint();
    });
    return () => {
      sizes.disconnect();
      unwatch();
    };
  }, []);
  useEffect(() => {
    draw(canvas.current, drawn.current);
  }, [lanes, scale, shown.from, shown.to, cursor]);

  const mouse = handlers(session, canvas, drawn, setTip);
  return html`<div class="lanes" data-lanes data-count=${lanes.length} role="img" aria-label="Lives of the containers; the events are listed below">
    ${lanes.length === 0 && html`<p class="empty">No containers in this window.</p>`}
    <canvas ref=${canvas} onPointerDown=${mouse.down} onPointerMove=${mouse.move} onPointerUp=${mouse.up} onPointerLeave=${() => setTip(null)}></canvas>
    ${tip && html`<p class="tip" style=${{ left: `${tip.x}px`, top: `${tip.y}px` }}>${tip.text}</p>`}
  </div>`;
}

const labelWidth = (width) => (width < 600 ? NARROW : LABEL);

// handlers: a click opens the container at that moment or moves the cursor, a
// drag zooms.
function handlers(session, canvas, drawn, setTip) {
  const read = (e) => {
    const box = canvas.current.getBoundingClientRect();
    const label = labelWidth(box.width);
    const share = (e.clientX - box.left - label) / (box.width - label - EDGE);
    const lane = drawn.current.lanes[Math.floor((e.clientY - box.top - AXIS) / LANE)];
    return { x: e.clientX - box.left, y: e.clientY - box.top, share, lane, reach: REACH / (box.width - label - EDGE) };
  };
  const open = ({ share, lane, reach }) => {
    if (!lane) return;
    const found = share < 0 ? { bar: lane.bars[lane.bars.length - 1] } : hit(lane, share, reach);
    const id = found && (found.tick ? found.tick.event.container : found.bar && found.bar.id);
    if (share >= 0) pick(session, found && found.tick ? found.tick.event.ms : timebar.momentAt(share, drawn.current.shown));
    if (id) session.go("container", id);
  };
  return {
    down: (e) => {
      e.currentTarget.setPointerCapture(e.pointerId);
      drawn.current.pressed = read(e).share;
    },
    move: (e) => {
      const p = read(e);
      const found = p.lane && p.share >= 0 ? hit(p.lane, p.share, p.reach) : null;
      setTip(found ? { x: p.x + 12, y: p.y + 12, text: tipText(found) } : null);
    },
    up: (e) => {
      const p = read(e);
      const from = drawn.current.pressed;
      if (from >= 0 && Math.abs(p.share - from) > p.reach * 2) {
        const at = (share) => timebar.momentAt(share, drawn.current.shown);
        zoom(session, at(from), at(p.share));
      } else open(p);
    },
  };
}

function tipText({ tick, bar }) {
  if (tick) return `${clock(tick.event.ms)} ${eventText(tick.event)}`;
  const e = bar.entity;
  return `${e.name || e.id.slice(0, 12)}, ${stateText(e)}, ${moment(e.start)} to ${e.stop === null ? "now" : moment(e.stop)}`;
}

function draw(canvas, { lanes, scale, shown, cursor, colours, width }) {
  if (!width || !colours) return;
  const height = AXIS + Math.max(LANE, lanes.length * LANE) + 4;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  const label = labelWidth(width);
  const x = (share) => label + share * (width - label - EDGE);
  for (let i = 0; i < lanes.length; i += 2) fill(pen, colours.shade, [0, AXIS + i * LANE, width, LANE]);
  drawGrid(pen, { shown, height, colours, x, count: Math.max(2, Math.min(8, Math.floor((width - label) / 90))) });
  for (const [i, lane] of lanes.entries()) drawLane(pen, lane, { top: AXIS + i * LANE, label, colours, x });
  const at = timebar.shareOf(cursor, shown);
  if (at !== null) fill(pen, colours.ink, [x(at), AXIS, 1, height]);
}

function drawGrid(pen, { shown, height, colours, x, count }) {
  const span = (shown.to - shown.from) / 1000;
  for (const ms of timebar.gridOf(shown, count)) {
    const at = x(timebar.shareOf(ms, shown));
    fill(pen, colours.grid, [at, AXIS, 1, height]);
    pen.fillStyle = colours.faint;
    const words = span > 2 * 86400 ? date(ms).slice(5) : span < 600 ? clock(ms) : clock(ms).slice(0, 5);
    pen.fillText(words, at - pen.measureText(words).width / 2, AXIS / 2);
  }
}

const BAR_COLOUR = { running: "running", broken: "running", ended: "ended", oom: "ended", exit: "ended" };

function drawLane(pen, lane, { top, label, colours, x }) {
  pen.fillStyle = lane.trouble > 0 ? colours.ink : colours.faint;
  pen.fillText(clip(pen, lane.label, label - 18), 10, top + LANE / 2 + 0.5);
  for (const bar of lane.bars) {
    fill(pen, colours[BAR_COLOUR[bar.state]], [x(bar.x0), top + 6, Math.max(1, x(bar.x1) - x(bar.x0)), LANE - 12]);
    if (bar.broken !== null && bar.broken < bar.x1) fill(pen, colours.broken, [x(bar.broken), top + 6, x(bar.x1) - x(bar.broken), LANE - 12]);
  }
  // Rare and bad ones above the others.
  for (const tick of [...lane.ticks].sort((a, b) => rank(b) - rank(a))) drawTick(pen, tick, { at: x(tick.x), top, colours });
}

const rank = (tick) => TICKS.findIndex((t) => t.kind === tick.kind);

function drawTick(pen, tick, { at, top, colours }) {
  const isBad = tick.kind === "oom" || tick.kind === "degraded" || tick.kind === "capture";
  const [w, inset] = isBad ? [4, 2] : [3, 4];
  // A rim of the ground keeps neighbours apart.
  fill(pen, colours.card, [at - w / 2 - 1, top + inset, w + 2, LANE - 2 * inset]);
  fill(pen, colours[tick.kind], [at - w / 2, top + inset, w, LANE - 2 * inset]);
}

// clip cuts text to a width, which fillText would squeeze.
function clip(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, mid)}…`).width <= width) low = mid;
    else high = mid - 1;
  }
  return `${text.slice(0, low)}…`;
}

function fill(pen, colour, [x, y, w, h]) {
  pen.fillStyle = colour;
  pen.fillRect(x, y, w, h);
}

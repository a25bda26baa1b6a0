// Geometry of the time line: one lane per container name, the lives of its
// incarnations as bars, events as ticks. All x are shares of the width.

import { shareOf } from "./timebar.mjs";
import { tickOf } from "./story.mjs";

export const LANE = 22; // height in pixels: room for a line of text

const MAX_LANES = 1000; // more cannot be looked through
const MAX_PIXELS = 32000; // a canvas in Firefox has 32,767 at most; above it stays blank

// mostLanes is how many a canvas can show. scale is how many of its pixels are one of
// the page.
export const mostLanes = (scale) => Math.min(MAX_LANES, Math.floor(MAX_PIXELS / scale / LANE));

const clamp = (v) => Math.min(1, Math.max(0, v));

// build groups incarnations that lived in the window into lanes. by is "name"
// or "service". Lanes with trouble come first, then by name.
export function build(entities, events, shown, by) {
  const lanes = new Map();
  const laneOf = new Map();
  for (const e of entities) {
    const bar = barOf(e, shown);
    if (!bar) continue;
    const key = laneKey(e, by);
    if (!lanes.has(key)) lanes.set(key, { key, label: laneLabel(e, by), bars: [], ticks: [], trouble: 0 });
    const lane = lanes.get(key);
    lane.bars.push(bar);
    laneOf.set(e.id, lane);
  }
  for (const event of events) {
    const lane = laneOf.get(event.container);
    const kind = event.kind || tickOf(event);
    const x = shareOf(event.ms, shown);
    if (!lane || kind === "" || x === null) continue;
    lane.ticks.push({ x, kind, event });
    if (kind === "oom" || kind === "exit" || kind === "degraded") lane.trouble++;
  }
  return [...lanes.values()].sort(troubleFirst);
}

const troubleFirst = (a, b) => Number(b.trouble > 0) - Number(a.trouble > 0) || a.label.localeCompare(b.label);

function laneKey(e, by) {
  if (by === "service") return `${e.project}/${e.service || e.name || e.id}`;
  return `${e.project}/${e.name || e.id}`;
}

const laneLabel = (e, by) => (by === "service" && e.service ? e.service : e.name || e.id.slice(0, 12));

// barOf is the life of one incarnation cut to the window, or null outside it.
// The part after it became degraded has a colour of its own.
function barOf(e, shown) {
  const width = shown.to - shown.from;
  const from = e.start === null ? shown.from : e.start;
  const to = e.stop === null ? (e.state === "ended" && e.lastSeen ? e.lastSeen : shown.to) : e.stop;
  if (to < shown.from || from > shown.to) return null;
  const since = e.degraded ? e.degraded.since : null;
  return {
    id: e.id,
    entity: e,
    x0: clamp((from - shown.from) / width),
    x1: clamp((to - shown.from) / width),
    broken: since === null ? null : clamp((since - shown.from) / width),
    state: e.oomKilled && e.state === "ended" ? "oom" : e.state === "ended" && e.exitCode ? "exit" : e.state,
  };
}

// hit finds what lies below the pointer: a tick within reach of x, else the bar.
export function hit(lane, x, reach) {
  let best = null;
  for (const tick of lane.ticks) {
    const away = Math.abs(tick.x - x);
    if (away <= reach && (!best || away < Math.abs(best.x - x))) best = tick;
  }
  if (best) return { tick: best };
  const bar = lane.bars.find((b) => x >= b.x0 - reach && x <= b.x1 + reach);
  return bar ? { bar } : null;
}

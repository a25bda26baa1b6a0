// Arithmetic of the one time bar of all pages. A time state is
//
//   { span, edge, at }
//
// span: seconds that the bar and every plot show; edge: the moment at its right
// end in milliseconds, null while it follows now; at: the moment of the cursor,
// null while it sits at the right end. Live is edge and at both null. Functions
// return new states. limits: { now, from, to }: now is the clock of the server
// in milliseconds, from and to bound a capture and are null otherwise.

export const RANGES = [
  { label: "5m", seconds: 300 },
  { label: "15m", seconds: 900 },
  { label: "1h", seconds: 3600 },
  { label: "6h", seconds: 21600 },
  { label: "24h", seconds: 86400 },
  { label: "7d", seconds: 604800 },
];

// MIN_SPAN is the smallest zoom: ten samples at one per second.
export const MIN_SPAN = 10;

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];

export const start = (span = 300) => ({ span, edge: null, at: null });

export const isLive = (t) => t.edge === null && t.at === null;

// latest is the last moment there is.
export const latest = (limits) => (limits.to === null || limits.to === undefined ? limits.now : limits.to);

// windowOf is what the plots show: { from, to } in milliseconds.
export function windowOf(t, limits) {
  const to = t.edge === null ? latest(limits) : t.edge;
  return { from: to - t.span * 1000, to };
}

// cursorOf is the moment that the tables show.
export function cursorOf(t, limits) {
  return t.at === null ? windowOf(t, limits).to : t.at;
}

export function withSpan(t, span, limits) {
  const next = { ...t, span: Math.max(MIN_SPAN, span) };
  return t.at === null ? next : moveTo(next, t.at, limits);
}

// stepOf is what one press of [ or ] moves: a round number near a sixtieth of
// the span, so that the bar takes about sixty presses.
export function stepOf(span) {
  const want = span / 60;
  return STEPS.find((s) => s >= want) || STEPS[STEPS.length - 1];
}

export function stepBy(t, count, limits) {
  return moveTo(t, cursorOf(t, limits) + count * stepOf(t.span) * 1000, limits);
}

// moveTo sets the cursor and slides the window only if the moment lies outside.
// At or after the last moment it is live again.
export function moveTo(t, ms, limits) {
  const end = latest(limits);
  if (ms >= end) return live(t);
  const first = limits.from === null || limits.from === undefined ? 0 : limits.from;
  const at = Math.max(first, Math.round(ms));
  const shown = windowOf(t, limits);
  if (at >= shown.from && at <= shown.to) return { ...t, at, edge: shown.to >= end ? freeze(t, end) : shown.to };
  const edge = Math.min(end, at + t.span * 500);
  return { ...t, at, edge: Math.round(edge) };
}

// freeze: the bar stands still while the cursor is away from its end.
const freeze = (t, end) => (t.edge === null ? end : t.edge);

export const live = (t) => ({ ...t, edge: null, at: null });

// zoom shows exactly one stretch, as after a brush.
export function zoom(t, from, to, limits) {
  const [a, b] = from <= to ? [from, to] : [to, from];
  const span = Math.max(MIN_SPAN, Math.round((b - a) / 1000));
  const end = latest(limits);
  const edge = Math.round(Math.min(end, Math.max(b, a + span * 1000)));
  const inside = t.at !== null && t.at >= edge - span * 1000 && t.at <= edge;
  return { span, edge: edge >= end && !limits.to ? null : edge, at: inside ? t.at : null };
}

// shareOf is the place of a moment in a window, 0 to 1, or null outside it.
export function shareOf(ms, shown) {
  const share = (ms - shown.from) / (shown.to - shown.from);
  return share >= 0 && share <= 1 ? share : null;
}

export const momentAt = (share, shown) => shown.from + Math.min(1, Math.max(0, share)) * (shown.to - shown.from);

// resolution is the step of a query in seconds: about one point per two pixels
// and never below the second of the samples.
export function resolution(span, points) {
  const want = span / Math.max(1, points);
  return STEPS.find((s) => s >= want) || STEPS[STEPS.length - 1];
}

const AGO_UNITS = { s: 1, m: 60, min: 60, h: 3600, d: 86400 };

// parseMoment reads what a person types after t: "now", "10:31", "10:31:07",
// "-5m", "5m ago", "2026-11-22 10:31", an RFC 3339 time or Unix seconds. It
// returns milliseconds, or null if it cannot tell. A time of day is the last
// one before now.
export function parseMoment(text, nowMs) {
  const s = text.trim().toLowerCase();
  if (s === "") return null;
  if (s === "now") return nowMs;
  const back = /^-?\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)(?:\s*ago)?$/.exec(s);
  if (back) return nowMs - Number(back[1]) * AGO_UNITS[back[2]] * 1000;
  if (/^\d{9,11}(\.\d+)?$/.test(s)) return Number(s) * 1000;
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(s);
  if (clock) return timeOfDay(clock, nowMs);
  return parseDate(text.trim());
}

function timeOfDay(m, nowMs) {
  const [h, min, sec] = [Number(m[1]), Number(m[2]), Number(m[3] || 0)];
  if (h > 23 || min > 59 || sec > 59) return null;
  const d = new Date(nowMs);
  d.setHours(h, min, sec, 0);
  if (d.getTime() > nowMs) d.setDate(d.getDate() - 1);
  return d.getTime();
}

function parseDate(text) {
  const m = /^\d{4}-\d{2}-\d{2}([ tT]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([zZ]|[+-]\d{2}:?\d{2})?)?$/.exec(text);
  if (!m) return null;
  // A date alone is midnight of the reader, not of Greenwich.
  const ms = Date.parse(m[1] ? text.replace(" ", "T") : `${text}T00:00`);
  return Number.isNaN(ms) ? null : ms;
}

// fromParams and toParams carry the state in the address, so that a link shows
// the same stretch to somebody else.
export function fromParams(params, fallback) {
  const number = (key) => {
    const v = params.get(key);
    return v !== null && v !== "" && Number.isFinite(Number(v)) ? Number(v) : null;
  };
  const span = number("span");
  return {
    span: span === null ? fallback.span : Math.max(MIN_SPAN, span),
    edge: number("edge"),
    at: number("at"),
  };
}

export function toParams(t) {
  const params = { span: String(t.span) };
  if (t.edge !== null) params.edge = String(t.edge);
  if (t.at !== null) params.at = String(t.at);
  return params;
}

// gridOf are the moments of the labels below the bar and the lanes: round ones,
// at most count of them.
export function gridOf(shown, count) {
  const span = (shown.to - shown.from) / 1000;
  const step = (STEPS.find((s) => span / s <= count) || STEPS[STEPS.length - 1]) * 1000;
  // Whole hours and days are those of the reader.
  const shift = new Date(shown.from).getTimezoneOffset() * 60000;
  const marks = [];
  for (let ms = Math.ceil((shown.from - shift) / step) * step + shift; ms <= shown.to; ms += step) marks.push(ms);
  return marks;
}

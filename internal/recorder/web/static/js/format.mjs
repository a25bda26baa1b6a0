// Numbers, sizes, durations and moments as people read them. Every function
// takes what the API gives (SI base units, milliseconds for moments) and
// returns a string; what is not known reads as a dash.

export const NONE = "–";

const known = (v) => typeof v === "number" && Number.isFinite(v);

// digits keeps about three significant digits: 0.42, 4.2, 42, 420.
function digits(v) {
  const a = Math.abs(v);
  if (a === 0) return "0";
  if (a < 1) return trimZeros(v.toFixed(2));
  if (a < 10) return trimZeros(v.toFixed(1));
  return v.toFixed(0);
}

function trimZeros(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// scaled divides by the base until the number has at most three digits before
// the point. 999.5 would round to 1000, hence the limit below the base.
function scaled(v, base, units) {
  let i = 0;
  let n = v;
  while (Math.abs(n) >= base - 0.5 && i < units.length - 1) {
    n /= base;
    i++;
  }
  return [digits(n), units[i]];
}

// bytes: 536870912 -> "512 MiB".
export function bytes(v) {
  if (!known(v)) return NONE;
  const [n, unit] = scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  return `${n} ${unit}`;
}

// bytesShort: 536870912 -> "512M", for narrow columns.
export function bytesShort(v) {
  if (!known(v)) return NONE;
  const [n, unit] = scaled(v, 1024, ["", "K", "M", "G", "T", "P"]);
  return n + unit;
}

// byteRate: bytes per second.
export function byteRate(v) {
  return known(v) ? `${bytes(v)}/s` : NONE;
}

// count: 12000 -> "12k".
export function count(v) {
  if (!known(v)) return NONE;
  const [n, unit] = scaled(v, 1000, ["", "k", "M", "G", "T"]);
  return n + unit;
}

// percent: 0.415 -> "42 %". Small shares keep a digit, because 0.3 % of a core
// is something else than nothing.
export function percent(ratio) {
  if (!known(ratio)) return NONE;
  const v = ratio * 100;
  if (v !== 0 && Math.abs(v) < 0.05) return "<0.1 %";
  return `${Math.abs(v) < 9.95 ? trimZeros(v.toFixed(1)) : v.toFixed(0)} %`;
}

// cores: CPU in use as a share of one core, without the sign: 0.41 -> "41".
export function cores(v) {
  if (!known(v)) return NONE;
  const p = v * 100;
  return p < 9.95 ? trimZeros(p.toFixed(1)) : p.toFixed(0);
}

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

// duration of seconds in at most two units: 93784 -> "1 d 2 h".
export function duration(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 1) return seconds === 0 ? "0 s" : `${Math.max(1, Math.round(seconds * 1000))} ms`;
  let rest = Math.floor(seconds);
  const parts = [];
  for (const [size, name] of UNITS) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) parts.push(`${n} ${name}`);
    else if (parts.length === 1) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

// short is the same without spaces, for narrow columns: 93784 -> "1d 2h".
export function short(seconds) {
  return duration(seconds).replace(/(\d+) (d|h|min|s|ms)\b/g, (_, n, unit) => n + (unit === "min" ? "m" : unit));
}

// seconds of a measured time: 0.0123 -> "12 ms", 0.00002 -> "20 µs".
export function seconds(v) {
  if (!known(v)) return NONE;
  const a = Math.abs(v);
  if (a === 0) return "0 s";
  if (a < 1e-3) return `${digits(v * 1e6)} µs`;
  if (a < 1) return `${digits(v * 1e3)} ms`;
  return a < 60 ? `${digits(v)} s` : duration(v);
}

const two = (n) => String(n).padStart(2, "0");

// clock: hours, minutes and seconds of a moment, in the zone of the reader.
export function clock(ms) {
  if (!known(ms)) return NONE;
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

// date: 2026-11-22.
export function date(ms) {
  if (!known(ms)) return NONE;
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

// moment: the clock alone within the day of now, else with the date.
export function moment(ms, nowMs) {
  if (!known(ms)) return NONE;
  return known(nowMs) && date(ms) === date(nowMs) ? clock(ms) : `${date(ms)} ${clock(ms)}`;
}

// stamp is the moment without doubt about the zone, for tool tips.
export function stamp(ms) {
  return known(ms) ? new Date(ms).toISOString() : NONE;
}

// ago: how long before now.
export function ago(ms, nowMs) {
  if (!known(ms) || !known(nowMs)) return NONE;
  const s = (nowMs - ms) / 1000;
  if (s < 0) return `in ${duration(-s)}`;
  return s < 2 ? "now" : `${duration(s)} ago`;
}

// shortID is how engines print ids.
export function shortID(id) {
  return id ? id.slice(0, 12) : NONE;
}

// plural: 1 -> "1 sample", 2 -> "2 samples".
export function plural(n, one, many) {
  return `${known(n) ? n : 0} ${n === 1 ? one : many || `${one}s`}`;
}

// newestOf says that a list was cut: "The newest 5,000 of the events in this window."
export function newestOf(n, what) {
  return `The newest ${String(n).replace(/\B(?=(\d{3})+$)/g, ",")} of the ${what}.`;
}

// axis picks how the numbers of a plot read, by the unit of the panel.
export function axis(unit) {
  switch (unit) {
    case "bytes":
      return bytesShort;
    case "bytes/s":
      return bytesShort;
    case "ratio":
      return percent;
    case "cpu":
      return (v) => `${cores(v)} %`;
    case "seconds":
      return seconds;
    default:
      return count;
  }
}

// quantity is how one value reads in full, by the unit of the panel.
export function quantity(unit) {
  switch (unit) {
    case "bytes":
      return bytes;
    case "bytes/s":
      return byteRate;
    default:
      return axis(unit);
  }
}

// Shaping of samples for drawing: fewer points without losing peaks, one time
// axis for many series, the outline of a sparkline.

// downsample keeps the lowest and the highest value of each bucket, in the
// order in which they came, so that a peak of one second survives. xs are
// numbers in rising order, ys numbers or null; the result has at most
// 2 x buckets points. A bucket without any number stays as one gap.
export function downsample(xs, ys, buckets) {
  if (xs.length <= buckets * 2) return [xs, ys];
  const outX = [];
  const outY = [];
  const size = xs.length / buckets;
  for (let b = 0; b < buckets; b++) {
    const first = Math.floor(b * size);
    const end = Math.floor((b + 1) * size);
    let low = -1;
    let high = -1;
    for (let i = first; i < end; i++) {
      if (ys[i] === null || Number.isNaN(ys[i])) continue;
      if (low < 0 || ys[i] < ys[low]) low = i;
      if (high < 0 || ys[i] > ys[high]) high = i;
    }
    if (low < 0) {
      outX.push(xs[first]);
      outY.push(null);
      continue;
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      outX.push(xs[i]);
      outY.push(ys[i]);
    }
  }
  return [outX, outY];
}

// number reads a sample value as Prometheus writes it. What cannot be drawn
// (NaN, infinite) is a gap.
export function number(text) {
  const v = text === "+Inf" ? Infinity : Number(text);
  return Number.isFinite(v) ? v : null;
}

// gridAlign puts the answers of range queries, which share their step, on one
// axis: [xs, ys1, ys2, ...] as uPlot wants it. Missing points are null.
export function gridAlign(window, lists) {
  const steps = Math.max(0, Math.floor((window.to - window.from) / window.step + 1e-6));
  const xs = Array.from({ length: steps + 1 }, (_, i) => window.from + i * window.step);
  const columns = lists.map((values) => {
    const ys = new Array(xs.length).fill(null);
    for (const [t, v] of values) {
      const i = Math.round((t - window.from) / window.step);
      if (i >= 0 && i < ys.length) ys[i] = number(v);
    }
    return ys;
  });
  return [xs, ...columns];
}

// lastIndex is the place of the last number that is not above x, or 0.
export function lastIndex(xs, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (xs[mid] <= x) low = mid + 1;
    else high = mid;
  }
  return Math.max(0, low - 1);
}

// Ring is the history of one value: the newest at the end, a fixed number.
export class Ring {
  constructor(size) {
    this.values = new Float64Array(size).fill(NaN);
    this.next = 0;
    this.length = 0;
  }

  push(v) {
    this.values[this.next] = v === null || v === undefined ? NaN : v;
    this.next = (this.next + 1) % this.values.length;
    this.length = Math.min(this.length + 1, this.values.length);
  }

  // at counts from the oldest that is kept.
  at(i) {
    const start = this.next - this.length + this.values.length;
    return this.values[(start + i) % this.values.length];
  }
}

// outline are the points of a sparkline in a box of width x height: y of each
// slot or NaN for a gap. The newest value is at the right edge. The scale ends
// at top, or at the highest value if that is more.
export function outline(ring, box, top) {
  const slots = ring.values.length;
  let peak = top > 0 ? top : 0;
  for (let i = 0; i < ring.length; i++) {
    const v = ring.at(i);
    if (v > peak) peak = v;
  }
  const points = [];
  const skip = slots - ring.length;
  for (let i = 0; i < ring.length; i++) {
    const v = ring.at(i);
    const x = ((skip + i) / Math.max(1, slots - 1)) * box.width;
    points.push([x, peak > 0 ? box.height - (v / peak) * box.height : v === v ? box.height : NaN]);
  }
  return points;
}

// movers names the containers whose CPU or memory has changed most between two
// snapshots: { id, what, from, to }, biggest first. A change counts against
// what the host could feel: a tenth of a core and 16 MiB are one unit each.
export function movers(before, after, count) {
  const found = [];
  for (const [id, now] of after) {
    const was = before.get(id);
    if (!was) continue;
    push(found, { id, what: "cpu", from: was.cpu, to: now.cpu }, 0.1);
    push(found, { id, what: "memory", from: was.mem, to: now.mem }, 16 * 1024 * 1024);
  }
  found.sort((a, b) => b.weight - a.weight);
  return found.slice(0, count);
}

function push(found, move, unit) {
  if (typeof move.from !== "number" || typeof move.to !== "number") return;
  const weight = Math.abs(move.to - move.from) / unit;
  if (weight >= 1) found.push({ ...move, weight });
}

// Shaping of the plots of report.html.

// common puts lines of { points: [{ t, v }] } on one time axis: [seconds,
// ...values], cut to { from, to } in milliseconds if that is given. A moment
// that a line has no point for is null.
export function common(lines, window) {
  const inside = (t) => !window || (t >= window.from && t <= window.to);
  const times = new Set();
  for (const line of lines) for (const p of line.points) if (inside(p.t)) times.add(p.t);
  const xs = [...times].sort((a, b) => a - b);
  const place = new Map(xs.map((t, i) => [t, i]));
  const columns = lines.map((line) => {
    const ys = new Array(xs.length).fill(null);
    for (const p of line.points) if (place.has(p.t)) ys[place.get(p.t)] = p.v;
    return ys;
  });
  return [xs.map((t) => t / 1000), ...columns];
}

// unitOf names how a UCUM unit is written.
export function unitOf(unit) {
  return { By: "bytes", "By/s": "bytes/s", s: "seconds", 1: "ratio", "{cpu}": "cpu" }[unit] || "";
}

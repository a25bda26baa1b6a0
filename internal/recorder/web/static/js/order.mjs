// Sorting and grouping of the rows of the Containers table.

// SORTS: key -> value to compare; text sorts up, numbers down.
export const SORTS = {
  name: (r) => r.name || r.id,
  project: (r) => r.project,
  up: (r) => (r.start === null ? 0 : r.start),
  cpu: (r) => r.cpu,
  mem: (r) => r.mem,
  throttled: (r) => r.throttled,
  psi: (r) => Math.max(r.psiCpu || 0, r.psiMem || 0, r.psiIo || 0),
  io: (r) => (r.ioRead || 0) + (r.ioWrite || 0),
  net: (r) => (r.netRx || 0) + (r.netTx || 0),
  conns: (r) => r.conns,
  pids: (r) => r.pids,
  event: (r) => (r.lastEvent ? r.lastEvent.ms : null),
};

export const GROUPS = ["", "project", "image", "service"];

const RANK = { broken: 0, running: 1, ended: 2 };

// compare puts rows without a value last, whatever the direction, and keeps
// equal rows in the order of name and id so that they do not dance.
export function compare(sort, down) {
  const value = SORTS[sort] || SORTS.name;
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    const missing = Number(empty(x)) - Number(empty(y));
    if (missing !== 0) return missing;
    const by = empty(x) ? 0 : typeof x === "string" ? x.localeCompare(y) : x - y;
    if (by !== 0) return down ? -by : by;
    return a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);
  };
}

const empty = (v) => v === null || v === undefined || v === "" || Number.isNaN(v);

// arrange returns the list that the table shows: rows, and with a group also
// headers { header, count }. Whatever the sorting, broken rows come first and
// dead ones last within their group.
export function arrange(rows, { sort, down, group }) {
  const by = compare(sort, down);
  const sorted = [...rows].sort((a, b) => RANK[a.state] - RANK[b.state] || by(a, b));
  if (!group) return sorted;
  const groups = new Map();
  for (const row of sorted) {
    const key = row[group] || "";
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const keys = [...groups.keys()].sort((a, b) => Number(a === "") - Number(b === "") || a.localeCompare(b));
  return keys.flatMap((key) => [{ header: key || `no ${group}`, count: groups.get(key).length }, ...groups.get(key)]);
}

// counts of the chips.
export function counts(rows) {
  const n = { running: 0, ended: 0, broken: 0 };
  for (const row of rows) n[row.state] = (n[row.state] || 0) + 1;
  return n;
}

// The process tree of a capture: parents before children, with depth. A process
// whose parent is not in the list is a root; a loop, which a reused pid can
// make, is cut.

export function build(processes) {
  const byPid = new Map(processes.map((p) => [p.pid, p]));
  const children = new Map();
  const roots = [];
  for (const p of processes) {
    if (p.ppid !== p.pid && byPid.has(p.ppid)) {
      if (!children.has(p.ppid)) children.set(p.ppid, []);
      children.get(p.ppid).push(p);
    } else roots.push(p);
  }
  const rows = [];
  const seen = new Set();
  const walk = (p, depth) => {
    if (seen.has(p.pid)) return;
    seen.add(p.pid);
    rows.push({ process: p, depth });
    for (const child of (children.get(p.pid) || []).sort((a, b) => a.pid - b.pid)) walk(child, depth + 1);
  };
  for (const p of roots.sort((a, b) => a.pid - b.pid)) walk(p, 0);
  for (const p of processes) walk(p, 0);
  return rows;
}

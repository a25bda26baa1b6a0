// What a reader has to know first: containers in trouble, worst first, each with
// one sentence.

import { moment, percent } from "./format.mjs";

// From these shares on a container that runs is in trouble: less than a tenth of
// its memory is left; a quarter of its time it may not run; for a fifth of the
// time something in it waits for memory.
const MEMORY = 0.9;
const THROTTLED = 0.25;
const STALLED = 0.2;

// attention reads the rows of the Containers page into { id, name, tone, text,
// rank, ms }. tone is bad or warn.
export function attention(rows, nowMs) {
  const alive = new Set(rows.filter((r) => r.state !== "ended").map((r) => `${r.project}/${r.name}`));
  const found = rows.map((r) => trouble(r, nowMs, alive)).filter((t) => t !== null);
  return found.sort(worstFirst);
}

const worstFirst = (a, b) => a.rank - b.rank || b.ms - a.ms || a.name.localeCompare(b.name);

function trouble(r, nowMs, alive) {
  const at = (rank, tone, ms, text) => ({ id: r.id, name: r.name || r.id.slice(0, 12), rank, tone, ms: ms || 0, text });
  if (r.state === "broken") return at(0, "bad", r.degraded && r.degraded.since, broken(r, nowMs));
  if (r.state === "ended") return ended(r, nowMs, { at, isBack: alive.has(`${r.project}/${r.name}`) });
  if (r.memRatio >= MEMORY) return at(2, "bad", 0, `Memory at ${percent(r.memRatio)} of its limit`);
  if (r.psiMem >= STALLED) return at(3, "warn", 0, `Waits for memory ${percent(r.psiMem)} of the time`);
  if (r.throttled >= THROTTLED) return at(3, "warn", 0, `Throttled in ${percent(r.throttled)} of the periods`);
  return null;
}

const REASONS = { oom: "out of memory", crash: "it keeps dying", gave_up: "it gave up" };

function broken(r, nowMs) {
  const d = r.degraded;
  if (!d) return "Runs, but not whole";
  const since = d.since ? `, since ${moment(d.since, nowMs)}` : "";
  return `Runs without ${d.process || "a process"}: ${REASONS[d.reason] || d.reason}${since}`;
}

function ended(r, nowMs, { at, isBack }) {
  const when = r.stop === null ? "" : ` at ${moment(r.stop, nowMs)}`;
  const back = isBack ? ", and is back" : "";
  if (r.oomKilled) return at(isBack ? 4 : 1, isBack ? "warn" : "bad", r.stop, `Out of memory, ended${when}${back}`);
  if (r.exitCode) return at(isBack ? 4 : 2, "warn", r.stop, `Exit code ${r.exitCode}${when}${back}`);
  return null;
}

const LASTS = 30000; // milliseconds that a trouble stays after it was last seen

// Lasting keeps troubles in sight that come and go with every second, so that what
// stands below them does not jump.
export class Lasting {
  constructor() {
    this.seen = new Map(); // id -> { trouble, until }
  }

  // list returns what there is now and what was within LASTS. ids are the rows that
  // there are: others take their trouble with them. Moving to another moment of the
  // past forgets.
  list(rows, nowMs) {
    const found = attention(rows, nowMs);
    const ids = new Set(rows.map((r) => r.id));
    for (const [id, kept] of this.seen) if (!ids.has(id) || nowMs > kept.until || nowMs < kept.until - LASTS) this.seen.delete(id);
    for (const trouble of found) this.seen.set(trouble.id, { trouble, until: nowMs + LASTS });
    return [...this.seen.values()].map((kept) => kept.trouble).sort(worstFirst);
  }
}

// The one place that knows the JSON of the API. Moments become milliseconds,
// what is absent becomes null, and the values of a live row get the names that
// table and filter use.

import { Ring } from "./series.mjs";

// HISTORY is how many seconds a sparkline shows; the server keeps as many.
export const HISTORY = 120;

const ms = (t) => (typeof t === "number" ? t * 1000 : null);
const or = (v, fallback) => (v === undefined || v === null ? fallback : v);

// entity reads one container incarnation.
export function entity(e) {
  return {
    id: e.id,
    name: or(e.name, ""),
    image: or(e.image, ""),
    service: or(e.service, ""),
    project: or(e.project, ""),
    state: or(e.state, "running"),
    start: ms(e.start),
    stop: ms(e.stop),
    lastSeen: ms(e.lastSeen),
    exitCode: or(e.exitCode, null),
    oomKilled: Boolean(e.oomKilled),
    degraded: e.degraded ? { ...e.degraded, since: ms(e.degraded.since) } : null,
    restarts: or(e.restarts, 0),
    incarnation: or(e.incarnation, 1),
    lastEvent: e.lastEvent ? { ms: ms(e.lastEvent.t), name: or(e.lastEvent.name, ""), body: or(e.lastEvent.body, "") } : null,
    tags: or(e.tags, {}),
    incarnations: or(e.incarnations, []).map((i) => ({ ...i, start: ms(i.start), stop: ms(i.stop) })),
  };
}

export function event(e) {
  return {
    ms: ms(e.t),
    name: or(e.name, ""),
    container: or(e.container, ""),
    severity: or(e.severity, ""),
    body: or(e.body, ""),
    attributes: or(e.attributes, {}),
  };
}

// joined puts lists of events into one, in the order of time. What the stream brings
// may be in an answer as well: it is there once.
export function joined(...lists) {
  const byWords = new Map();
  for (const e of lists.flat()) byWords.set(`${e.ms} ${e.name} ${e.container} ${e.body}`, e);
  return [...byWords.values()].sort((a, b) => a.ms - b.ms);
}

export function capture(c) {
  return {
    id: c.id,
    state: or(c.state, "ready"),
    reason: or(c.reason, ""),
    verdict: or(c.verdict, ""),
    created: ms(c.created),
    from: ms(c.from),
    to: ms(c.to),
    bytes: or(c.bytes, null),
    pinned: Boolean(c.pinned),
    containers: or(c.containers, []),
    error: or(c.error, ""),
    triggers: or(c.triggers, []).map((t) => ({ ...t, ms: ms(t.t) })),
  };
}

export function status(s) {
  return {
    mode: or(s.mode, "live"),
    host: or(s.host, ""),
    version: or(s.version, ""),
    now: ms(s.now),
    oldest: ms(s.oldest),
    readOnly: Boolean(s.readOnly),
    health: or(s.health, "ok"),
    messages: or(s.messages, []),
    capture: s.capture ? capture(s.capture) : null,
  };
}

// FIELDS maps the columns of /api/live to the fields of a row.
const FIELDS = {
  cpu: "cpu",
  cpu_limit: "cpuLimit",
  memory: "mem",
  memory_limit: "memLimit",
  memory_utilization: "memRatio",
  throttled: "throttled",
  psi_cpu: "psiCpu",
  psi_memory: "psiMem",
  psi_io: "psiIo",
  io_read: "ioRead",
  io_write: "ioWrite",
  net_rx: "netRx",
  net_tx: "netTx",
  pids: "pids",
  connections: "conns",
  connections_failed: "connsFailed",
};

// HOST is the id of the row that is about the host and no container.
export const HOST = "";

// Live holds the newest values of every container and their last two minutes.
// It is fed with the messages of /api/live and changes in place: 200 rows a
// second must not leave garbage behind.
export class Live {
  constructor() {
    this.t = null; // clock of the server in milliseconds
    this.columns = [];
    this.rows = new Map(); // id -> { values, history: { cpu, mem }, seen }
  }

  hello(m) {
    this.columns = m.columns.map((c) => FIELDS[c.name] || null);
    this.rows.clear();
    this.t = m.t * 1000;
    for (const r of m.rows) {
      const row = this.row(r.id);
      this.put(row, r.v);
      for (const [i, field] of this.columns.entries()) {
        const ring = row.history[field];
        if (ring && r.h && r.h[i]) for (const v of r.h[i]) ring.push(v);
      }
    }
  }

  // tick applies one second of data.
  tick(m) {
    this.t = m.t * 1000;
    for (const r of m.rows) this.put(this.row(r.id), r.v);
    for (const id of m.gone || []) this.rows.delete(id);
    for (const row of this.rows.values()) {
      // A container without a new value keeps its line moving with the old one.
      row.history.cpu.push(row.values.cpu);
      row.history.mem.push(row.values.mem);
    }
  }

  row(id) {
    let row = this.rows.get(id);
    if (!row) {
      row = { values: {}, history: { cpu: new Ring(HISTORY), mem: new Ring(HISTORY) }, seen: this.t };
      this.rows.set(id, row);
    }
    return row;
  }

  put(row, v) {
    row.seen = this.t;
    for (let i = 0; i < this.columns.length; i++) {
      const field = this.columns[i];
      if (field) row.values[field] = v[i] === undefined ? null : v[i];
    }
  }
}

// vectorByContainer reads an instant answer into id -> value.
export function vectorByContainer(data) {
  const found = new Map();
  for (const r of data.result || []) {
    const v = r.value ? Number(r.value[1]) : NaN;
    if (r.metric.container_id && Number.isFinite(v)) found.set(r.metric.container_id, v);
  }
  return found;
}

// merge joins an entity with its values; the values win nothing over the state.
export function merge(e, values) {
  const row = { ...e, ...(values || {}) };
  if (typeof row.memRatio !== "number" && row.mem >= 0 && row.memLimit > 0) row.memRatio = row.mem / row.memLimit;
  return row;
}

// inWindow tells whether a container lived within the window.
export function inWindow(e, shown) {
  return (e.start === null || e.start <= shown.to) && (e.stop === null || e.stop >= shown.from);
}

// stateAt is the state that a container had at a moment of the past.
export function stateAt(e, moment) {
  if (e.stop !== null && e.stop <= moment) return "ended";
  if (e.degraded && e.degraded.since !== null && e.degraded.since <= moment) return "broken";
  if (e.degraded || e.stop !== null) return "running";
  return e.state;
}

// Containers: the first page. Live it shows the newest second, at a moment of
// the past the values of that moment; what has ended stays, in grey.

import { Lasting } from "../attention.mjs";
import * as filters from "../filter.mjs";
import { byteRate, bytes, cores, percent } from "../format.mjs";
import { LiveTable } from "../livetable.mjs";
import { GROUPS, counts } from "../order.mjs";
import { Cut } from "../panel.mjs";
import { COLUMNS, lastValue } from "../promql.mjs";
import { Ring, movers, number } from "../series.mjs";
import { Steady } from "../steady.mjs";
import { recall, remember, useStore } from "../store.mjs";
import { moverText } from "../story.mjs";
import * as timebar from "../timebar.mjs";
import { html, useEffect, useMemo, useRef, useState } from "../view.mjs";
import * as wire from "../wire.mjs";
import { useAsk } from "../ask.mjs";

const MOVERS_OVER = 300; // seconds; as the heading says
const MOST_TROUBLES = 4; // one line of a wide screen; the table shows all

export function Containers({ session }) {
  const [text, setText] = useState(session.store.get("route").params.get("q") || "");
  const [order, setOrder] = useState({ sort: recall("sort", "cpu"), down: recall("down", "yes") === "yes", group: recall("group", "") });
  const filter = useMemo(() => filters.parse(text), [text]);
  const [seen, setSeen] = useState({ total: 0, shown: 0, states: { running: 0, ended: 0, broken: 0 }, host: [], pressure: "", troubles: [] });
  const search = (value) => {
    setText(value);
    session.writeAddress({ q: value || null });
  };
  const sort = (key) => {
    const down = order.sort === key ? !order.down : !["name", "project"].includes(key);
    remember("sort", key);
    remember("down", down ? "yes" : "no");
    setOrder({ ...order, sort: key, down });
  };
  const group = (key) => {
    remember("group", key);
    setOrder({ ...order, group: key });
  };
  return html`<section class="page containers">
    <div class="tools">
      <div class="chips" role="group" aria-label="State">${["running", "ended", "broken"].map((state) => chip(state, seen.states, filter, () => search(filters.withState(text, filters.stateOf(filter) === state ? "" : state))))}</div>
      <label class="search"><span class="sr">Filter</span><input data-search type="search" spellcheck=${false} value=${text} onInput=${(e) => search(e.target.value)} placeholder="filter: redis state:dead cpu>50" aria-describedby="filter-problem" /></label>
      <label class="group">Group <select data-group value=${order.group} onChange=${(e) => group(e.target.value)}>${GROUPS.map((g) => html`<option key=${g} value=${g}>${g || "none"}</option>`)}</select></label>
      <dl class="totals" data-totals>${seen.host.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
    </div>
    <p id="filter-problem" class="hint" role="status">${filter.problems.join(" ")}</p>
    <${Cut} session=${session} />
    <${Troubles} session=${session} troubles=${seen.troubles} total=${seen.total} />
    <p class="movers">${seen.pressure}<${Movers} session=${session} /></p>
    <${Table} session=${session} filter=${filter} order=${order} onSort=${sort} onSeen=${setSeen} seen=${seen} />
  </section>`;
}

function chip(state, states, filter, toggle) {
  const n = states[state] || 0;
  return html`<button key=${state} type="button" class=${`chip is-${state}`} data-chip=${state} data-count=${n} aria-pressed=${filters.stateOf(filter) === state} onClick=${toggle}><i class="dot"></i>${state} <b>${n}</b></button>`;
}

// Troubles stand above the table: what a reader at night has to know first.
function Troubles({ session, troubles, total }) {
  if (troubles.length === 0) return total > 0 ? html`<p class="calm" data-calm>Nothing needs attention in this window.</p>` : null;
  const shown = troubles.slice(0, MOST_TROUBLES);
  const more = troubles.length - shown.length;
  return html`<ul class="attention" aria-label="Needs attention">
    ${shown.map((t, i) => html`<li key=${t.id} class=${`is-${t.tone}`}><a data-trouble=${t.id} href=${session.link("container", t.id)}><b>${t.name}</b><span title=${t.text}>${t.text}${i === shown.length - 1 && more > 0 ? ` (and ${more} more)` : ""}</span></a></li>`)}
  </ul>`;
}

// Table binds the LiveTable to the frame. Per frame it builds the list of rows
// and lets the table write what differs.
function Table({ session, filter, order, onSort, onSeen, seen }) {
  const host = useRef(null);
  const table = useRef(null);
  const latest = useRef({});
  const past = usePast(session);
  const dead = useDead(session);
  const isLost = useStore(session.store, (s) => s.lost !== null);
  latest.current = { filter, order, past, dead, onSeen, onSort, seen };

  useEffect(() => {
    const [steady, lasting] = [new Steady(), new Lasting()];
    table.current = new LiveTable(host.current, {
      sort: (key) => latest.current.onSort(key),
      link: (row) => session.link("container", row.id),
      repaint: () => session.frame.request(),
    });
    const paint = () => show(session, { table: table.current, steady, lasting }, latest.current);
    const off = session.frame.on(paint);
    const unsubscribe = session.store.subscribe(() => session.frame.request());
    session.frame.request();
    return () => {
      off();
      unsubscribe();
      table.current.close();
    };
  }, []);
  useEffect(() => {
    table.current.showSort(order.sort, order.down);
    session.frame.request();
  }, [filter, order, past, dead]);

  return html`<div class=${`table${isLost ? " is-stale" : ""}`} role="table" aria-label="Containers" data-table="containers" data-total=${seen.total} data-shown=${seen.shown} data-moment=${past.tick || "live"} ref=${host}></div>`;
}

function show(session, { table, steady, lasting }, { filter, order, past, dead, onSeen, seen }) {
  const rows = rowsOf(session, past, dead);
  const kept = rows.filter((row) => filters.matches(filter, row));
  const cursor = session.cursor();
  const key = JSON.stringify([order, filter.terms, counts(kept), timebar.isLive(session.store.get("time")), past.tick, dead.size]);
  table.set(steady.list(kept, order, { key, now: performance.now(), isHeld: table.isHeld }));
  table.paint(cursor);
  const troubles = lasting.list(rows, cursor).map(({ id, name, tone, text }) => ({ id, name, tone, text }));
  const next = { total: rows.length, shown: kept.length, states: counts(rows), host: totals(kept, rows.length), pressure: pressureText(session), troubles };
  if (JSON.stringify(next) !== JSON.stringify(seen)) onSeen(next);
}

// rowsOf joins the entity table with values: of this second, or of the moment
// at the cursor.
function rowsOf(session, past, dead) {
  const shown = session.window();
  const isNow = timebar.isLive(session.store.get("time")) && !session.isCapture();
  const cursor = session.cursor();
  const before = isNow ? null : lastEvents(session.store.get("events"), cursor);
  const rows = [];
  const known = session.store.get("entities");
  for (const e of known.values()) {
    if (!wire.inWindow(e, shown)) continue;
    rows.push(isNow ? liveRow(session, e, dead) : pastRow(e, { past, cursor, dead, before }));
  }
  // A container that sends values but is not in the entity table yet.
  if (isNow) {
    for (const [id, row] of session.live.rows) {
      if (id !== wire.HOST && !known.has(id)) rows.push({ ...wire.merge(wire.entity({ id }), row.values), history: row.history });
    }
  }
  return rows;
}

// lastEvents are the newest of each container at a moment. events are in order.
function lastEvents(events, moment) {
  const found = new Map();
  for (const e of events) if (e.ms <= moment) found.set(e.container, e);
  return found;
}

function liveRow(session, e, dead) {
  const row = session.live.rows.get(e.id);
  if (row && e.state !== "ended") return { ...wire.merge(e, row.values), history: row.history };
  return wire.merge(e, session.last.get(e.id) || dead.get(e.id));
}

function pastRow(e, { past, cursor, dead, before }) {
  const state = wire.stateAt(e, cursor);
  const isLater = e.lastEvent !== null && e.lastEvent.ms > cursor;
  const values = past.values.get(e.id) || (state === "ended" ? dead.get(e.id) : undefined);
  const lastEvent = isLater ? before.get(e.id) || null : e.lastEvent;
  return { ...wire.merge({ ...e, state, lastEvent }, values), history: past.history.get(e.id), tick: past.tick };
}

// pressureText is what the host itself waits for, while live.
function pressureText(session) {
  const host = session.live.rows.get(wire.HOST);
  if (!host || !timebar.isLive(session.store.get("time")) || typeof host.values.psiCpu !== "number") return "";
  return `The host waits for CPU ${percent(host.values.psiCpu)}, memory ${percent(host.values.psiMem)}, IO ${percent(host.values.psiIo)} of the time. `;
}

// totals of what the filter leaves: [label, text].
function totals(rows, all) {
  const sum = { cpu: 0, mem: 0, netRx: 0, netTx: 0 };
  for (const row of rows) {
    if (row.state === "ended") continue;
    for (const key of Object.keys(sum)) sum[key] += row[key] || 0;
  }
  const part = rows.length < all ? [["Shown", `${rows.length} of ${all}`]] : [];
  return [...part, ["CPU", `${cores(sum.cpu)} % of a core`], ["Memory", bytes(sum.mem)], ["In", byteRate(sum.netRx)], ["Out", byteRate(sum.netTx)]];
}

const NO_PAST = { values: new Map(), history: new Map(), tick: 0 };

// usePast asks for the values at the cursor while the page is not live.
function usePast(session) {
  const time = useStore(session.store, (s) => s.time);
  const isNow = timebar.isLive(time) && !session.isCapture();
  const second = Math.round(session.cursor() / 1000);
  const { data } = useAsk((signal) => (isNow ? Promise.resolve(NO_PAST) : readPast(session, second, signal)), isNow ? "live" : `at ${second}`);
  return data || NO_PAST;
}

async function readPast(session, second, signal) {
  const values = new Map();
  const put = (field, found) => {
    for (const [id, v] of found) {
      if (!values.has(id)) values.set(id, {});
      values.get(id)[field] = v;
    }
  };
  await Promise.all(Object.entries(COLUMNS).map(async ([field, expr]) => put(field, wire.vectorByContainer(await session.client.instant(expr, second, signal)))));
  const history = await readHistory(session, second, signal);
  return { values, history, tick: second };
}

// readHistory fills the sparklines with the two minutes before the cursor.
async function readHistory(session, second, signal) {
  const window = { from: second - wire.HISTORY + 1, to: second, step: 2 };
  const history = new Map();
  for (const [field, name] of [["cpu", "container_cpu_usage"], ["mem", "container_memory_usage_bytes"]]) {
    const data = await session.client.range(name, window, signal);
    for (const series of data.result || []) {
      const id = series.metric.container_id;
      if (!history.has(id)) history.set(id, { cpu: new Ring(wire.HISTORY / 2), mem: new Ring(wire.HISTORY / 2) });
      for (const [, v] of series.values || []) history.get(id)[field].push(number(v));
    }
  }
  return history;
}

// useDead asks for the last values of what has ended within the window.
function useDead(session) {
  const time = useStore(session.store, (s) => s.time);
  const endings = useStore(session.store, (s) => [...s.entities.values()].filter((e) => e.state === "ended").length);
  const ask = async (signal) => {
    const values = new Map();
    if (endings === 0) return values;
    const shown = session.window();
    for (const [field, name] of [["cpu", "container_cpu_usage"], ["mem", "container_memory_usage_bytes"], ["memLimit", "container_memory_limit_bytes"], ["pids", "container_pids_count"]]) {
      for (const [id, v] of wire.vectorByContainer(await session.client.instant(lastValue(name, time.span), shown.to / 1000, signal))) {
        if (!values.has(id)) values.set(id, {});
        values.get(id)[field] = v;
      }
    }
    return values;
  };
  const { data } = useAsk(ask, `${endings} ${time.span} ${time.edge}`);
  return data || NO_DEAD;
}

const NO_DEAD = new Map();

// Movers compares the newest second with the one five minutes ago.
function Movers({ session }) {
  const time = useStore(session.store, (s) => s.time);
  const isNow = timebar.isLive(time) && !session.isCapture();
  const ask = async (signal) => {
    if (!isNow) return [];
    const then = session.cursor() / 1000 - MOVERS_OVER;
    const before = new Map();
    for (const field of ["cpu", "mem"]) {
      for (const [id, v] of wire.vectorByContainer(await session.client.instant(COLUMNS[field], then, signal))) {
        before.set(id, { ...before.get(id), [field]: v });
      }
    }
    const after = new Map([...session.live.rows].filter(([id]) => id !== wire.HOST).map(([id, row]) => [id, row.values]));
    return movers(before, after, 3);
  };
  const { data } = useAsk(ask, `movers ${isNow}`, 15000);
  if (!isNow || !data || data.length === 0) return null;
  const nameOf = (id) => (session.store.get("entities").get(id) || { name: id.slice(0, 12) }).name;
  return html`<span data-movers>Most changed in 5 minutes: ${data.map((m) => moverText(m, nameOf(m.id))).join("; ")}.</span>`;
}

// One container: who it is, what happened to it, its plots, its tables.

import { useAsk } from "../ask.mjs";
import { EventList } from "../eventlist.mjs";
import { bytes, count, moment, newestOf, shortID } from "../format.mjs";
import { Panel, marksOf, pick, useWindow, zoom } from "../panel.mjs";
import { PANELS, applicationNames, ownRate, panelQueries, selector } from "../promql.mjs";
import * as stateFiles from "../state.mjs";
import { useStore } from "../store.mjs";
import { mainTrigger, stateText, uptime, verdict } from "../story.mjs";
import * as timebar from "../timebar.mjs";
import * as tree from "../tree.mjs";
import { html, useMemo, useState } from "../view.mjs";
import * as wire from "../wire.mjs";

const TABS = [
  ["events", "Events"],
  ["processes", "Processes"],
  ["connections", "Connections"],
  ["inspect", "Inspect"],
  ["tags", "Tags"],
];

const WHOLE_LIFE = 60; // seconds shown before the start and after the end of a dead container
const MAX_OWN = 12; // metrics of the application that get a plot
const MAX_EVENTS = 500; // rows of a tab
const MAX_FILES = 40; // state files of a capture that one page asks for

export function Container({ session, id }) {
  const [tab, setTab] = useState("events");
  const known = useStore(session.store, (s) => s.entities.get(id));
  const events = useStore(session.store, (s) => s.events);
  const now = useStore(session.store, (s) => Math.floor(s.now / 10000) * 10000);
  const { data: record, problem } = useAsk(async (signal) => wire.entity(await session.client.get(`/api/entities/${encodeURIComponent(id)}`, {}, signal)), `${id} ${known ? `${known.state} ${known.stop}` : ""}`);
  const marks = useMemo(() => marksOf(events, id), [events, id]);
  const kills = useKills(session, id, events);
  const e = known && record ? { ...record, ...known, incarnations: record.incarnations } : record || known;
  if (!e) return html`<section class="page"><p class="empty" data-missing>${problem || "Loading"}</p></section>`;
  const [sentence, tone] = verdict(e, kills, now);
  return html`<section class="page container" data-container-page=${e.id} data-state=${e.state}>
    <header class="heading">
      <h1><i class=${`dot is-${e.state}`} title=${stateText(e)}></i>${e.name || shortID(e.id)}<small>${e.image}</small></h1>
      <p class="facts">${facts(e, now)}</p>
      ${!inWindow(session, e) && html`<button type="button" data-whole-life onClick=${() => showLife(session, e)}>Show its life</button>`}
      ${!session.isCapture() && html`<button type="button" data-capture-window onClick=${() => session.store.set({ dialog: "capture" })}>Capture this window</button>`}
      <${Incarnations} session=${session} e=${e} now=${now} />
    </header>
    <p class=${`verdict is-${tone}`} data-verdict data-tone=${tone}>${sentence}<${Captured} session=${session} id=${id} now=${now} /></p>
    <div class="panels">
      ${PANELS.map((panel) => html`<${Panel} key=${panel.key} session=${session} panel=${panel} queries=${queriesOf(session, panel, id)} marks=${marks} />`)}
      <${Own} session=${session} id=${id} marks=${marks} />
    </div>
    <div class="tabs" role="tablist">${TABS.map(([key, label]) => html`<button key=${key} type="button" role="tab" data-tab=${key} aria-selected=${tab === key} onClick=${() => setTab(key)}>${label}</button>`)}</div>
    <div role="tabpanel" data-tabpanel=${tab}><${Tab} session=${session} tab=${tab} e=${e} now=${now} /></div>
  </section>`;
}

const inWindow = (session, e) => wire.inWindow(e, session.window());

// showLife moves the time bar to a container that the window has left behind.
function showLife(session, e) {
  const from = e.start === null ? e.lastSeen - session.store.get("time").span * 1000 : e.start - WHOLE_LIFE * 1000;
  zoom(session, from, (e.stop === null ? session.store.get("now") : e.stop) + WHOLE_LIFE * 1000);
}

function queriesOf(session, panel, id) {
  return panelQueries(panel, id, timebar.resolution(session.store.get("time").span, 600));
}

function facts(e, now) {
  const parts = [stateText(e), e.state === "ended" ? uptime(e, now) : `up ${uptime(e, now)}`];
  if (e.project) parts.push(`project ${e.project}`);
  if (e.service && e.service !== e.name) parts.push(`service ${e.service}`);
  if (e.restarts > 0) parts.push(`${e.restarts} restarts`);
  parts.push(`id ${shortID(e.id)}`);
  return parts.join(" · ");
}

// useKills asks for the OOM kills of this container, whenever they were.
function useKills(session, id, events) {
  const seen = events.filter((e) => e.container === id && e.name === "container.oom_kill").length;
  const { data } = useAsk(async (signal) => (await session.client.get("/api/events", { container: id, kind: "container.oom_kill", limit: 20 }, signal)).events.map(wire.event), `kills ${id} ${seen}`);
  return data || NONE;
}

const NONE = [];

// Captured leads to the captures that were made because of this container.
function Captured({ session, id, now }) {
  const captures = useStore(session.store, (s) => s.captures);
  const about = captures.filter((c) => c.triggers.some((t) => t.container === id)).slice(0, 3);
  return about.map((c) => html`<a key=${c.id} class="captured" data-captured=${c.id} href=${session.link("captures")}>captured at ${moment(mainTrigger(c).ms, now)}</a>`);
}

function Incarnations({ session, e, now }) {
  if (e.incarnations.length < 2) return null;
  return html`<nav class="incarnations" aria-label="Containers of this name">
    ${e.incarnations.map((i, n) => html`<a key=${i.id} data-incarnation=${i.id} aria-current=${i.id === e.id ? "page" : null} class=${`is-${i.state}`} href=${session.link("container", i.id)}>${incarnationText(i, n + 1, now)}</a>`)}
  </nav>`;
}

function incarnationText(i, n, now) {
  const from = i.start === null ? "" : moment(i.start, now);
  const end = i.stop === null ? "now" : moment(i.stop, now);
  const why = i.oomKilled ? " OOM" : i.exitCode !== undefined && i.exitCode !== null ? ` exit ${i.exitCode}` : "";
  return `#${n} ${from} – ${end}${why}`;
}

// Own are the metrics that the application in the container sends itself.
function Own({ session, id, marks }) {
  const window = useWindow(session);
  const { data } = useAsk(async (signal) => {
    const params = { "match[]": applicationNames(id), start: window.from, end: window.to, limit: 1000 };
    return (await session.client.get("/api/v1/label/__name__/values", params, signal)).data;
  }, `own ${id} ${window.from} ${window.to}`);
  const names = data || [];
  const plots = names.slice(0, MAX_OWN).map((name) => {
    const panel = { key: `own-${name}`, title: name, unit: "" };
    const labels = { container_id: id };
    const isCounter = name.endsWith("_total");
    const query = isCounter ? ownRate(name, labels, window.step) : selector(name, labels);
    return html`<${Panel} key=${name} session=${session} panel=${panel} queries=${[{ label: isCounter ? "per second" : "value", query }]} marks=${marks} />`;
  });
  return html`${plots}${names.length > MAX_OWN && html`<p class="hint" data-cut="own">The first ${MAX_OWN} of ${names.length} metrics of its own have a plot. Explore shows all.</p>`}`;
}

function Tab({ session, tab, e, now }) {
  switch (tab) {
    case "processes":
      return session.isCapture() ? html`<${Processes} session=${session} e=${e} />` : html`<${Events} key="p" session=${session} e=${e} now=${now} kinds=${["process.exec", "process.exit", "container.oom_kill"]} note="Processes that started and ended in this window. The whole tree is part of a capture." />`;
    case "connections":
      return session.isCapture() ? html`<${Sockets} session=${session} e=${e} />` : html`<${Events} key="c" session=${session} e=${e} now=${now} kinds=${["network.connection.closed"]} note="Connections that ended in this window. Open sockets are part of a capture." />`;
    case "inspect":
      return html`<${Inspect} session=${session} e=${e} />`;
    case "tags":
      return html`<${Pairs} pairs=${Object.entries(e.tags)} empty="No tags." />`;
    default:
      return html`<${Events} key="e" session=${session} e=${e} now=${now} kinds=${[]} />`;
  }
}

function Events({ session, e, now, kinds, note }) {
  const time = useStore(session.store, (s) => s.time);
  const beat = useStore(session.store, (s) => s.events.length);
  // What has no tick adds nothing to the store: while live, time itself asks again.
  const window = useWindow(session);
  const { data, problem } = useAsk(async (signal) => {
    const shown = session.window();
    const params = { container: e.id, from: shown.from / 1000, to: shown.to / 1000, kind: kinds, limit: MAX_EVENTS };
    const { events, truncated } = await session.client.get("/api/events", params, signal);
    return { events: events.map(wire.event), truncated };
  }, `${e.id} ${kinds.join()} ${JSON.stringify(time)} ${beat} ${window.from} ${window.to}`);
  return html`${note && html`<p class="hint">${note}</p>`}${problem && html`<p class="empty">${problem}</p>`}
    ${data && data.truncated && html`<p class="hint" data-cut="events">${newestOf(data.events.length, "events in this window")}</p>`}
    ${data && html`<${EventList} events=${data.events} now=${now} onPick=${(ms) => pick(session, ms)} />`}`;
}

function Pairs({ pairs, empty }) {
  if (pairs.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<dl class="pairs">${pairs.map(([key, value]) => html`<dt key=${key}>${key}</dt><dd>${String(value)}</dd>`)}</dl>`;
}

function Processes({ session, e }) {
  const { data, problem } = useAsk(async (signal) => tree.build(stateFiles.pick(await session.client.get("/api/state/state/processes.json", {}, signal), "processes", e.id)), `processes ${e.id}`);
  if (!data) return html`<p class="empty">${problem || "Loading"}</p>`;
  if (data.length === 0) return html`<p class="empty">No processes in this capture.</p>`;
  return html`<div class="scroll"><table><thead><tr><th>PID</th><th>Command</th><th>State</th><th>Memory</th><th>Threads</th><th>Files</th></tr></thead>
    <tbody>${data.map(({ process: p, depth }) => html`<tr key=${p.pid} data-pid=${p.pid} class=${p.exited ? "is-gone" : ""}>
      <td>${p.pid}</td><td style=${{ paddingLeft: `${depth * 1.2}rem` }}><code>${stateFiles.command(p)}</code></td>
      <td>${p.exited ? "killed" : p.state || ""}</td><td>${bytes(p.rss)}</td><td>${count(p.threads)}</td><td>${count(p.files)}</td></tr>`)}</tbody></table></div>`;
}

function Sockets({ session, e }) {
  const { data, problem } = useAsk(async (signal) => stateFiles.pick(await session.client.get("/api/state/state/sockets.json", {}, signal), "namespaces", e.id), `sockets ${e.id}`);
  if (!data) return html`<p class="empty">${problem || "Loading"}</p>`;
  if (data.length === 0) return html`<p class="empty">No sockets in this capture.</p>`;
  return data.map((ns, i) => html`<div key=${i} class="scroll" data-sockets=${ns.pid}>
    <p class="hint">Listening: ${(ns.listen || []).join(", ") || "nothing"}. ${Object.entries(ns.states || {}).map(([state, n]) => `${state} ${n}`).join(", ")}</p>
    <table><thead><tr><th>Local</th><th>Remote</th><th>State</th><th>To send</th><th>To read</th></tr></thead>
    <tbody>${(ns.open || []).map((s, n) => html`<tr key=${n}><td>${s.local}</td><td>${s.remote}</td><td>${s.state}</td><td>${bytes(s.send || 0)}</td><td>${bytes(s.receive || 0)}</td></tr>`)}</tbody></table></div>`);
}

// Inspect shows the state files of a capture that speak of this container, and
// on a live host what the entity table knows.
function Inspect({ session, e }) {
  const { data, problem } = useAsk(async (signal) => {
    if (!session.isCapture()) return { texts: [["entity", JSON.stringify(e, null, 2)]], all: 1 };
    const { files } = await session.client.get("/api/state", {}, signal);
    const own = stateFiles.filesOf(files, e.id);
    const texts = await Promise.all(own.slice(0, MAX_FILES).map(async (name) => [name, asText(await session.client.get(`/api/state/${name}`, {}, signal))]));
    return { texts, all: own.length };
  }, `inspect ${e.id}`);
  if (!data) return html`<p class="empty">${problem || "Loading"}</p>`;
  const { texts, all } = data;
  return html`${texts.map(([name, text]) => html`<details key=${name} open=${all === 1}><summary>${name}</summary><pre>${text}</pre></details>`)}
    ${all > texts.length && html`<p class="hint" data-cut="files">The first ${texts.length} of ${all} files of this container.</p>`}`;
}

const asText = (answer) => (typeof answer === "string" ? answer : JSON.stringify(answer, null, 2));

// A plot with its question: asks for the window of the time bar and draws it.

import { matrixLines, useAsk } from "./ask.mjs";
import { newestOf } from "./format.mjs";
import { gridAlign } from "./series.mjs";
import { useStore } from "./store.mjs";
import { tickOf } from "./story.mjs";
import * as timebar from "./timebar.mjs";
import { html, useMemo } from "./view.mjs";
import { Plot } from "./plot.mjs";

const POINTS = 600; // of a plot: about one per two pixels of a wide screen
const LIVE_EVERY = 5000; // milliseconds between questions while live; a long window asks more rarely

// useWindow is the window of the time bar on the grid of the queries: { from,
// to, step } in seconds. While live it moves with the grid, not each second.
export function useWindow(session) {
  const time = useStore(session.store, (s) => s.time);
  const isEnded = session.isCapture();
  const step = timebar.resolution(time.span, POINTS);
  // What is asked again: by the end of the window on the grid of refreshes.
  const every = refresh(time.span);
  const beat = useStore(session.store, (s) => (timebar.isLive(s.time) && !isEnded ? Math.floor(s.now / every) : 0));
  return useMemo(() => {
    const shown = session.window();
    const to = Math.floor(shown.to / 1000 / step) * step;
    return { from: to - Math.ceil(time.span / step) * step, to, step };
  }, [time, step, beat]);
}

const refresh = (span) => Math.max(LIVE_EVERY, (span * 1000) / 200);

// Panel shows one entry of PANELS. queries: [{ label, query, limit, by }].
export function Panel({ session, panel, queries, marks, size }) {
  const window = useWindow(session);
  const at = useStore(session.store, (s) => s.time.at);
  const ask = (signal) => Promise.all(queries.map(async (line) => ({ line, data: await session.client.range(line.query, window, signal) })));
  const { data, problem, isLoading } = useAsk(async (signal) => ({ window, answers: await ask(signal) }), `${queries.map((q) => q.query).join("\n")} ${window.from} ${window.to}`);
  const plot = useMemo(() => {
    if (!data) return null;
    const { lines, lists } = matrixLines(data.answers);
    return lines.length ? { unit: panel.unit, lines, data: gridAlign(data.window, lists), window: data.window } : null;
  }, [data]);
  const state = problem ? "problem" : plot ? "ready" : isLoading ? "loading" : "empty";
  return html`<figure class="panel" data-panel=${panel.key} data-panel-state=${state}>
    <figcaption>${panel.title}</figcaption>
    ${plot && html`<${Plot} plot=${plot} title=${panel.title} marks=${marks} at=${at} size=${size} pick=${(ms) => pick(session, ms)} zoom=${(a, b) => zoom(session, a, b)} />`}
    ${!plot && html`<p class="empty">${problem || (isLoading ? "Loading" : "No data in this window.")}</p>`}
  </figure>`;
}

// Cut says which lists of the window are not whole.
export function Cut({ session }) {
  const cut = useStore(session.store, (s) => s.cut);
  return html`${cut.entities && html`<p class="hint" data-cut="entities">${newestOf(session.store.get("entities").size, "containers in this window")}</p>`}
    ${cut.events && html`<p class="hint" data-cut="ticks">${newestOf(session.store.get("events").length, "events with a mark in this window")}</p>`}`;
}

export function pick(session, ms) {
  session.setTime(timebar.moveTo(session.store.get("time"), ms, session.limits()));
}

export function zoom(session, from, to) {
  session.setTime(timebar.zoom(session.store.get("time"), from, to, session.limits()));
}

// marksOf are the lines across the plots of a container.
export function marksOf(events, id) {
  return events
    .filter((e) => e.container === id)
    .map((e) => ({ ms: e.ms, kind: tickOf(e) }))
    .filter((m) => m.kind !== "");
}

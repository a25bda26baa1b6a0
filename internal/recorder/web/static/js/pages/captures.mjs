// Captures: what was frozen, and the triggers that did it.

import { bytes, clock, duration, moment } from "../format.mjs";
import { useStore } from "../store.mjs";
import { captureTitle, mainMoment, mainTrigger } from "../story.mjs";
import * as timebar from "../timebar.mjs";
import { html, useState } from "../view.mjs";
import * as wire from "../wire.mjs";

const KINDS = { oom: "OOM kill", degraded: "degraded", exit: "end with an error", near_limit: "near the memory limit", manual: "by hand" };
const TICK_OF = { oom: "oom", degraded: "degraded", exit: "exit" };
const STATES = { recording: "recording until the window ends", cutting: "being written", ready: "ready", failed: "not written" };

export function Captures({ session }) {
  const captures = useStore(session.store, (s) => s.captures);
  const status = useStore(session.store, (s) => s.status);
  const now = useStore(session.store, (s) => Math.floor(s.now / 10000) * 10000);
  const [problem, setProblem] = useState("");
  const isReadOnly = status !== null && (status.readOnly || status.mode === "capture");
  const change = async (method, path) => {
    setProblem("");
    try {
      await session.client.send(method, path);
      const list = await session.client.get("/api/captures");
      session.setCaptures(list.captures.map(wire.capture));
    } catch (wrong) {
      setProblem(wrong.message);
    }
  };
  return html`<section class="page captures">
    <header class="heading"><h1>Captures</h1>
      ${!isReadOnly && html`<button type="button" class="primary" data-capture-new onClick=${() => session.store.set({ dialog: "capture" })}>New capture</button>`}
    </header>
    <p class="hint">A capture keeps everything around a moment in one file. It is made by itself when something dies. <code>tallymanctl capture open FILE</code> shows a downloaded one in this same view.</p>
    ${problem && html`<p class="banner is-bad" role="alert">${problem}</p>`}
    ${captures.length === 0 && html`<p class="empty">There are none yet. The recorder makes one when a container runs out of memory, loses a process or ends with an error; the button above makes one now.</p>`}
    <ul class="capturelist">${captures.map((c) => html`<${Row} key=${c.id} session=${session} c=${c} now=${now} isReadOnly=${isReadOnly} change=${change} />`)}</ul>
  </section>`;
}

// A file that cannot be read tells of no time.
const hasWindow = (c) => c.from !== null && c.to !== null;

function Row({ session, c, now, isReadOnly, change }) {
  const [isSure, setSure] = useState(false);
  const path = `/api/captures/${encodeURIComponent(c.id)}`;
  return html`<li data-capture-row=${c.id} data-capture-state=${c.state}>
    <p class="verdict">${captureTitle(c) || c.id}</p>
    <p class="facts">${[c.created !== null && moment(c.created, now), KINDS[c.reason] || c.reason, hasWindow(c) && `${clock(c.from)} to ${clock(c.to)}, ${duration((c.to - c.from) / 1000)}`, c.state === "ready" ? bytes(c.bytes) : STATES[c.state] || c.state, c.pinned ? "pinned" : ""].filter(Boolean).join(" · ")}</p>
    ${c.error && html`<p class="facts is-bad">${c.error}</p>`}
    <ul class="triggers">${c.triggers.map((t, i) => html`<li key=${i}><i class=${`swatch tick-${TICK_OF[t.kind] || "capture"}`}></i><span class="nowrap">${clock(t.ms)}</span><span>${[KINDS[t.kind] || t.kind, t.name].filter(Boolean).join(" · ")}${t.text ? `: ${t.text}` : ""}</span></li>`)}</ul>
    <div class="actions">
      ${hasWindow(c) && html`<button type="button" class="primary" data-show onClick=${() => show(session, c)}>Show this time</button>`}
      ${c.state === "ready" && !session.isCapture() && html`<a class="button" data-download href=${`${path}/download`} download=${`${c.id}.tmcap`}>Download</a>`}
      ${!isReadOnly && html`<button type="button" data-pin aria-pressed=${c.pinned} onClick=${() => change(c.pinned ? "DELETE" : "PUT", `${path}/pin`)}>${c.pinned ? "Unpin" : "Pin"}</button>`}
      ${!isReadOnly && !c.pinned && html`<button type="button" data-delete onClick=${() => (isSure ? change("DELETE", path) : setSure(true))} onBlur=${() => setSure(false)}>${isSure ? "Delete for good?" : "Delete"}</button>`}
    </div>
  </li>`;
}

// show opens the time of a capture on the container that it is about.
function show(session, c) {
  const zoomed = timebar.zoom(session.store.get("time"), c.from, c.to, session.limits());
  const trigger = mainTrigger(c);
  session.setTime(trigger ? { ...zoomed, edge: zoomed.edge === null ? c.to : zoomed.edge, at: mainMoment(c) } : zoomed);
  const about = (trigger && trigger.container) || c.containers[0];
  session.go(about ? "container" : "timeline", about || "");
}

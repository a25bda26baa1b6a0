// The frame of every page: heading, navigation, the time bar, dialogs.

import { clock, date, duration, moment, stamp } from "./format.mjs";
import { useAsk } from "./ask.mjs";
import { Icon } from "./icons.mjs";
import { HELP } from "./keys.mjs";
import { number } from "./series.mjs";
import { useStore } from "./store.mjs";
import { TICKS, captureBanner, captureTitle, eventText, mainTrigger, thin } from "./story.mjs";
import * as timebar from "./timebar.mjs";
import { html, useEffect, useMemo, useRef, useState } from "./view.mjs";

const NAV = [
  ["containers", "Containers"],
  ["timeline", "Time line"],
  ["captures", "Captures"],
  ["explore", "Explore"],
  ["agent", "Agent"],
];

const SLOTS = 240; // places for ticks in the time bar, three to five pixels each

export function Shell({ session, children }) {
  const page = useStore(session.store, (s) => s.route.page);
  const status = useStore(session.store, (s) => s.status);
  const connection = useStore(session.store, (s) => s.connection);
  return html`<div class="shell" data-page=${page} data-connection=${connection} data-mode=${status ? status.mode : ""}>
    <a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
    <header class="top">
      <a class="brand" href=${session.link("containers")}><${Icon} name="tally" /><span data-host>${(status && status.host) || "Tallyman"}</span></a>
      <${Health} session=${session} />
      <${Ranges} session=${session} />
      <${TimeBar} session=${session} />
      <${Buttons} session=${session} />
    </header>
    <${Banners} session=${session} />
    <div class="body">
      <nav class="nav" aria-label="Pages">
        ${NAV.map(([key, label]) => html`<a key=${key} data-nav=${key} href=${session.link(key)} aria-current=${isCurrent(page, key) ? "page" : null}><${Icon} name=${key} />${label}<${Badge} session=${session} page=${key} /></a>`)}
      </nav>
      <main id="main" tabindex="-1">${children}</main>
    </div>
    <${Dialogs} session=${session} />
  </div>`;
}

// skip moves the focus without touching the address, which names the page.
function skip(e) {
  e.preventDefault();
  document.getElementById("main").focus();
}

const isCurrent = (page, key) => page === key || (page === "container" && key === "containers");

// Badge counts the broken containers beside the word Containers, on every page.
function Badge({ session, page }) {
  const broken = useStore(session.store, (s) => (page === "containers" ? [...s.entities.values()].filter((e) => e.state === "broken").length : 0));
  return broken > 0 && html`<span class="count" title=${`${broken} broken`}>${broken}</span>`;
}

const HEALTH = {
  ok: "All is well",
  warn: "Some data were dropped in the last minutes",
  bad: "The recorder is in trouble",
};

function Health({ session }) {
  const status = useStore(session.store, (s) => s.status);
  const connection = useStore(session.store, (s) => s.connection);
  const isLost = useStore(session.store, (s) => s.lost !== null);
  const health = isLost ? "bad" : status ? status.health : "ok";
  const text = isLost ? "No connection to the recorder, trying again" : connection === "waiting" ? "Connecting" : HEALTH[health];
  return html`<a class="health" data-health=${health} href=${session.link("agent")} title=${text}><span class="dot"></span><span class="sr">${text}</span></a>`;
}

function Ranges({ session }) {
  const span = useStore(session.store, (s) => s.time.span);
  const choose = (seconds) => session.setTime(timebar.withSpan(session.store.get("time"), seconds, session.limits()));
  return html`<div class="segments ranges" role="group" aria-label="Length of the window">
    ${timebar.RANGES.map((r) => html`<button key=${r.label} type="button" data-range=${r.label} aria-pressed=${span === r.seconds} onClick=${() => choose(r.seconds)}>${r.label}</button>`)}
  </div>`;
}

function TimeBar({ session }) {
  const time = useStore(session.store, (s) => s.time);
  const now = useStore(session.store, (s) => s.now);
  const track = useRef(null);
  const [brush, setBrush] = useState(null);
  const shown = session.window();
  const cursor = session.cursor();
  const share = timebar.shareOf(cursor, shown);
  const momentOf = (e) => {
    const box = track.current.getBoundingClientRect();
    return timebar.momentAt((e.clientX - box.left) / box.width, session.window());
  };
  const drag = brushing(session, momentOf, setBrush);
  const isLive = timebar.isLive(time);
  return html`<div class="timebar" data-timebar data-live=${String(isLive)} data-from=${Math.round(shown.from)} data-to=${Math.round(shown.to)} data-cursor=${Math.round(cursor)}>
    <div class="track" ref=${track} role="slider" tabindex="0" aria-label="Moment shown" aria-valuemin=${Math.round(shown.from)} aria-valuemax=${Math.round(shown.to)}
      aria-valuenow=${Math.round(cursor)} aria-valuetext=${`${date(cursor)} ${clock(cursor)}${isLive ? ", live" : ""}`} onPointerDown=${drag.down} onPointerMove=${drag.move} onPointerUp=${drag.up} onKeyDown=${arrows(session)}>
      <${Load} session=${session} shown=${shown} />
      ${timebar.gridOf(shown, innerWidth < 761 ? 4 : 6).map((ms) => html`<span key=${ms} class="mark" hidden=${timebar.shareOf(ms, shown) > (innerWidth < 761 ? 0.83 : 0.95)} style=${{ left: at(timebar.shareOf(ms, shown)) }}>${gridLabel(ms, time.span)}</span>`)}
      <${Ticks} session=${session} shown=${shown} />
      ${brush && html`<i class="brush" style=${brushStyle(brush, shown)}></i>`}
      ${share !== null && html`<i class="hand" style=${{ left: at(share) }}></i>`}
    </div>
    <button type="button" class="moment" data-jump onClick=${() => session.store.set({ dialog: "jump" })} title=${`${stamp(cursor)}. Press t to jump.`}>${moment(cursor, now)}</button>
    <button type="button" class="live" data-live-button aria-pressed=${isLive} onClick=${() => session.setTime(timebar.live(time))}>${session.isCapture() ? "End" : "Live"}</button>
  </div>`;
}

function Ticks({ session, shown }) {
  const events = useStore(session.store, (s) => s.events);
  const captures = useStore(session.store, (s) => s.captures);
  const list = useMemo(() => [...events, ...captures.map(captureMark)], [events, captures]);
  return thin(list, shown, SLOTS).map((m) => html`<i key=${m.slot} class=${`tick tick-${m.kind}`} data-tick=${m.kind} style=${{ left: at((m.slot + 0.5) / SLOTS) }} title=${tickText(m)}></i>`);
}

// Load is the CPU of all containers, behind the ticks: it shows at a glance where
// something went on.
const LOAD_POINTS = 120;
const LOAD = "sum(container_cpu_usage)";

function Load({ session, shown }) {
  const span = useStore(session.store, (s) => s.time.span);
  const step = timebar.resolution(span, LOAD_POINTS);
  const to = Math.floor(shown.to / 1000 / step) * step;
  const window = { from: to - Math.ceil(span / step) * step, to, step };
  const { data } = useAsk(async (signal) => ({ window, answer: await session.client.range(LOAD, window, signal) }), `${window.from} ${window.to}`);
  const line = useMemo(() => data && outlineOf(data), [data]);
  if (!line) return null;
  // The picture keeps its moments while the bar moves on.
  const x = (ms) => (ms - shown.from) / (shown.to - shown.from);
  return html`<svg class="area" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true"><path vector-effect="non-scaling-stroke" d=${line} transform=${`translate(${x(data.window.from * 1000)} 0) scale(${x(data.window.to * 1000) - x(data.window.from * 1000)} 1)`} /></svg>`;
}

// outlineOf draws the answer into a box of 1 x 1, from its highest value down.
function outlineOf({ window, answer }) {
  const values = (answer.result[0] || { values: [] }).values.map(([t, v]) => [(t - window.from) / (window.to - window.from), number(v) || 0]);
  const peak = Math.max(...values.map(([, v]) => v));
  if (values.length < 2 || !(peak > 0)) return null;
  const points = values.map(([x, v]) => `${x.toFixed(4)} ${(1 - 0.92 * (v / peak)).toFixed(3)}`);
  return `M${values[0][0].toFixed(4)} 1L${points.join("L")}L${values[values.length - 1][0].toFixed(4)} 1Z`;
}

const at = (share) => `${(share * 100).toFixed(3)}%`;

const gridLabel = (ms, span) => (span > 2 * 86400 ? date(ms).slice(5) : span < 600 ? clock(ms) : clock(ms).slice(0, 5));

const captureMark = (c) => ({ ms: (mainTrigger(c) || { ms: c.created }).ms, kind: "capture", name: "capture", body: captureTitle(c) });

function tickText(m) {
  const more = m.count > 1 ? ` (and ${m.count - 1} more here)` : "";
  return `${clock(m.event.ms)} ${eventText(m.event)}${more}`;
}

function brushStyle([a, b], shown) {
  const [x, y] = [a, b].map((ms) => (ms - shown.from) / (shown.to - shown.from));
  return { left: at(Math.min(x, y)), width: at(Math.abs(y - x)) };
}

// brushing: a press moves the cursor, a press with Shift marks a stretch to
// zoom into.
function brushing(session, momentOf, setBrush) {
  const set = (e) => session.setTime(timebar.moveTo(session.store.get("time"), momentOf(e), session.limits()));
  return {
    down: (e) => {
      e.currentTarget.setPointerCapture(e.pointerId);
      if (!e.shiftKey) return set(e);
      const ms = momentOf(e);
      session.brush = [ms, ms];
      setBrush(session.brush);
    },
    move: (e) => {
      if (e.buttons === 0) return;
      if (!session.brush) return set(e);
      session.brush = [session.brush[0], momentOf(e)];
      setBrush(session.brush);
    },
    up: () => {
      const stretch = session.brush;
      session.brush = null;
      setBrush(null);
      if (stretch && Math.abs(stretch[1] - stretch[0]) > 1000) session.setTime(timebar.zoom(session.store.get("time"), stretch[0], stretch[1], session.limits()));
    },
  };
}

// arrows make the bar a slider for the keyboard as well.
function arrows(session) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 };
  return (e) => {
    if (e.key === "End") session.setTime(timebar.live(session.store.get("time")));
    else if (steps[e.key]) session.setTime(timebar.stepBy(session.store.get("time"), steps[e.key], session.limits()));
    else return;
    e.preventDefault();
  };
}

const THEMES = { auto: "light", light: "dark", dark: "auto" };
const THEME_TEXT = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function Buttons({ session }) {
  const theme = useStore(session.store, (s) => s.theme);
  const status = useStore(session.store, (s) => s.status);
  const isReadOnly = status !== null && (status.readOnly || status.mode === "capture");
  return html`<div class="buttons">
    ${!isReadOnly && html`<button type="button" class="primary" data-capture onClick=${() => session.store.set({ dialog: "capture" })}>Capture</button>`}
    <button type="button" data-theme-button=${theme} title=${THEME_TEXT[theme]} aria-label=${THEME_TEXT[theme]} onClick=${() => session.setTheme(THEMES[theme])}>◐</button>
    <button type="button" data-help title="Keys" aria-label="Keys" onClick=${() => session.store.set({ dialog: "help" })}>?</button>
  </div>`;
}

function Banners({ session }) {
  const status = useStore(session.store, (s) => s.status);
  const problem = useStore(session.store, (s) => s.problem);
  const lost = useStore(session.store, (s) => s.lost);
  const isCapture = status !== null && status.mode === "capture";
  return html`<div class="banners" aria-live="polite">
    ${isCapture && html`<p class="banner is-capture" data-banner="capture">${status.capture ? captureBanner(status.capture, status.host) : "An opened capture."}</p>`}
    ${status !== null && status.messages.map((m) => html`<p key=${m} class=${`banner is-${status.health}`} data-banner="message">${m}</p>`)}
    ${lost !== null && html`<p class="banner is-bad" data-banner="lost"><b>No connection to the recorder since ${clock(lost)}.</b> What you see is from before. Trying again.</p>`}
    ${problem && lost === null && html`<p class="banner is-bad" data-banner="problem">${problem}</p>`}
  </div>`;
}

function Dialogs({ session }) {
  const dialog = useStore(session.store, (s) => s.dialog);
  const needToken = useStore(session.store, (s) => s.needToken);
  if (needToken) return html`<${Dialog} name="token" title="Token" session=${session}><${Token} session=${session} /><//>`;
  switch (dialog) {
    case "help":
      return html`<${Dialog} name="help" title="Keys" session=${session}><${Help} /><//>`;
    case "jump":
      return html`<${Dialog} name="jump" title="Jump to a moment" session=${session}><${Jump} session=${session} /><//>`;
    case "capture":
      return html`<${Dialog} name="capture" title="Capture" session=${session}><${Capture} session=${session} /><//>`;
    default:
      return null;
  }
}

// Dialog is the browser's own, which keeps the focus inside and closes with Esc. The
// one for the token stays: without it there is nothing behind it. A browser may close
// it all the same when Esc comes twice; then it is opened again.
function Dialog({ name, title, session, children }) {
  const node = useRef(null);
  useEffect(() => {
    const back = document.activeElement;
    node.current.showModal();
    return () => back && back.focus && back.focus();
  }, []);
  const isNeeded = name === "token";
  const close = () => session.store.set({ dialog: "" });
  const closed = () => (isNeeded ? node.current && node.current.showModal() : close());
  return html`<dialog ref=${node} data-dialog=${name} aria-label=${title} onCancel=${(e) => isNeeded && e.preventDefault()} onClose=${closed}>
    <h2>${title}</h2>
    ${children}
    ${!isNeeded && html`<button type="button" data-close onClick=${close}>Close</button>`}
  </dialog>`;
}

function Help() {
  return html`<dl class="keys">${HELP.map(([key, text]) => html`<dt key=${key}><kbd>${key}</kbd></dt><dd>${text}</dd>`)}</dl>
    <p class="legend">${TICKS.map((t) => html`<span key=${t.kind}><i class=${`swatch tick-${t.kind}`}></i>${t.text}</span>`)}</p>`;
}

function Jump({ session }) {
  const [text, setText] = useState("");
  const ms = timebar.parseMoment(text, session.store.get("now"));
  const go = (e) => {
    e.preventDefault();
    if (ms === null) return;
    session.setTime(timebar.moveTo(session.store.get("time"), ms, session.limits()));
    session.store.set({ dialog: "" });
  };
  return html`<form onSubmit=${go}>
    <label>When <input autofocus name="when" data-when value=${text} placeholder="03:12, -5m, 2026-11-22 03:12" onInput=${(e) => setText(e.target.value)} /></label>
    <p class="hint">${ms === null ? "A time of day, a time ago, or a date." : `${date(ms)} ${clock(ms)}`}</p>
    <button type="submit" class="primary" disabled=${ms === null}>Go</button>
  </form>`;
}

function Capture({ session }) {
  const [reason, setReason] = useState("");
  const [scope, setScope] = useState("default");
  const [result, setResult] = useState("");
  const [isBusy, setBusy] = useState(false);
  const { page, id } = session.store.get("route");
  const make = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      const more = page === "container" && id ? { containers: [id] } : {};
      const made = await session.capture({ reason: reason || "asked for on the page", scope, ...more });
      setResult(`Capture ${made.id} is being made.`);
    } catch (problem) {
      setResult(problem.message);
    }
    setBusy(false);
  };
  const shown = session.window();
  const what = timebar.isLive(session.store.get("time")) ? "the last 15 minutes" : `${moment(shown.from)} to ${clock(shown.to)}, ${duration((shown.to - shown.from) / 1000)}`;
  return html`<form onSubmit=${make}>
    <p>Keeps ${what} in one file${page === "container" ? ", with this container in the centre" : ""}.</p>
    <label>Why <input autofocus name="reason" value=${reason} onInput=${(e) => setReason(e.target.value)} placeholder="slow checkout" /></label>
    <label>What <select name="scope" value=${scope} onChange=${(e) => setScope(e.target.value)}>
      <option value="default">the containers that matter</option>
      <option value="host">the whole host</option>
    </select></label>
    <button type="submit" class="primary" data-capture-go disabled=${isBusy}>Capture now</button>
    <p role="status" data-capture-result>${result}</p>
  </form>`;
}

function Token({ session }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const login = async (e) => {
    e.preventDefault();
    try {
      await session.client.post("/api/login", { token });
      location.reload();
    } catch (wrong) {
      setProblem(wrong.status === 401 ? "That is not the token." : wrong.message);
    }
  };
  return html`<form onSubmit=${login}>
    <p>This recorder asks for its token.</p>
    <label>Token <input autofocus type="password" autocomplete="current-password" value=${token} onInput=${(e) => setToken(e.target.value)} /></label>
    <button type="submit" class="primary">Open</button>
    <p role="alert">${problem}</p>
  </form>`;
}

// What the page knows, and when it asks for more: one Session for the life of
// the page. Pages read the store and ask with client.

import * as address from "./address.mjs";
import { Client, Stream } from "./api.mjs";
import { askAgain } from "./ask.mjs";
import { Frame, Store, recall, remember } from "./store.mjs";
import { EVENT_KINDS, mainMoment } from "./story.mjs";
import * as timebar from "./timebar.mjs";
import * as wire from "./wire.mjs";

const STATUS_EVERY = 10000; // milliseconds
const RELOAD_EVERY = 60000; // entities and ticks while live, against missed messages
const MAX_EVENTS = 5000; // ticks kept; the page thins them to one per slot anyway
const MAX_ENTITIES = 5000; // as many as one answer has
const LOST_AFTER = 3000; // milliseconds of silence: two attempts to reconnect
const FIRST_SPAN = 900; // seconds: what died a few minutes ago is still in sight
const MAX_LAST = 5000; // containers whose last values are kept after their end

export class Session {
  constructor() {
    this.live = new wire.Live();
    this.frame = new Frame();
    this.news = null; // what the stream has brought since the last question, while it is open
    this.last = new Map(); // id -> last values of containers that are gone
    this.client = new Client(() => this.store.set({ needToken: true }));
    this.store = new Store({
      route: address.parse(location.hash),
      time: timebar.start(FIRST_SPAN),
      now: Date.now(),
      status: null,
      connection: "waiting",
      lost: null, // since when nothing has come from the recorder, by this clock
      needToken: false,
      entities: new Map(),
      events: [],
      captures: [],
      cut: { entities: false, events: false }, // lists that are not whole
      problem: "",
      dialog: "",
      theme: recall("theme", "auto"),
    });
  }

  async start() {
    addEventListener("hashchange", () => this.readAddress());
    this.applyTheme();
    this.readAddress();
    await this.readStatus();
    this.statusTimer = setInterval(() => this.readStatus(), STATUS_EVERY);
    this.reloadTimer = setInterval(() => timebar.isLive(this.store.get("time")) && this.reload(), RELOAD_EVERY);
    if (this.isCapture()) this.showCapture();
    else this.follow();
    this.reload();
  }

  isCapture() {
    const s = this.store.get("status");
    return s !== null && s.mode === "capture";
  }

  // limits bound the time bar: see timebar.mjs.
  limits() {
    const s = this.store.get("status");
    const now = this.store.get("now");
    return this.isCapture() ? { now, from: s.capture ? s.capture.from : s.oldest, to: s.now } : { now, from: null, to: null };
  }

  window() {
    return timebar.windowOf(this.store.get("time"), this.limits());
  }

  cursor() {
    return timebar.cursorOf(this.store.get("time"), this.limits());
  }

  // showCapture opens the whole window of a capture with the cursor at the
  // trigger: what happened then is why the file is open.
  showCapture() {
    const c = this.store.get("status").capture;
    if (!c || this.store.get("route").params.get("span")) return;
    this.setTime({ span: Math.max(timebar.MIN_SPAN, (c.to - c.from) / 1000), edge: null, at: mainMoment(c) });
  }

  follow() {
    this.lostSoon = setTimeout(() => this.lose(Date.now() - LOST_AFTER), LOST_AFTER);
    this.stream = new Stream("/api/live", {
      state: (connection) => this.setConnection(connection),
      message: (kind, data) => this.take(kind, data),
    });
  }

  // setConnection notes when the stream is silent for longer than it takes to come
  // back. What was missed is asked for once it speaks again.
  setConnection(connection) {
    if (connection === "waiting") this.isCut = true;
    if (connection === this.store.get("connection")) return;
    const wasCut = connection === "open" && this.isCut;
    if (connection === "open") this.isCut = false;
    this.store.set({ connection });
    clearTimeout(this.lostSoon);
    if (connection === "waiting") this.lostSoon = setTimeout(() => this.lose(Date.now() - LOST_AFTER), LOST_AFTER);
    else this.lose(null);
    if (!wasCut) return;
    this.readStatus();
    this.reload();
    askAgain();
  }

  lose(lost) {
    this.store.set({ lost });
    this.frame.request();
  }

  take(kind, data) {
    switch (kind) {
      case "hello":
        this.live.hello(data);
        break;
      case "rows":
        for (const id of data.gone || []) this.keepLast(id);
        this.live.tick(data);
        break;
      case "events":
        this.addEvents(data.events.map(wire.event));
        break;
      case "entities":
        this.addEntities(data.entities.map(wire.entity));
        break;
      case "captures":
        this.setCaptures(data.captures.map(wire.capture));
        break;
    }
    if (this.live.t !== null) this.store.set({ now: this.live.t });
    this.frame.request();
  }

  // keepLast saves the values that a row shows after the container's end.
  keepLast(id) {
    const row = this.live.rows.get(id);
    if (!row) return;
    if (this.last.size >= MAX_LAST) this.last.delete(this.last.keys().next().value);
    this.last.set(id, { ...row.values });
  }

  // addEvents keeps what has a tick: connections would push out what matters.
  addEvents(list) {
    const ticks = list.filter((e) => EVENT_KINDS.includes(e.name));
    if (!ticks.length) return;
    if (this.news) this.news.events.push(...ticks);
    this.setEvents(wire.joined(this.store.get("events"), ticks), this.store.get("cut").events);
  }

  // setEvents keeps the newest. wasCut: there were more of them before.
  setEvents(list, wasCut) {
    this.store.set({ events: list.slice(-MAX_EVENTS) });
    this.setCut({ events: wasCut || list.length > MAX_EVENTS });
  }

  addEntities(list) {
    const entities = new Map(this.store.get("entities"));
    for (const e of list) {
      entities.set(e.id, e);
      if (this.news) this.news.entities.set(e.id, e);
    }
    this.store.set({ entities });
  }

  // setCaptures takes a whole list that is newer than any answer still on its way.
  setCaptures(captures) {
    if (this.news) this.news.hasCaptures = true;
    this.store.set({ captures });
  }

  // setCut notes which lists are not whole, without waking anybody for nothing.
  setCut(changes) {
    const was = this.store.get("cut");
    if (Object.entries(changes).some(([key, value]) => was[key] !== value)) this.store.set({ cut: { ...was, ...changes } });
  }

  async readStatus() {
    try {
      const status = wire.status(await this.client.get("/api/status"));
      const isFrozen = status.mode === "capture";
      this.store.set({ status, problem: "", ...(isFrozen || this.live.t === null ? { now: status.now } : {}) });
      if (isFrozen) this.store.set({ connection: "off" });
    } catch (problem) {
      this.store.set({ problem: problem.message });
    }
  }

  // reload asks for what lived and happened in the window. Of several calls in
  // a row only the last one counts. Each list is set when its own answer is there,
  // and what the stream has brought since the question stays above it.
  async reload() {
    if (this.loading) this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const news = (this.news = { entities: new Map(), events: [], hasCaptures: false });
    const shown = this.window();
    const range = { from: shown.from / 1000, to: shown.to / 1000 };
    const ask = async (path, params, take) => {
      const answer = await this.client.get(path, params, signal);
      if (signal.aborted) return;
      take(answer);
      this.frame.request();
    };
    try {
      await Promise.all([
        ask("/api/entities", { ...range, limit: MAX_ENTITIES }, (answer) => this.takeEntities(answer, news)),
        ask("/api/events", { ...range, kind: EVENT_KINDS, limit: MAX_EVENTS }, (answer) => this.takeEvents(answer, news)),
        ask("/api/captures", {}, (answer) => news.hasCaptures || this.store.set({ captures: answer.captures.map(wire.capture) })),
      ]);
      if (!signal.aborted) this.store.set({ problem: "" });
    } catch (problem) {
      if (problem.name !== "AbortError") this.store.set({ problem: problem.message });
    }
    if (this.news === news) this.news = null;
  }

  takeEntities({ entities, truncated }, news) {
    this.store.set({ entities: new Map([...entities.map((e) => [e.id, wire.entity(e)]), ...news.entities]) });
    this.setCut({ entities: Boolean(truncated) });
  }

  takeEvents({ events, truncated }, news) {
    this.setEvents(wire.joined(events.map(wire.event), news.events), Boolean(truncated));
  }

  setTime(time) {
    this.store.set({ time });
    this.writeAddress();
    clearTimeout(this.reloadSoon);
    this.reloadSoon = setTimeout(() => this.reload(), 250);
    this.frame.request();
  }

  // go opens a page and keeps the stretch of time.
  go(page, id = "", params = {}) {
    location.hash = address.format(page, id, { ...timebar.toParams(this.store.get("time")), ...params });
  }

  link(page, id = "", params = {}) {
    return address.format(page, id, { ...timebar.toParams(this.store.get("time")), ...params });
  }

  readAddress() {
    const route = address.parse(location.hash);
    const before = this.store.get("time");
    const time = timebar.fromParams(route.params, before);
    const isSame = JSON.stringify(time) === JSON.stringify(before) || !route.params.has("span");
    this.store.set(isSame ? { route } : { route, time });
    if (!isSame && this.store.get("status")) this.reload();
    this.frame.request();
  }

  // writeAddress changes the address without a new step in the history: sixty
  // presses of [ are not sixty pages.
  writeAddress(extra = {}) {
    const { page, id, params } = this.store.get("route");
    const kept = Object.fromEntries([...params].filter(([key]) => !["span", "edge", "at"].includes(key)));
    const hash = address.format(page, id, { ...kept, ...timebar.toParams(this.store.get("time")), ...extra });
    history.replaceState(null, "", hash);
    this.store.set({ route: address.parse(hash) });
  }

  setTheme(theme) {
    remember("theme", theme);
    this.store.set({ theme });
    this.applyTheme();
    this.frame.request();
  }

  applyTheme() {
    const theme = this.store.get("theme");
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  // capture asks for one of the last quarter of an hour, or of the window if
  // the reader has moved away from now.
  async capture(more = {}) {
    const time = this.store.get("time");
    const shown = this.window();
    const span = timebar.isLive(time) ? { last: "15m" } : { from: shown.from / 1000, to: shown.to / 1000 };
    const made = await this.client.post("/api/captures", { reason: "asked for on the page", ...span, ...more });
    this.setCaptures([wire.capture(made), ...this.store.get("captures").filter((c) => c.id !== made.id)]);
    return wire.capture(made);
  }
}

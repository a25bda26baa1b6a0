// The whole view on a page without a browser: every page renders with answers
// in the shapes of the API, keys work, names are text.

import assert from "node:assert/strict";
import test from "node:test";
import { install } from "./page.mjs";

const T = 1763780400;
const HOSTILE = "<img src=x onerror=alert(1)>";
const id = (i) => i.toString(16).padStart(64, "0");
const entities = Array.from({ length: 200 }, (_, i) => ({ id: id(i), name: i === 0 ? HOSTILE : `c${i}`, image: "shop/redis:7", project: "shop", state: "running", start: T - 5000, tags: { "host.name": "h" } }));
Object.assign(entities[1], { state: "broken", oomKilled: true, degraded: { reason: "oom", since: T - 30, process: "worker", pid: 211 }, lastEvent: { t: T - 30, name: "container.oom_kill", body: "OOM kill of worker" } });
Object.assign(entities[2], { state: "ended", stop: T - 60, exitCode: 137, oomKilled: true });
const events = [
  { t: T - 30, name: "container.oom_kill", container: id(1), severity: "ERROR", body: "OOM kill of worker (pid 211)", attributes: { "process.pid": 211, "process.executable.name": "worker" } },
  { t: T - 60, name: "container.stop", container: id(2), attributes: { "container.exit_code": 137, "container.oom_killed": true } },
];
const captures = [{ id: "c1", state: "ready", reason: "oom", verdict: "OOM kill of worker", created: T - 30, from: T - 630, to: T + 90, bytes: 169000, pinned: false, containers: [id(1)], triggers: [{ t: T - 30, kind: "oom", container: id(1), text: "OOM kill of worker" }] }, { id: "c2", state: "failed", bytes: 12, pinned: false, containers: [], triggers: [], error: "open c2: not a zip file" }];
const own = ["shop_orders_total", "shop_queue_length"];
const agent = { version: "0.4.0", started: T - 100, pid: 1, cpuSeconds: 1.5, rss: 1e8, heap: 3e7, goroutines: 90, mode: "normal", metrics: { series: 12000, samples: 1, samplesPerSecond: 12000, retention: 21600, oldest: T - 90, bytes: { wal: 2 }, dropped: { series_limit: 3 } }, events: { count: 5, perSecond: 1, bytes: { segments: 1 }, dropped: {} }, entities: { running: 198, ended: 1, broken: 1, bytes: 5, dropped: {} }, captures: { count: 1, pending: 0, bytes: 1, dropped: {} }, queue: { length: 0, capacity: 10, dropped: { queue_full: 0 } }, disk: { budget: 1, used: 1, free: 1, total: 1 }, recovery: { took: 1.93, samples: 5, lost: "2 s", repaired: ["x"] }, topMetrics: [{ name: "container_cpu_usage", series: 200 }] };

function answer(path, params) {
  const success = (data) => [200, { status: "success", data }];
  switch (path) {
    case "/api/status":
      return [200, { mode: "live", host: "host-7", version: "0.4.0", now: T, readOnly: false, health: "warn", messages: ["a message"] }];
    case "/api/entities":
      return [200, { now: T, truncated: false, entities }];
    case "/api/events":
      return [200, { truncated: false, events: events.filter((e) => !params.get("container") || e.container === params.get("container")) }];
    case "/api/captures":
      return [200, { captures }];
    case "/api/agent":
      return [200, agent];
    case "/api/v1/query":
      return success({ resultType: "vector", result: [{ metric: { __name__: "x", container_id: id(2) }, value: [T, "0.25"] }] });
    case "/api/v1/query_range":
      if (params.get("query") === "broken(") return [400, { status: "error", errorType: "bad_data", error: "parse error: unclosed left parenthesis" }];
      return success({ resultType: "matrix", result: [{ metric: { container_id: id(1) }, values: [[Number(params.get("start")), "1"], [Number(params.get("end")), "2"]] }] });
    case "/api/v1/label/__name__/values":
      return success(own);
  }
  if (path.startsWith("/api/entities/")) {
    const e = entities.find((one) => path.endsWith(one.id));
    return e ? [200, { ...e, incarnations: [{ id: id(9), start: T - 9000, stop: T - 5001, state: "ended", exitCode: 1 }, { id: e.id, start: e.start, state: e.state }] }] : [404, { error: "no such container" }];
  }
  return [404, { error: `no ${path}` }];
}

const view = install("", answer);
const { page, root, until } = view;
const one = (selector) => root.querySelector(selector);
await import("../static/js/app.mjs");
await until("ready", () => page.documentElement.dataset.ready === "true");
const columns = [{ name: "cpu" }, { name: "memory" }, { name: "memory_limit" }];
const second = (t) => ({ t, rows: entities.filter((e) => e.state !== "ended").map((e, i) => ({ id: e.id, v: [(i + t) / 200 % 1, 1e8, 2e8] })) });
view.streams[0].say("hello", { ...second(T), step: 1, columns });

// quiet waits until nothing has been asked for twice as long as useAsk waits.
async function quiet() {
  let [n, since] = [-1, 0];
  await until("quiet", () => {
    if (view.requests.length !== n) [n, since] = [view.requests.length, performance.now()];
    return performance.now() - since > 400;
  });
}

test("containers", async () => {
  await until("rows", () => one("[data-table=containers]")?.dataset.total === "200");
  const table = one("[data-table=containers]");
  // 400 pixels of rows of 40, and a few around: not 200.
  assert.ok(table.all("[data-container]").length <= 20);
  assert.equal(one("[data-chip=broken]").dataset.count, "1");
  assert.equal(one("[data-health]").dataset.health, "warn");
  assert.ok(root.all("[data-tick=oom]").length >= 1);
});

test("a second of data changes cells in place", async () => {
  const row = one("[data-table=containers]").all("[data-container]")[0];
  const before = [...row.walk()].length;
  const texts = () => one("[data-table=containers]").all("[data-cell=cpu]").map((c) => c.textContent).join();
  const was = texts();
  view.streams[0].say("rows", { ...second(T + 7), gone: [] });
  await until("new values", () => texts() !== was);
  assert.equal([...row.walk()].length, before);
  assert.ok(Number(page.documentElement.dataset.frameMs) >= 0);
});

test("filter", async () => {
  const field = one("[data-search]");
  field.value = "state:dead";
  field.fire("input");
  await until("one row", () => one("[data-table=containers]").dataset.shown === "1");
  const row = root.all(`[data-container="${id(2)}"]`)[0];
  assert.equal(row.dataset.state, "ended");
  await until("last values of the dead", () => root.all(`[data-container="${id(2)}"]`)[0].textContent.includes("25"));
  field.value = `name:"${HOSTILE}"`;
  field.fire("input");
  await until("the hostile name as text", () => root.all(`[data-container="${id(0)}"]`)[0]?.textContent.includes(HOSTILE));
  assert.ok(![...root.walk()].some((n) => n.nodeName === "IMG"));
  field.value = "";
  field.fire("input");
  await until("all again", () => one("[data-table=containers]").dataset.shown === "200");
});

test("keys move the time bar", async () => {
  const bar = () => one("[data-timebar]");
  assert.equal(bar().dataset.live, "true");
  view.key("[");
  await until("not live", () => bar().dataset.live === "false");
  assert.ok(Number(bar().dataset.cursor) < Number(bar().dataset.to));
  await until("values of the past", () => view.requests.some((r) => r.includes("last_over_time%28container_cpu_usage%5B30s")));
  view.key("l");
  await until("live", () => bar().dataset.live === "true");
  view.key("?");
  await until("help", () => one("[data-dialog=help]"));
  view.key("Escape");
  await until("closed", () => !one("[data-dialog]"));
  view.key("t");
  await until("jump", () => one("[data-when]"));
  view.key("Escape");
});

test("container", async () => {
  view.go(`#/container/${id(1)}`);
  await until("verdict", () => one("[data-verdict]")?.textContent.includes("OOM kill of “worker” (pid 211)"));
  assert.equal(one("[data-verdict]").dataset.tone, "bad");
  await until("plots", () => root.all("[data-panel-state=ready]").length >= 7);
  assert.equal(root.all("[data-incarnation]").length, 2);
  for (const tab of ["processes", "connections", "inspect", "tags", "events"]) {
    one(`[data-tab=${tab}]`).click();
    await until(tab, () => one("[data-tabpanel]").dataset.tabpanel === tab);
  }
  await until("events", () => one("[data-event=container.oom_kill]") !== null || root.all("[data-event]").length > 0);
});

test("a page follows the time", async () => {
  view.go("#/captures");
  one("[data-range=7d]").click();
  await until("the long window", () => one("[data-range=7d]").getAttribute("aria-pressed") === "true");
  // A page that opens with a week asks for it anew every 50 minutes, one with five minutes every five seconds.
  view.go(`#/container/${id(1)}`);
  await quiet();
  one("[data-range=5m]").click();
  await until("the short window", () => one("[data-range=5m]").getAttribute("aria-pressed") === "true");
  await quiet();
  const asked = (what) => view.requests.filter((r) => r.includes(what)).length;
  const was = { plots: asked("/api/v1/query_range"), events: asked(`/api/events?container=${id(1)}&from=`), names: asked("/api/v1/label/__name__/values?match") };
  own.push(...Array.from({ length: 20 }, (_, i) => `shop_other_${i}`));
  view.streams[0].say("rows", { ...second(T + 13), gone: [] });
  await until("plots", () => asked("/api/v1/query_range") > was.plots + 5);
  await until("events that have no tick", () => asked(`/api/events?container=${id(1)}&from=`) > was.events);
  await until("metrics that are new", () => asked("/api/v1/label/__name__/values?match") > was.names);
  await until("what is left out", () => one("[data-cut=own]")?.textContent.includes("The first 12 of 22"));
  await until("their plots", () => root.all("[data-panel=own-shop_other_5]").length === 1);
});

test("an unknown container", async () => {
  view.go(`#/container/${"f".repeat(64)}`);
  await until("a sentence", () => one("[data-missing]")?.textContent === "no such container");
});

test("time line", async () => {
  view.go("#/timeline");
  await until("lanes", () => one("[data-lanes]")?.dataset.count === "200");
  await until("host", () => one("[data-panel=host-psi]")?.dataset.panelState === "ready");
  assert.equal(one("[data-cut=lanes]"), null);
});

test("lanes that no canvas can show are left out, and it says so", async () => {
  globalThis.devicePixelRatio = 20; // as far as one can zoom
  view.streams[0].say("rows", { ...second(T + 14), gone: [] });
  await until("fewer lanes", () => one("[data-lanes]").dataset.count === "72");
  assert.match(one("[data-cut=lanes]").textContent, /The first 72 of 200 lanes/);
  globalThis.devicePixelRatio = 1;
});

test("captures", async () => {
  view.go("#/captures");
  await until("a row", () => one("[data-capture-row=c1]"));
  assert.equal(one("[data-download]").getAttribute("href"), "/api/captures/c1/download");
  // A file that cannot be read has no time to show.
  const unread = one("[data-capture-row=c2]");
  assert.equal(unread.querySelector("[data-show]"), null);
  assert.match(unread.textContent, /not a zip file/);
  assert.doesNotMatch(unread.textContent, /–|1970|0 s/);
  one("[data-show]").click();
  await until("its time", () => one("[data-timebar]").dataset.cursor === String((T - 30) * 1000));
  assert.ok(globalThis.location.hash.startsWith(`#/container/${id(1)}`));
});

test("explore", async () => {
  view.go("#/explore?expr=container_cpu_usage");
  await until("a plot", () => one("[data-result=plot]"));
  one("[data-view=table]").click();
  await until("a table", () => one("[data-result=table]"));
  one("[data-view=plot]").click();
  one("[data-query]").value = "broken(";
  one("[data-query]").fire("input");
  await until("typed", () => one("[data-query]").value === "broken(");
  [...root.walk()].find((n) => n.nodeName === "FORM").fire("submit");
  await until("the reason", () => one("[data-result=problem]")?.textContent.includes("unclosed left parenthesis"));
});

test("agent", async () => {
  view.go("#/agent");
  await until("facts", () => one("[data-fact=metrics-series]")?.textContent === "12k");
  assert.match(one("[data-fact=dropped]").textContent, /3 pieces of data dropped/);
  assert.match(one("[data-fact=recovery]").textContent, /1\.9 s .* 2 s\. Repaired: x\./);
});

// A browser opens six connections to a host: pages that nobody sees take none.
test("a hidden page has no stream", async () => {
  const before = view.streams.filter((s) => s.open).length;
  assert.equal(before, 1);
  view.show(false);
  assert.equal(view.streams.filter((s) => s.open).length, 0);
  await quiet();
  const asked = (path) => view.requests.filter((r) => r.startsWith(`GET ${path}`)).length;
  const paths = ["/api/status", "/api/entities?", "/api/events?from", "/api/captures"];
  const was = paths.map(asked);
  view.show(true);
  view.show(true);
  assert.equal(view.streams.filter((s) => s.open).length, 1);
  // What happened meanwhile is asked for as soon as the stream speaks.
  view.streams.at(-1).say("hello", { ...second(T + 20), step: 1, columns });
  await until("what was missed", () => paths.every((path, i) => asked(path) > was[i]));
});

test("no error was left unseen", () => {
  assert.deepEqual(view.unhandled, []);
  assert.ok(globalThis.plots > 7);
});

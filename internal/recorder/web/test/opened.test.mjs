// An opened capture: its state files in the form in which the agent writes them
// (package capture), and the states of that time.

import assert from "node:assert/strict";
import test from "node:test";
import { install } from "./page.mjs";

const T = 1763780400;
const id = (i) => i.toString(16).padStart(64, "0");
const degraded = { reason: "oom", since: T - 210, process: "worker", pid: 211 };
const worker = { id: id(1), name: "worker", state: "ended", start: T - 900, stop: T - 100, exitCode: 0, degraded };
const calm = { id: id(2), name: "calm", state: "running" };
const capture = { id: "c1", state: "ready", reason: "oom", verdict: "OOM kill of worker.", created: T, from: T - 600, to: T, triggers: [{ t: T - 200, kind: "oom", container: id(1), text: "OOM kill of worker" }] };
const at = "2025-11-22T03:00:00.000000Z";
const files = {
  "state/sockets.json": [
    { container: id(1), at, namespaces: [{ inode: 4026532000, pid: 100, states: { LISTEN: 1, ESTABLISHED: 1 }, listen: ["0.0.0.0:8080"], open: [{ local: "10.0.0.2:8080", remote: "10.0.0.3:4711", state: "ESTABLISHED", send: 12 }] }] },
    { container: id(2), at, namespaces: [] },
  ],
  "state/processes.json": [
    { container: id(1), at, processes: [{ pid: 100, ppid: 1, comm: "worker", rss: 4096, uid: 0 }] },
    { container: id(2), at, processes: [] },
  ],
};
const cgroup = Array.from({ length: 45 }, (_, i) => `state/cgroup/${id(1)}/file-${i}`);

function answer(path) {
  if (path.startsWith("/api/state/")) return [200, files[path.slice("/api/state/".length)] || "text"];
  if (path.startsWith("/api/entities/")) return [200, { ...[worker, calm].find((e) => path.endsWith(e.id)), incarnations: [] }];
  if (path.startsWith("/api/v1/")) return [200, { status: "success", data: path.endsWith("/values") ? [] : { resultType: "vector", result: [] } }];
  switch (path) {
    case "/api/status":
      return [200, { mode: "capture", host: "host-7", now: T, readOnly: true, health: "ok", messages: [], capture }];
    case "/api/entities":
      return [200, { now: T, truncated: true, entities: [worker, calm] }];
    case "/api/events":
      return [200, { truncated: true, events: [{ t: T - 200, name: "container.oom_kill", container: id(1), body: "OOM kill of worker" }] }];
    case "/api/captures":
      return [200, { captures: [capture] }];
    case "/api/state":
      return [200, { files: [...Object.keys(files), ...cgroup] }];
  }
  return [404, { error: `no ${path}` }];
}

const view = install("", answer);
const { page, root, until } = view;
const one = (selector) => root.querySelector(selector);
await import("../static/js/app.mjs");
await until("ready", () => page.documentElement.dataset.ready === "true");

test("what ended later was broken before", async () => {
  await until("the moment of the trigger", () => one("[data-timebar]").dataset.cursor === String((T - 200) * 1000));
  await until("broken at that moment", () => one(`[data-container=${id(1)}]`)?.dataset.state === "broken");
  assert.match(one(`[data-container=${id(1)}]`).textContent, /runs without worker/);
  view.key("l"); // the end of the capture
  await until("ended after it", () => one(`[data-container=${id(1)}]`)?.dataset.state === "ended");
});

test("it says that lists are cut", async () => {
  assert.match(one("[data-cut=entities]").textContent, /^The newest 2 of the containers in this window\.$/);
  assert.match(one("[data-cut=ticks]").textContent, /^The newest 1 of the events with a mark in this window\.$/);
  view.go("#/timeline");
  await until("on the time line", () => one("[data-lanes]") && one("[data-cut=entities]") && one("[data-cut=ticks]"));
});

test("sockets", async () => {
  view.go(`#/container/${id(1)}`);
  await until("its verdict is that of its end", () => one("[data-verdict]")?.textContent.startsWith("OOM kill of a process"));
  assert.match(one("[data-verdict]").textContent, /The container ended later\./);
  one("[data-tab=connections]").click();
  await until("its sockets", () => one("[data-sockets]"));
  const text = one("[data-tabpanel=connections]").textContent;
  assert.match(text, /Listening: 0\.0\.0\.0:8080\. LISTEN 1, ESTABLISHED 1/);
  assert.match(text, /10\.0\.0\.2:808010\.0\.0\.3:4711ESTABLISHED12 B/);
  one("[data-tab=processes]").click();
  await until("its processes", () => one("[data-pid=100]"));
  one("[data-tab=inspect]").click();
  await until("its files, and how many more", () => one("[data-cut=files]")?.textContent.includes("The first 40 of 45"));
  one("[data-tab=events]").click();
  await until("more events than are shown", () => one("[data-cut=events]"));
});

test("no sockets", async () => {
  view.go(`#/container/${id(2)}`);
  await until("running since nobody knows when", () => one("[data-verdict]")?.textContent === "Running. Nothing was killed.");
  one("[data-tab=connections]").click();
  await until("a sentence", () => one("[data-tabpanel=connections]")?.textContent === "No sockets in this capture.");
  one("[data-tab=processes]").click();
  await until("another", () => one("[data-tabpanel=processes]")?.textContent === "No processes in this capture.");
});

test("no error was left unseen", () => assert.deepEqual(view.unhandled, []));

// Answers that are older than what the stream has said meanwhile.

import assert from "node:assert/strict";
import test from "node:test";
import { install } from "./page.mjs";

const T = 1763780400;
const id = (i) => i.toString(16).padStart(64, "0");
const entity = (i, more) => ({ id: id(i), name: `c${i}`, state: "running", start: T - 500, ...more });
const kill = (t, i) => ({ t, name: "container.oom_kill", container: id(i), body: `OOM kill in c${i}` });

// held are the answers that are on their way: path -> what ends the waiting.
const held = {};
function answer(path) {
  if (path === "/api/status") return [200, { mode: "live", host: "host-7", now: T, health: "ok", messages: [] }];
  if (["/api/entities", "/api/events", "/api/captures"].includes(path)) return new Promise((done) => (held[path] = (body) => done([200, body])));
  return [200, { status: "success", data: { resultType: "vector", result: [] } }];
}

const view = install("", answer);
const { page, root, until } = view;
const one = (selector) => root.querySelector(selector);
await import("../static/js/app.mjs");
await until("ready", () => page.documentElement.dataset.ready === "true");
await until("all is asked", () => Object.keys(held).length === 3);
view.streams[0].say("hello", { t: T, step: 1, columns: [{ name: "cpu" }], rows: [] });

const ticks = () => root.all("[data-tick=oom]").map((n) => n.getAttribute("title")).join();

test("news stay above an older answer", async () => {
  view.streams[0].say("entities", { entities: [entity(1, { state: "broken" }), entity(3)] });
  view.streams[0].say("events", { events: [kill(T - 60, 1)], missed: 0 });
  view.streams[0].say("captures", { captures: [{ id: "new", state: "recording", created: T, from: T - 60, to: T, triggers: [] }] });
  // Nothing waits for the others.
  held["/api/entities"]({ now: T, truncated: false, entities: [entity(1), entity(2)] });
  await until("the answer and the news", () => one("[data-table=containers]")?.dataset.total === "3");
  assert.equal(one(`[data-container=${id(1)}]`).dataset.state, "broken");
  held["/api/events"]({ truncated: false, events: [kill(T - 60, 1), kill(T - 400, 2)] });
  await until("the older kill", () => ticks().includes("in c2"));
  assert.match(ticks(), /in c1/);
  assert.doesNotMatch(ticks(), /more here/, "the one that came twice is there once");
  held["/api/captures"]({ captures: [] });
  view.go("#/captures");
  await until("the capture of the stream", () => one("[data-capture-row=new]"));
});

test("what came before the question is the answer's to say", async () => {
  view.go("#/containers");
  for (const path of Object.keys(held)) delete held[path];
  one("[data-range=5m]").click();
  await until("asked anew", () => Object.keys(held).length === 3);
  held["/api/entities"]({ now: T, truncated: false, entities: [entity(2)] });
  await until("one", () => one("[data-table=containers]")?.dataset.total === "1");
});

test("no error was left unseen", () => assert.deepEqual(view.unhandled, []));

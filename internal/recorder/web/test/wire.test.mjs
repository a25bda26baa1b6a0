import assert from "node:assert/strict";
import test from "node:test";
import * as address from "../static/js/address.mjs";
import { Lasting, attention } from "../static/js/attention.mjs";
import { mostLanes } from "../static/js/lanes.mjs";
import { Steady } from "../static/js/steady.mjs";
import { arrange, counts } from "../static/js/order.mjs";
import { common, unitOf } from "../static/js/reportdata.mjs";
import * as state from "../static/js/state.mjs";
import * as wire from "../static/js/wire.mjs";

test("a sparse entity has every field", () => {
  const e = wire.entity({ id: "a" });
  assert.equal(e.name, "");
  assert.equal(e.start, null);
  assert.equal(e.exitCode, null);
  assert.deepEqual(e.tags, {});
  assert.equal(wire.entity({ id: "a", exitCode: 0 }).exitCode, 0);
  assert.equal(wire.entity({ id: "a", start: 1.5 }).start, 1500);
});

test("live messages", () => {
  const live = new wire.Live();
  live.hello({ t: 100, columns: [{ name: "cpu" }, { name: "news" }, { name: "memory" }], rows: [{ id: "a", v: [0.5, 9, 1024], h: [[0.4, null, 0.5], [1], [1, 2, 1024]] }] });
  const a = live.rows.get("a");
  assert.deepEqual(a.values, { cpu: 0.5, mem: 1024 });
  assert.equal(a.history.cpu.length, 3);
  live.tick({ t: 101, rows: [{ id: "b", v: [0.1, 1, null] }], gone: [] });
  assert.equal(live.t, 101000);
  assert.equal(live.rows.get("b").values.mem, null);
  assert.equal(a.history.cpu.length, 4); // no new value: the line goes on
  assert.equal(a.history.cpu.at(3), 0.5);
  live.tick({ t: 102, rows: [], gone: ["a"] });
  assert.ok(!live.rows.has("a"));
  live.hello({ t: 200, columns: [{ name: "cpu" }], rows: [] });
  assert.equal(live.rows.size, 0);
});

test("rows", () => {
  const e = wire.entity({ id: "a", state: "running" });
  assert.equal(wire.merge(e, { mem: 50, memLimit: 100 }).memRatio, 0.5);
  assert.equal(wire.merge(e, { mem: 50, memLimit: 100, memRatio: 0.7 }).memRatio, 0.7);
  assert.ok(wire.inWindow({ start: 10, stop: 20 }, { from: 15, to: 30 }));
  assert.ok(!wire.inWindow({ start: 10, stop: 14 }, { from: 15, to: 30 }));
  assert.ok(wire.inWindow({ start: 10, stop: null }, { from: 15, to: 30 }));
});

test("state at a moment of the past", () => {
  const e = { state: "ended", stop: 100, degraded: { since: 50 } };
  assert.equal(wire.stateAt(e, 40), "running");
  assert.equal(wire.stateAt(e, 60), "broken");
  assert.equal(wire.stateAt(e, 100), "ended");
  assert.equal(wire.stateAt({ state: "running", stop: null, degraded: null }, 1), "running");
});

test("vectors", () => {
  const data = { result: [{ metric: { container_id: "a" }, value: [1, "2"] }, { metric: {}, value: [1, "3"] }, { metric: { container_id: "b" }, value: [1, "NaN"] }] };
  assert.deepEqual([...wire.vectorByContainer(data)], [["a", 2]]);
});

test("order", () => {
  const rows = [
    { id: "1", name: "a", state: "running", cpu: 0.1, project: "x" },
    { id: "2", name: "b", state: "ended", cpu: 0.9, project: "x" },
    { id: "3", name: "c", state: "running", cpu: null, project: "" },
    { id: "4", name: "d", state: "broken", cpu: 0.5, project: "x" },
  ];
  const ids = (list) => list.map((r) => r.id || r.header);
  assert.deepEqual(ids(arrange(rows, { sort: "cpu", down: true, group: "" })), ["4", "1", "3", "2"]);
  assert.deepEqual(ids(arrange(rows, { sort: "cpu", down: false, group: "" })), ["4", "1", "3", "2"]);
  assert.deepEqual(ids(arrange(rows, { sort: "name", down: false, group: "project" })), ["x", "4", "1", "2", "no project", "3"]);
  assert.deepEqual(counts(rows), { running: 2, ended: 1, broken: 1 });
});

test("rows keep their places for a while", () => {
  const steady = new Steady();
  const order = { sort: "cpu", down: true, group: "" };
  const rows = (a, b) => [{ id: "a", name: "a", state: "running", cpu: a }, { id: "b", name: "b", state: "running", cpu: b }];
  const ids = (list, when) => steady.list(list, order, { key: "k", isHeld: false, ...when }).map((r) => r.id).join("");
  assert.equal(ids(rows(2, 1), { now: 0 }), "ab");
  // The other one is ahead now: not before five seconds are over, nor while somebody points there.
  assert.equal(ids(rows(1, 2), { now: 4000 }), "ab");
  assert.equal(ids(rows(1, 2), { now: 60000, isHeld: true }), "ab");
  assert.equal(ids(rows(1, 2), { now: 6000 }), "ba");
  // The values are the new ones all the same.
  assert.equal(steady.list(rows(7, 2), order, { key: "k", now: 6001, isHeld: false })[1].cpu, 7);
  // Another row, a lost row and another choice count at once.
  assert.equal(ids([...rows(1, 2), { id: "c", name: "c", state: "running", cpu: 9 }], { now: 6002 }), "cba");
  assert.equal(ids(rows(3, 2), { now: 6003 }), "ab");
  assert.equal(ids(rows(1, 2), { now: 6004, key: "other" }), "ba");
});

test("what needs attention", () => {
  const now = 1763780400000;
  const row = (id, more) => ({ id, name: id, project: "p", state: "running", start: 0, stop: null, exitCode: null, oomKilled: false, degraded: null, ...more });
  const list = attention(
    [
      row("calm", { memRatio: 0.5, throttled: 0.1, psiMem: 0 }),
      row("full", { memRatio: 0.97 }),
      row("slow", { throttled: 0.4 }),
      row("killed", { state: "ended", stop: now - 5000, oomKilled: true, exitCode: 137 }),
      row("done", { state: "ended", stop: now - 5000, exitCode: 0 }),
      row("mailer", { id: "m1", state: "ended", stop: now - 9000, exitCode: 1 }),
      row("mailer", { id: "m2" }),
      row("half", { state: "broken", degraded: { reason: "oom", since: now - 1000, process: "worker" } }),
    ],
    now,
  );
  assert.deepEqual(list.map((t) => [t.id, t.tone]), [["half", "bad"], ["killed", "bad"], ["full", "bad"], ["slow", "warn"], ["m1", "warn"]]);
  assert.match(list[0].text, /^Runs without worker: out of memory, since \d/);
  assert.match(list[1].text, /^Out of memory, ended at /);
  assert.match(list[4].text, /^Exit code 1 at .*, and is back$/);
  assert.deepEqual(attention([row("calm", {})], now), []);
  // What comes and goes stays for half a minute, unless the row goes or time is moved.
  const lasting = new Lasting();
  const ids = (rows, at) => lasting.list(rows, at).map((t) => t.id).join();
  assert.equal(ids([row("a", { throttled: 0.5 }), row("b", {})], now), "a");
  assert.equal(ids([row("a", {}), row("b", {})], now + 29000), "a");
  assert.equal(ids([row("a", {}), row("b", { memRatio: 1 })], now + 31000), "b");
  assert.equal(ids([row("a", {})], now + 32000), "");
  assert.equal(ids([row("a", { throttled: 0.5 })], now + 33000), "a");
  assert.equal(ids([row("a", {})], now - 600000), "");
});

test("addresses", () => {
  const a = address.parse(address.format("container", "a/b c", { q: "x=1&y", none: "" }));
  assert.equal(a.page, "container");
  assert.equal(a.id, "a/b c");
  assert.equal(a.params.get("q"), "x=1&y");
  assert.ok(!a.params.has("none"));
  assert.equal(address.parse("").page, "containers");
  assert.equal(address.parse("#/nowhere/x").page, "containers");
  assert.equal(address.parse("#/container/%E0%A4").id, "%E0%A4");
});

test("an event that comes twice is there once", () => {
  const e = (ms, body) => ({ ms, name: "container.oom_kill", container: "a", body });
  assert.deepEqual(wire.joined([e(3, "x"), e(1, "x")], [e(3, "x"), e(3, "y"), e(2, "x")]).map((one) => `${one.ms}${one.body}`), ["1x", "2x", "3x", "3y"]);
});

test("state files", () => {
  const both = [{ container: "a", processes: [{ pid: 1 }] }, { container: "b", processes: [{ pid: 2 }] }];
  assert.deepEqual(state.pick(both, "processes", "b"), [{ pid: 2 }]);
  assert.deepEqual(state.pick(both[0], "processes", "a"), [{ pid: 1 }]);
  assert.deepEqual(state.pick([{ pid: 3 }], "processes", "a"), [{ pid: 3 }]);
  assert.deepEqual(state.pick(null, "processes", "a"), []);
  assert.equal(state.command({ argv: ["sh", "-c"], comm: "sh" }), "sh -c");
  assert.equal(state.command({ comm: "kworker" }), "[kworker]");
});

test("no canvas is higher than a browser draws", () => {
  assert.equal(mostLanes(1), 1000);
  for (const scale of [1, 1.5, 2, 3, 4]) assert.ok((mostLanes(scale) * 22 + 26) * scale <= 32767, `at ${scale}`);
  assert.ok(mostLanes(2) > 700);
});

test("plots of a report", () => {
  const lines = [{ points: [{ t: 2000, v: 2 }, { t: 1000, v: 1 }] }, { points: [{ t: 2000, v: 5 }] }];
  assert.deepEqual(common(lines), [[1, 2], [1, 2], [null, 5]]);
  assert.deepEqual(common(lines, { from: 1500, to: 2500 }), [[2], [2], [5]]);
  assert.equal(unitOf("By"), "bytes");
  assert.equal(unitOf("odd"), "");
});

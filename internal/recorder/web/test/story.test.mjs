import assert from "node:assert/strict";
import test from "node:test";
import { EVENT_KINDS, TICKS, captureBanner, captureTitle, eventText, mainMoment, mainTrigger, moverText, stateText, thin, tickOf, uptime, verdict } from "../static/js/story.mjs";
import { build, hit } from "../static/js/lanes.mjs";
import { build as processTree } from "../static/js/tree.mjs";

const now = new Date(2026, 10, 22, 12, 0, 0).getTime();
const base = { id: "aaaaaaaaaaaaaaaa", name: "worker", project: "", service: "", state: "running", start: now - 60_000, stop: null, lastSeen: null, exitCode: null, oomKilled: false, degraded: null };
const event = (name, attributes = {}, ms = now - 10_000) => ({ ms, name, attributes, container: base.id, body: "" });
const kill = event("container.oom_kill", { "process.executable.name": "worker", "process.pid": 211, "process.memory.rss": 512 * 1024 ** 2 });

test("ticks", () => {
  assert.equal(tickOf(kill), "oom");
  assert.equal(tickOf(event("container.stop", { "container.exit_code": 0 })), "stop");
  assert.equal(tickOf(event("container.stop", { "container.exit_code": 1 })), "exit");
  assert.equal(tickOf(event("container.stop", { "container.oom_killed": true })), "oom");
  assert.equal(tickOf(event("container.health_status", { "container.health.status": "unhealthy" })), "health");
  assert.equal(tickOf(event("container.health_status", { "container.health.status": "healthy" })), "");
  assert.equal(tickOf(event("process.exec")), "");
  const kinds = new Set(TICKS.map((t) => t.kind));
  for (const name of EVENT_KINDS) assert.ok(kinds.has(tickOf(event(name))), name);
});

test("where ticks fall together the worst is shown", () => {
  const shown = { from: now - 100_000, to: now };
  const list = [event("container.start"), kill, event("container.start", {}, now - 90_000), event("container.start", {}, now - 500_000)];
  assert.deepEqual(thin(list, shown, 10).map((m) => [m.slot, m.kind, m.count]), [[1, "start", 1], [9, "oom", 2]]);
});

test("verdicts", () => {
  const degraded = { ...base, state: "broken", degraded: { reason: "oom", since: now - 10_000, process: "worker", pid: 211 } };
  const [sentence, tone] = verdict(degraded, [kill], now);
  assert.equal(sentence, "OOM kill of “worker” (pid 211, 512 MiB) at 11:59:50. PID 1 is alive, but nothing took the place of “worker”.");
  assert.equal(tone, "bad");
  assert.match(verdict({ ...degraded, degraded: { ...degraded.degraded, reason: "crash" } }, [], now)[0], /“worker” \(pid 211\) kept dying/);
  assert.match(verdict({ ...base, state: "ended", stop: now, oomKilled: true }, [kill], now)[0], /The container ended at 12:00:00\.$/);
  assert.deepEqual(verdict(base, [], now), ["Running for 1 min. Nothing was killed.", "ok"]);
  assert.equal(verdict({ ...base, state: "ended", stop: now, exitCode: 137 }, [], now)[0], "Ended at 12:00:00 with exit code 137 (SIGKILL).");
  assert.equal(verdict({ ...base, state: "ended", stop: now, exitCode: 0 }, [], now)[1], "ok");
  // What it lacked while it ran is not what it lacks now.
  assert.equal(verdict({ ...degraded, state: "ended", stop: now, exitCode: 0 }, [], now)[0], "Ended at 12:00:00 with exit code 0.");
  assert.deepEqual(verdict({ ...base, start: null }, [], now), ["Running. Nothing was killed.", "ok"]);
  assert.equal(verdict(base, [kill], now)[1], "warn");
});

test("words", () => {
  assert.equal(uptime({ ...base, state: "ended", stop: now, oomKilled: true }, now), "ended 12:00:00, OOM");
  assert.equal(uptime(base, now), "1 min");
  assert.equal(stateText({ ...base, state: "broken", degraded: { process: "w" } }), "runs without w");
  assert.equal(stateText({ ...base, state: "ended", exitCode: 3 }), "ended: exit 3");
  assert.equal(moverText({ what: "memory", from: 0, to: 1024 ** 2 }, "w"), "w: memory 0 B to 1 MiB");
  assert.equal(eventText(event("container.oom_kill")), "oom kill");
  assert.match(captureBanner({ from: now - 60_000, to: now, triggers: [{ ms: now, kind: "oom", text: "OOM kill of w" }] }, "host-7"), /host-7.*OOM kill of w at 12:00:00\.$/);
});

test("a capture is about its worst trigger", () => {
  const trigger = (kind, ms, text) => ({ kind, ms, text, name: "w" });
  const c = { verdict: "Near the memory limit in w (and 2 more).", reason: "near_limit", from: now - 60_000, to: now, triggers: [trigger("near_limit", 1, "near"), trigger("oom", 2, "OOM kill of w."), trigger("exit", 3, "ended")] };
  assert.equal(mainTrigger(c).ms, 2);
  // Of equals the first, and the words of the verdict: as the report has it.
  assert.equal(mainTrigger({ triggers: [trigger("oom", 5, "first"), trigger("oom", 7, "second")] }).ms, 5);
  assert.equal(captureTitle(c), c.verdict);
  assert.match(captureBanner(c, "h"), /\. Near the memory limit in w \(and 2 more\)\.$/);
  assert.equal(mainTrigger({ triggers: [] }), null);
  // What came of it is what to look at first, if it came soon and to the same container.
  assert.equal(mainMoment(c), 2);
  assert.equal(mainMoment({ triggers: [trigger("oom", 1000, ""), trigger("degraded", 6000, "")] }), 6000);
  assert.equal(mainMoment({ triggers: [trigger("oom", 1000, ""), trigger("degraded", 60000, "")] }), 1000);
  assert.equal(mainMoment({ triggers: [trigger("oom", 1000, ""), { ...trigger("degraded", 6000, ""), container: "other" }] }), 1000);
  assert.equal(mainMoment({ triggers: [] }), null);
  assert.equal(captureTitle({ verdict: "", reason: "manual", triggers: [] }), "manual");
});

test("lanes", () => {
  const shown = { from: now - 100_000, to: now };
  const calm = { ...base, id: "b", name: "api", start: now - 200_000 };
  const first = { ...base, id: "c", state: "ended", start: now - 90_000, stop: now - 70_000, exitCode: 1 };
  const outside = { ...base, id: "d", name: "old", state: "ended", start: now - 900_000, stop: now - 800_000 };
  const lanes = build([calm, base, first, outside], [kill], shown, "name");
  assert.deepEqual(lanes.map((l) => [l.label, l.bars.length, l.ticks.length]), [["worker", 2, 1], ["api", 1, 0]]);
  assert.equal(lanes[1].bars[0].x0, 0);
  assert.equal(lanes[1].bars[0].x1, 1);
  assert.equal(lanes[0].bars.find((b) => b.id === "c").state, "exit");
  assert.equal(hit(lanes[0], 0.9, 0.01).tick.kind, "oom");
  assert.equal(hit(lanes[0], 0.2, 0.01).bar.id, "c");
  assert.equal(hit(lanes[0], 0.35, 0.01), null);
});

test("process tree", () => {
  const rows = processTree([{ pid: 7, ppid: 1 }, { pid: 1, ppid: 0 }, { pid: 9, ppid: 7 }, { pid: 5, ppid: 99 }]);
  assert.deepEqual(rows.map((r) => [r.process.pid, r.depth]), [[1, 0], [7, 1], [9, 2], [5, 0]]);
  // A loop of parents is cut, and nobody is lost.
  assert.equal(processTree([{ pid: 2, ppid: 3 }, { pid: 3, ppid: 2 }]).length, 2);
});

// Sentences and marks: what events mean, in words and in colours.

import { bytes, clock, duration, moment, percent } from "./format.mjs";

// Ticks of the time bar and the lanes. The order is the priority: where two
// fall on one pixel, the first wins.
export const TICKS = [
  { kind: "oom", text: "OOM kill" },
  { kind: "exit", text: "exit code not 0" },
  { kind: "capture", text: "capture" },
  { kind: "degraded", text: "degraded" },
  { kind: "start", text: "start" },
  { kind: "stop", text: "stop" },
  { kind: "health", text: "health check not passed" },
];

// tickOf returns the kind of the tick of an event, or "" for none.
export function tickOf(e) {
  switch (e.name) {
    case "container.oom_kill":
    case "container.oom":
      return "oom";
    case "container.degraded":
      return "degraded";
    case "container.start":
      return "start";
    case "container.stop":
    case "container.die":
      return stopKind(e.attributes);
    case "container.health_status":
      return healthy(e) ? "" : "health";
    default:
      return "";
  }
}

function stopKind(attributes) {
  if (attributes["container.oom_killed"] === true) return "oom";
  const code = Number(attributes["container.exit_code"]);
  return Number.isFinite(code) && code !== 0 ? "exit" : "stop";
}

const healthy = (e) => Object.values(e.attributes).some((v) => v === "healthy");

// EVENT_KINDS are those that have a tick; the time bar asks for these alone.
export const EVENT_KINDS = [
  "container.oom_kill",
  "container.oom",
  "container.degraded",
  "container.start",
  "container.stop",
  "container.die",
  "container.health_status",
];

// thin keeps one tick per slot of the bar, by priority: { slot, kind, event,
// count }. Slots are pixels or so.
export function thin(events, shown, slots) {
  const rank = new Map(TICKS.map((t, i) => [t.kind, i]));
  const kept = new Map();
  for (const e of events) {
    const kind = e.kind || tickOf(e);
    const share = (e.ms - shown.from) / (shown.to - shown.from);
    if (kind === "" || !(share >= 0 && share <= 1)) continue;
    const slot = Math.min(slots - 1, Math.floor(share * slots));
    const there = kept.get(slot);
    if (!there) kept.set(slot, { slot, kind, event: e, count: 1 });
    else {
      there.count++;
      if (rank.get(kind) < rank.get(there.kind)) Object.assign(there, { kind, event: e });
    }
  }
  return [...kept.values()].sort((a, b) => a.slot - b.slot);
}

// uptime is the column of the table: how long it runs, or when it ended.
export function uptime(e, nowMs) {
  if (e.state === "ended") {
    const when = e.stop === null ? "ended" : `ended ${moment(e.stop, nowMs)}`;
    return endedText(e) ? `${when}, ${endedText(e)}` : when;
  }
  return e.start === null ? "–" : duration((nowMs - e.start) / 1000);
}

// endedText is how it ended, in a word or two; empty if nobody has told.
export function endedText(e) {
  if (e.oomKilled) return "OOM";
  return e.exitCode === null ? "" : `exit ${e.exitCode}`;
}

// stateText is the state in words, for the dot's label.
export function stateText(e) {
  if (e.state === "broken") return e.degraded ? `runs without ${e.degraded.process || "its worker"}` : "broken";
  return e.state === "ended" ? `ended${endedText(e) ? `: ${endedText(e)}` : ""}` : "running";
}

const REASONS = {
  oom: "was killed for lack of memory",
  crash: "kept dying",
  gave_up: "ended and was not started again",
};

// verdict is one sentence on a container: who died, why, is PID 1 alive. kills
// are its container.oom_kill events, newest first. The second part is the tone.
export function verdict(e, kills, nowMs) {
  const kill = kills[0];
  if (e.degraded && e.state !== "ended") return [degradedSentence(e, kill, nowMs), "bad"];
  if (e.oomKilled && e.state === "ended") {
    return [`${kill ? killSentence(kill, nowMs) : "It ran out of memory."} The container ended${at(e.stop, nowMs)}.`, "bad"];
  }
  if (kill) return [`${killSentence(kill, nowMs)} The container ${e.state === "ended" ? "ended later" : "runs on"}.`, "warn"];
  if (e.state !== "ended") return [`Running${e.start === null ? "" : ` for ${duration((nowMs - e.start) / 1000)}`}. Nothing was killed.`, "ok"];
  if (e.exitCode) return [`Ended${at(e.stop, nowMs)} with exit code ${e.exitCode}${signal(e.exitCode)}.`, "warn"];
  return [`Ended${at(e.stop, nowMs)}${e.exitCode === 0 ? " with exit code 0" : ""}.`, "ok"];
}

const at = (ms, nowMs) => (ms === null ? "" : ` at ${moment(ms, nowMs)}`);

function degradedSentence(e, kill, nowMs) {
  const d = e.degraded;
  const who = d.process ? `“${d.process}”` : "A process";
  const pid = d.pid ? ` (pid ${d.pid})` : "";
  const what = kill && d.reason === "oom" ? killSentence(kill, nowMs) : `${who}${pid} ${REASONS[d.reason] || "is gone"}${at(d.since, nowMs)}.`;
  return `${what} PID 1 is alive, but nothing took the place of ${d.process ? who : "it"}.`;
}

function killSentence(kill, nowMs) {
  const a = kill.attributes;
  const name = a["process.executable.name"];
  const details = [];
  if (a["process.pid"] !== undefined) details.push(`pid ${a["process.pid"]}`);
  if (Number(a["process.memory.rss"]) > 0) details.push(bytes(Number(a["process.memory.rss"])));
  const inside = details.length ? ` (${details.join(", ")})` : "";
  return `OOM kill of ${name ? `“${name}”` : "a process"}${inside} at ${moment(kill.ms, nowMs)}.`;
}

const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM" };

// signal: shells and engines report a death by signal n as 128 + n.
function signal(code) {
  const name = SIGNALS[code - 128];
  return name ? ` (${name})` : "";
}

// moverText: "worker: memory 210 MiB to 480 MiB".
export function moverText(move, name) {
  if (move.what === "cpu") return `${name}: CPU ${percent(move.from)} to ${percent(move.to)} of a core`;
  return `${name}: memory ${bytes(move.from)} to ${bytes(move.to)}`;
}

// eventText is the sentence of an event, or its name if it has none.
export function eventText(e) {
  return e.body || e.name.replace(/^container\./, "").replaceAll("_", " ");
}

// TRIGGERS from the worst to the least. A container near its limit opens a capture
// before it is killed: what came of it is what the capture is about.
const TRIGGERS = ["oom", "degraded", "exit", "near_limit", "manual"];

// mainTrigger is the worst trigger of a capture, of equals the first, as for the
// capture's verdict and its report; null if there is none.
export function mainTrigger(c) {
  const rank = (t) => (TRIGGERS.includes(t.kind) ? TRIGGERS.indexOf(t.kind) : TRIGGERS.length);
  return c.triggers.reduce((worst, t) => (worst === null || rank(t) < rank(worst) ? t : worst), null);
}

const SOON = 30000; // milliseconds; who takes a process's place does so within seconds

// mainMoment is when to look first: at the worst trigger or, where the container
// runs on without what was killed, at what came of it.
export function mainMoment(c) {
  const worst = mainTrigger(c);
  if (!worst) return null;
  const after = c.triggers.find((t) => t.kind === "degraded" && t.container === worst.container && t.ms >= worst.ms && t.ms - worst.ms < SOON);
  return (after || worst).ms;
}

// captureTitle is the verdict, which begins with the worst trigger and says when.
export function captureTitle(c) {
  return c.verdict || c.reason;
}

// captureBanner is the sentence at the top while a capture is open.
export function captureBanner(c, host) {
  const worst = mainTrigger(c);
  const what = c.verdict || (worst ? `${(worst.text || worst.kind).replace(/\.$/, "")} at ${clock(worst.ms)}` : c.reason);
  const words = [`Capture of ${host || "a host"}, ${moment(c.from)} to ${clock(c.to)}`, what].filter(Boolean);
  return `${words.join(". ").replace(/\.$/, "")}.`;
}

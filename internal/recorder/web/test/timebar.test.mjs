import assert from "node:assert/strict";
import test from "node:test";
import * as t from "../static/js/timebar.mjs";

const now = new Date(2026, 10, 22, 12, 0, 0).getTime();
const limits = { now, from: null, to: null };
const opened = { now, from: now - 1_200_000, to: now };

test("live follows now", () => {
  const state = t.start();
  assert.ok(t.isLive(state));
  assert.deepEqual(t.windowOf(state, limits), { from: now - 300_000, to: now });
  assert.deepEqual(t.windowOf(state, { ...limits, now: now + 5000 }), { from: now - 295_000, to: now + 5000 });
  assert.equal(t.cursorOf(state, limits), now);
});

test("a step back stops the bar, steps forward reach live again", () => {
  let state = t.stepBy(t.start(), -1, limits);
  assert.equal(t.stepOf(300), 5);
  assert.equal(state.at, now - 5000);
  assert.equal(state.edge, now);
  // Time goes on, the window does not.
  assert.deepEqual(t.windowOf(state, { ...limits, now: now + 60_000 }), { from: now - 300_000, to: now });
  state = t.stepBy(state, 1, limits);
  assert.ok(t.isLive(state));
});

test("a moment outside slides the window, one inside does not", () => {
  const inside = t.moveTo(t.start(), now - 100_000, limits);
  assert.equal(t.windowOf(inside, limits).to, now);
  const outside = t.moveTo(t.start(), now - 3_600_000, limits);
  const shown = t.windowOf(outside, limits);
  assert.ok(shown.from < outside.at && outside.at < shown.to);
  assert.equal(shown.to - shown.from, 300_000);
  assert.ok(t.isLive(t.moveTo(outside, now + 1, limits)));
});

test("a capture has ends", () => {
  const early = t.moveTo({ span: 1200, edge: null, at: null }, now - 9_000_000, opened);
  assert.equal(early.at, opened.from);
  assert.equal(t.windowOf(t.start(), opened).to, opened.to);
});

test("zoom", () => {
  const state = t.zoom(t.start(), now - 100_000, now - 200_000, limits);
  assert.deepEqual(t.windowOf(state, limits), { from: now - 200_000, to: now - 100_000 });
  assert.equal(t.zoom(t.start(), now - 100, now - 50, limits).span, t.MIN_SPAN);
  assert.ok(t.isLive(t.zoom(t.start(), now - 100_000, now + 5, limits)));
  const kept = t.zoom({ span: 300, edge: now, at: now - 150_000 }, now - 200_000, now - 100_000, limits);
  assert.equal(kept.at, now - 150_000);
  assert.equal(t.withSpan(t.start(), 3600, limits).span, 3600);
});

test("shares", () => {
  const shown = { from: 1000, to: 2000 };
  assert.equal(t.shareOf(1500, shown), 0.5);
  assert.equal(t.shareOf(999, shown), null);
  assert.equal(t.momentAt(0.25, shown), 1250);
  assert.equal(t.momentAt(7, shown), 2000);
});

test("resolution never has more points than asked for", () => {
  for (const { seconds } of t.RANGES) assert.ok(seconds / t.resolution(seconds, 600) <= 600, String(seconds));
  assert.equal(t.resolution(300, 600), 1);
});

test("what people type", () => {
  const is = (text, want) => assert.equal(t.parseMoment(text, now), want, text);
  is("now", now);
  is("-5m", now - 300_000);
  is("2h ago", now - 7_200_000);
  is("10:31", new Date(2026, 10, 22, 10, 31, 0).getTime());
  is("10:31:07", new Date(2026, 10, 22, 10, 31, 7).getTime());
  is("23:00", new Date(2026, 10, 21, 23, 0, 0).getTime()); // the last one
  is("2026-11-20 03:12", new Date(2026, 10, 20, 3, 12, 0).getTime());
  is("2026-11-20", new Date(2026, 10, 20).getTime());
  is("2026-11-20T03:12:00Z", Date.UTC(2026, 10, 20, 3, 12, 0));
  is("1763780400", 1763780400_000);
  for (const wrong of ["", "25:00", "10:61", "yesterday", "2026-13-01", "5"]) is(wrong, null);
});

test("the address carries the state", () => {
  for (const state of [t.start(), { span: 3600, edge: now, at: now - 5 }, { span: 3600, edge: now, at: null }]) {
    assert.deepEqual(t.fromParams(new URLSearchParams(t.toParams(state)), t.start()), state);
  }
  assert.equal(t.fromParams(new URLSearchParams("span=x"), t.start()).span, 300);
  assert.equal(t.fromParams(new URLSearchParams("span=1"), t.start()).span, t.MIN_SPAN);
});

test("grid", () => {
  const marks = t.gridOf({ from: now - 300_000, to: now }, 6);
  assert.ok(marks.length >= 3 && marks.length <= 7, String(marks.length));
  for (const ms of marks) assert.equal(new Date(ms).getSeconds(), 0);
});

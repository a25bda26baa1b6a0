import assert from "node:assert/strict";
import test from "node:test";
import { Ring, downsample, gridAlign, lastIndex, movers, number, outline } from "../static/js/series.mjs";

test("downsampling keeps every bucket's extremes", () => {
  const xs = Array.from({ length: 10000 }, (_, i) => i);
  const ys = xs.map((x) => Math.sin(x / 50));
  ys[4321] = 99; // a peak of one second
  ys[7777] = -99;
  const [dx, dy] = downsample(xs, ys, 300);
  assert.ok(dx.length <= 600);
  assert.equal(dy[dx.indexOf(4321)], 99);
  assert.equal(dy[dx.indexOf(7777)], -99);
  for (let i = 1; i < dx.length; i++) assert.ok(dx[i] > dx[i - 1]);
});

test("a short series is left alone, a gap stays a gap", () => {
  const short = [[1, 2], [3, 4]];
  assert.deepEqual(downsample(...short, 10), short);
  const ys = new Array(100).fill(null).map((_, i) => (i < 50 ? 1 : null));
  const [, dy] = downsample([...ys.keys()], ys, 10);
  assert.equal(dy.at(-1), null);
  assert.equal(dy[0], 1);
});

test("values of Prometheus", () => {
  assert.equal(number("1.5"), 1.5);
  assert.equal(number("NaN"), null);
  assert.equal(number("+Inf"), null);
  assert.equal(number("-Inf"), null);
});

test("series share an axis", () => {
  const window = { from: 100, to: 104, step: 2 };
  assert.deepEqual(gridAlign(window, [[[100, "1"], [104, "3"]], [[102, "NaN"], [104, "5"], [106, "9"]]]), [
    [100, 102, 104],
    [1, null, 3],
    [null, null, 5],
  ]);
});

test("the place of a moment", () => {
  assert.equal(lastIndex([1, 2, 3], 2), 1);
  assert.equal(lastIndex([1, 2, 3], 2.5), 1);
  assert.equal(lastIndex([1, 2, 3], 0), 0);
  assert.equal(lastIndex([1, 2, 3], 9), 2);
});

test("ring", () => {
  const ring = new Ring(3);
  for (const v of [1, 2, null, 4]) ring.push(v);
  assert.equal(ring.length, 3);
  assert.equal(ring.at(0), 2);
  assert.ok(Number.isNaN(ring.at(1)));
  assert.equal(ring.at(2), 4);
});

test("outline ends at the right edge and at the limit", () => {
  const ring = new Ring(5);
  ring.push(1);
  ring.push(2);
  const box = { width: 40, height: 10 };
  assert.deepEqual(outline(ring, box, 4), [[30, 7.5], [40, 5]]);
  assert.equal(outline(ring, box, 1)[1][1], 0); // above the limit: the value is the scale
  const idle = new Ring(2);
  idle.push(0);
  assert.deepEqual(outline(idle, box, 0), [[40, 10]]);
});

test("movers", () => {
  const before = new Map([["a", { cpu: 0.1, mem: 1 }], ["b", { cpu: 1, mem: 0 }], ["c", { cpu: 0, mem: 0 }]]);
  const after = new Map([["a", { cpu: 0.9, mem: 1 }], ["b", { cpu: 1.01, mem: 512 * 1024 ** 2 }], ["c", { cpu: 0, mem: null }], ["new", { cpu: 9 }]]);
  assert.deepEqual(movers(before, after, 3).map((m) => [m.id, m.what]), [["b", "memory"], ["a", "cpu"]]);
  assert.equal(movers(before, after, 1).length, 1);
});

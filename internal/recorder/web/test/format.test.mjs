import assert from "node:assert/strict";
import test from "node:test";
import * as f from "../static/js/format.mjs";

const is = (got, want) => assert.equal(got, want);

test("sizes", () => {
  is(f.bytes(0), "0 B");
  is(f.bytes(512 * 1024 ** 2), "512 MiB");
  is(f.bytes(1536), "1.5 KiB");
  is(f.bytes(1023.9), "1 KiB");
  is(f.bytes(NaN), "–");
  is(f.bytes(undefined), "–");
  is(f.bytesShort(310 * 1024 ** 2), "310M");
  is(f.byteRate(2048), "2 KiB/s");
});

test("numbers", () => {
  is(f.count(12000), "12k");
  is(f.count(999), "999");
  is(f.count(999.7), "1k");
  is(f.count(null), "–");
  is(f.percent(0.415), "42 %");
  is(f.percent(0.0312), "3.1 %");
  is(f.percent(0.0001), "<0.1 %");
  is(f.percent(0), "0 %");
  is(f.percent(0.1), "10 %");
  is(f.cores(0.41), "41");
  is(f.cores(0.004), "0.4");
});

test("durations", () => {
  is(f.duration(0), "0 s");
  is(f.duration(0.25), "250 ms");
  is(f.duration(59.9), "59 s");
  is(f.duration(93784), "1 d 2 h");
  is(f.duration(86400 + 120), "1 d");
  is(f.duration(3661), "1 h 1 min");
  is(f.duration(-90), "-1 min 30 s");
  is(f.duration(Infinity), "–");
  is(f.seconds(0.0123), "12 ms");
  is(f.seconds(0.00002), "20 µs");
  is(f.seconds(1.93), "1.9 s");
});

test("moments", () => {
  const noon = new Date(2026, 10, 22, 12, 3, 9).getTime();
  is(f.clock(noon), "12:03:09");
  is(f.date(noon), "2026-11-22");
  is(f.moment(noon, noon + 1000), "12:03:09");
  is(f.moment(noon, noon + 86400000), "2026-11-22 12:03:09");
  is(f.clock(null), "–");
  is(f.ago(noon, noon + 90000), "1 min 30 s ago");
  is(f.ago(noon + 60000, noon), "in 1 min");
  is(f.stamp(0), "1970-01-01T00:00:00.000Z");
});

test("words", () => {
  is(f.plural(1, "sample"), "1 sample");
  is(f.plural(0, "sample"), "0 samples");
  is(f.shortID("0123456789abcdef"), "0123456789ab");
  is(f.axis("cpu")(0.5), "50 %");
  is(f.axis("bytes")(1024), "1K");
  is(f.axis("")(1500), "1.5k");
});

test("narrow and full forms", () => {
  assert.equal(f.short(93784), "1d 2h");
  assert.equal(f.short(581), "9m 41s");
  assert.equal(f.short(0), "0s");
  assert.equal(f.short(null), f.NONE);
  assert.equal(f.quantity("bytes/s")(2048), "2 KiB/s");
  assert.equal(f.quantity("bytes")(536870912), "512 MiB");
  assert.equal(f.quantity("ratio")(0.5), "50 %");
});

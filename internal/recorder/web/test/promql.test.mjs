import assert from "node:assert/strict";
import test from "node:test";
import { COLUMNS, HOST, PANELS, applicationNames, lastValue, literal, ownRate, panelQueries, quote, rate, selector } from "../static/js/promql.mjs";

test("strings cannot end early", () => {
  assert.equal(quote("plain"), '"plain"');
  assert.equal(quote('a"b'), '"a\\"b"');
  assert.equal(quote("a\\"), '"a\\\\"');
  assert.equal(quote('\\"} or vector(1) #'), '"\\\\\\"} or vector(1) #"');
  assert.equal(quote("a\nb\tc\r"), '"a\\nb\\tc\\r"');
  assert.equal(quote("\u0000\u001f\u007f"), '"\\x00\\x1f\\x7f"');
  assert.equal(quote("größe"), '"größe"');
});

test("selectors", () => {
  assert.equal(selector("up"), "up");
  assert.equal(selector("up", { job: 'a"b' }), 'up{job="a\\"b"}');
  assert.equal(selector("up", { id: ["a.b", "c|d"] }), 'up{id=~"a\\\\.b|c\\\\|d"}');
  assert.equal(selector("", { a: "b" }), '{a="b"}');
  assert.equal(selector("my.metric", { "a.b": "c" }), '{"my.metric","a.b"="c"}');
});

test("literals match themselves", () => {
  for (const text of ["a.b*c", "[x](y){z}", "^$|\\"]) assert.ok(new RegExp(`^${literal(text)}$`).test(text));
});

test("panels ask for one container and nothing else", () => {
  const hostile = 'x"} or {a="';
  for (const panel of PANELS) {
    for (const { query } of panelQueries(panel, hostile, 15)) {
      assert.ok(query.includes('container_id="x\\"} or {a=\\""'), query);
    }
  }
});

test("rates span several samples", () => {
  // Samples of each second have a window of their own, rarer ones a longer one.
  assert.equal(rate("x", {}, 1), "(rate(x[12s]) and count_over_time(x[22s]) >= 4 or rate(x[45s]) and x)");
  assert.equal(rate("x", { a: "b" }, 5), '(rate(x{a="b"}[20s]) and count_over_time(x{a="b"}[22s]) >= 4 or rate(x{a="b"}[45s]) and x{a="b"})');
  assert.equal(rate("x", {}, 60), "(rate(x[240s]) and count_over_time(x[240s]) >= 4 or rate(x[240s]) and x)");
  // Applications send once a minute: two samples have to be in it.
  assert.equal(ownRate("x", {}, 1), "rate(x[45s]) and count_over_time(x[45s]) >= 3 or rate(x[150s])");
  assert.equal(ownRate("x", {}, 60), "rate(x[240s]) and count_over_time(x[240s]) >= 3 or rate(x[240s])");
  const [cpu] = PANELS;
  assert.equal(panelQueries(cpu, "a", 1)[0].query, 'container_cpu_usage{container_id="a"}');
  assert.equal(panelQueries(cpu, "a", 60)[0].query, 'max without () (max_over_time(container_cpu_usage{container_id="a"}[60s]) or container_cpu_usage{container_id="a"})');
});

test("every rate reaches the samples of a slow interval", () => {
  const rates = [...PANELS.flatMap((panel) => panelQueries(panel, "a", 1).map((q) => q.query)), ...Object.values(COLUMNS), ...HOST.map((h) => h.query(1))].filter((q) => q.includes("rate("));
  assert.ok(rates.length > 15);
  for (const query of rates) {
    const windows = [...query.matchAll(/rate\([^[]*\[(\d+)s\]\)/g)].map((m) => Number(m[1]));
    assert.ok(Math.max(...windows) >= 45, query);
  }
});

test("the rest", () => {
  assert.equal(COLUMNS.cpu, "last_over_time(container_cpu_usage[30s])");
  assert.equal(lastValue("up", 10), "last_over_time(up[30s])");
  assert.match(HOST[0].query(10), /^\(rate\(system_cpu_pressure_seconds_total\{psi_type="some"\}\[40s\]\)/);
  assert.match(applicationNames("a"), /^\{container_id="a",__name__!~"/);
});

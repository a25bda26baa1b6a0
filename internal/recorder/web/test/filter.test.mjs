import assert from "node:assert/strict";
import test from "node:test";
import { matches, parse, stateOf, withState } from "../static/js/filter.mjs";

const row = {
  id: "4f0c11aa", name: "worker", image: "shop/redis:7", project: "shop", service: "cache", state: "running",
  cpu: 0.6, mem: 600 * 1024 ** 2, memRatio: 0.85, pids: 12, conns: null, restarts: 2, tags: { "host.name": "host-7" },
};

const holds = (text, want) => assert.equal(matches(parse(text), row), want, text);

test("texts", () => {
  holds("", true);
  holds("work", true);
  holds("WORKER", true);
  holds("4f0c", true);
  holds("nginx", false);
  holds("-nginx", true);
  holds("-worker", false);
  holds("image:redis", true);
  holds("image:shop/redis:7", true);
  holds('name:"worker"', true);
  holds("project:shop name:api", false);
  holds("tag:host.name=host-7", true);
  holds("tag:host.name=host-8", false);
});

test("states", () => {
  holds("state:running", true);
  holds("state:up", true);
  holds("state:dead", false);
  holds("-state:dead", true);
  holds("state:all", true);
});

test("numbers", () => {
  holds("cpu>50", true);
  holds("cpu>60", false);
  holds("cpu>=60%", true);
  holds("mem>80", true);
  holds("mem>512M", true);
  holds("mem>1G", false);
  holds("memory<1GiB", true);
  holds("pids=12", true);
  holds("restarts>=3", false);
  holds("conn<5", false); // not known matches nothing
  holds("-conn<5", true);
});

test("what makes no sense is told and hides nothing", () => {
  for (const text of ["state:purple", "colour:red", "speed>5", "cpu>fast", "image:"]) {
    const filter = parse(text);
    assert.equal(filter.problems.length, 1, text);
    assert.ok(matches(filter, row), text);
  }
});

test("chips change only the state", () => {
  assert.equal(withState("redis state:dead cpu>5", "broken"), "state:broken redis cpu>5");
  assert.equal(withState("state:dead", ""), "");
  assert.equal(withState('"two words" x', "ended"), 'state:ended "two words" x');
  assert.equal(stateOf(parse("state:dead")), "ended");
  assert.equal(stateOf(parse("-state:dead")), "");
});

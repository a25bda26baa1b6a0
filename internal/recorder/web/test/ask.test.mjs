// useAsk and useStore on a page of their own.

import assert from "node:assert/strict";
import test from "node:test";
import { install } from "./page.mjs";

const view = install("", () => [404, {}]);
const { root, until } = view;
const EVERY = 50; // milliseconds
// pending are the turns that wait; others use other times.
const pending = new Set();
const [after, clear] = [globalThis.setTimeout, globalThis.clearTimeout];
globalThis.setTimeout = (f, ms, ...more) => {
  const timer = after(() => (pending.delete(timer), f(...more)), ms);
  if (ms === EVERY) pending.add(timer);
  return timer;
};
globalThis.clearTimeout = (timer) => (pending.delete(timer), clear(timer));

const { askAgain, useAsk } = await import("../static/js/ask.mjs");
const { Problem } = await import("../static/js/api.mjs");
const { Store, useStore } = await import("../static/js/store.mjs");
const { html, render } = await import("../static/js/view.mjs");

test("after an outage there is one turn and not two", async () => {
  let [asked, isAway] = [0, true];
  const ask = async () => {
    asked++;
    if (isAway) throw new Problem(0, "network", "away");
    return asked;
  };
  const Asking = () => html`<p data-says>${useAsk(ask, "key", EVERY).data}</p>`;
  render(html`<${Asking} />`, root);
  await until("it does not answer", () => asked === 1 && pending.size === 1);
  isAway = false;
  askAgain();
  await until("it does", () => asked >= 2 && pending.size > 0);
  // Each turn is one more or none: two loops would be two that wait.
  for (const until2 = asked + 6; asked < until2; await new Promise((done) => after(done, 1))) assert.ok(pending.size <= 1, `${pending.size} turns wait`);
  render(null, root);
});

test("a store is asked what the last rendering wants", async () => {
  const store = new Store({ now: 1, other: 0 });
  let every = 1000;
  let renderings = 0;
  const Beat = ({ every }) => {
    renderings++;
    return html`<p data-beat>${useStore(store, (s) => Math.floor(s.now / every))}</p>`;
  };
  const show = () => render(html`<${Beat} every=${every} />`, root);
  show();
  const beat = () => root.querySelector("[data-beat]").textContent;
  assert.equal(beat(), "0");
  every = 10;
  show();
  store.set({ now: 25 });
  await until("in steps of ten", () => beat() === "2");
  const was = renderings;
  store.set({ now: 26 });
  store.set({ other: 1 });
  await new Promise((done) => after(done, 20));
  assert.equal(renderings, was, "what is not picked renders nothing");
});

test("no error was left unseen", () => assert.deepEqual(view.unhandled, []));

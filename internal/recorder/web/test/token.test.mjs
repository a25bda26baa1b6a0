// A recorder that asks for its token.

import assert from "node:assert/strict";
import test from "node:test";
import { install } from "./page.mjs";

const view = install("", () => [401, { errorType: "unauthorized", error: "a token is needed" }]);
const { root, until } = view;
await import("../static/js/app.mjs");

test("Esc does not take the dialog away", async () => {
  await until("the dialog", () => root.querySelector("[data-dialog=token]")?.open);
  const dialog = root.querySelector("[data-dialog=token]");
  let isPrevented = false;
  dialog.fire("cancel", { preventDefault: () => (isPrevented = true) });
  assert.ok(isPrevented);
  // A browser closes it all the same when Esc comes twice.
  dialog.open = false;
  dialog.fire("close");
  assert.ok(root.querySelector("[data-dialog=token]").open);
});

test("Esc does not take the focus out of the field", async () => {
  let isLeft = false;
  view.key("Escape", { tagName: "INPUT", blur: () => (isLeft = true) });
  assert.ok(!isLeft);
});

// Keys that work on every page. They rest while somebody types in a field.

import * as timebar from "./timebar.mjs";

export const HELP = [
  ["[ and ]", "one step back, one step forward"],
  ["{ and }", "ten steps"],
  ["t", "jump to a moment"],
  ["l", "live: back to now"],
  ["+ and -", "zoom in and out"],
  ["/", "filter or search"],
  ["g then c, t, p, e, a", "go to Containers, Time line, Captures, Explore, Agent"],
  ["c", "capture what is shown"],
  ["?", "this help"],
  ["Esc", "close, leave the field"],
];

const PAGES = { c: "containers", t: "timeline", p: "captures", e: "explore", a: "agent" };

const typing = (node) => node && (node.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(node.tagName));

// listen binds the keys; it returns how to let go of them.
export function listen(session) {
  let isGoing = false;
  const take = (e) => {
    if (session.store.get("needToken")) return; // its dialog stays, and so does the focus in it
    if (e.key === "Escape") return escape(session, e);
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || session.store.get("dialog")) return;
    const goes = isGoing && PAGES[e.key];
    isGoing = e.key === "g";
    if (goes) session.go(goes);
    else if (!act(session, e.key)) return;
    e.preventDefault();
  };
  addEventListener("keydown", take);
  return () => removeEventListener("keydown", take);
}

function escape(session, e) {
  if (session.store.get("dialog")) session.store.set({ dialog: "" });
  else if (typing(e.target)) e.target.blur();
}

function act(session, key) {
  const time = session.store.get("time");
  const limits = session.limits();
  const steps = { "[": -1, "]": 1, "{": -10, "}": 10 }[key];
  if (steps) session.setTime(timebar.stepBy(time, steps, limits));
  else if (key === "l") session.setTime(timebar.live(time));
  else if (key === "+") session.setTime(timebar.withSpan(time, Math.round(time.span / 2), limits));
  else if (key === "-") session.setTime(timebar.withSpan(time, time.span * 2, limits));
  else if (key === "t") session.store.set({ dialog: "jump" });
  else if (key === "?") session.store.set({ dialog: "help" });
  else if (key === "c") session.store.set({ dialog: "capture" });
  else if (key === "/") focusSearch();
  else return false;
  return true;
}

function focusSearch() {
  const field = document.querySelector("[data-search]");
  if (field) {
    field.focus();
    field.select();
  }
}

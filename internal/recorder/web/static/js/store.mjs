// One store for what several parts of the page show, and one animation frame
// for everything that a second of data changes.

import { useEffect, useRef, useState } from "./view.mjs";

// Store holds plain values by key. set changes some of them and tells the
// subscribers once, after all are in place.
export class Store {
  constructor(values) {
    this.values = values;
    this.subscribers = new Set();
  }

  get(key) {
    return this.values[key];
  }

  set(changes) {
    let changed = false;
    for (const [key, value] of Object.entries(changes)) {
      if (Object.is(this.values[key], value)) continue;
      this.values[key] = value;
      changed = true;
    }
    if (changed) for (const tell of [...this.subscribers]) tell(this.values);
  }

  subscribe(tell) {
    this.subscribers.add(tell);
    return () => this.subscribers.delete(tell);
  }
}

// useStore renders a component anew only when what it picks has changed. It picks
// with the function of the last rendering, which may know more than the first.
export function useStore(store, pick) {
  const [, render] = useState(0);
  const latest = useRef(null);
  const value = pick(store.values);
  latest.current = { pick, value };
  useEffect(() => {
    const look = (values) => {
      if (!Object.is(latest.current.pick(values), latest.current.value)) render((n) => n + 1);
    };
    look(store.values);
    return store.subscribe(look);
  }, [store]);
  return value;
}

// Frame gathers requests and runs every listener once in the next animation
// frame. With one message a second the page paints once a second.
export class Frame {
  constructor() {
    this.listeners = new Set();
    this.waiting = false;
  }

  on(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  request() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const begun = performance.now();
      for (const listener of [...this.listeners]) listener();
      // Read by the test that measures the frame budget.
      document.documentElement.dataset.frameMs = (performance.now() - begun).toFixed(2);
    });
  }
}

// remember and recall keep a choice of the reader (theme, grouping) in this
// browser. Storage may be off; then the choice lasts as long as the page.
export function remember(key, value) {
  try {
    localStorage.setItem(`tallyman.${key}`, value);
  } catch {
    return;
  }
}

export function recall(key, fallback) {
  try {
    return localStorage.getItem(`tallyman.${key}`) || fallback;
  } catch {
    return fallback;
  }
}

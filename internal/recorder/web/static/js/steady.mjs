// The order of the rows, without the dance: while values change every second the
// rows keep their places for some seconds, and for as long as somebody points at
// them. New rows, gone rows and another choice of the reader count at once.

import { arrange } from "./order.mjs";

const KEEP = 5000; // milliseconds between two sortings: long enough to read and to click

export class Steady {
  constructor() {
    this.key = "";
    this.at = 0;
    this.places = []; // headers and ids
  }

  // list returns what arrange(rows, order) would, in the kept order. key stands for
  // all that makes a new one needed at once; isHeld keeps it beyond its time.
  list(rows, order, { key, now, isHeld }) {
    if (key === this.key && (isHeld || now - this.at < KEEP)) {
      const kept = this.kept(rows);
      if (kept) return kept;
    }
    this.key = key;
    this.at = now;
    const list = arrange(rows, order);
    this.places = list.map((item) => (item.header === undefined ? item.id : item));
    return list;
  }

  // kept is null when there are other rows than before.
  kept(rows) {
    const byID = new Map(rows.map((r) => [r.id, r]));
    const list = [];
    let n = 0;
    for (const place of this.places) {
      if (typeof place !== "string") {
        list.push(place);
        continue;
      }
      const row = byID.get(place);
      if (!row) return null;
      list.push(row);
      n++;
    }
    return n === rows.length ? list : null;
  }
}

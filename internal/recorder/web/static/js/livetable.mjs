// The table of containers. Rows have one height, so only those in sight exist;
// their cells are changed in place, and only where the text differs. Everything
// that reads the layout happens in scroll and resize handlers; paint writes.
//
// Not preact: 200 rows of 17 cells a second are 3,400 comparisons of strings,
// which is nothing, but as many virtual nodes would be garbage each second.

import { BOX, draw, make } from "./spark.mjs";
import * as f from "./format.mjs";
import { endedText, eventText, stateText } from "./story.mjs";
import { onTheme, palette } from "./theme.mjs";

const OVERSCAN = 6; // rows above and below, for smooth scrolling

// COLUMNS: key, heading, sort key, kind of cell, text. The kind "two" has a second
// line, "spark" a history behind two lines.
const COLUMNS = [
  { key: "state", label: "", kind: "state" },
  { key: "name", label: "Container", sort: "name", kind: "name" },
  { key: "up", label: "Up", sort: "up", kind: "up" },
  { key: "cpu", label: "CPU", title: "of one core; below it the limit", sort: "cpu", kind: "spark" },
  { key: "mem", label: "Memory", title: "in use; below it the limit", sort: "mem", kind: "spark" },
  { key: "throttled", label: "Thr.", title: "Throttled: share of the scheduler's periods", sort: "throttled", text: (r) => f.percent(r.throttled), isZero: (r) => !(r.throttled > 0), isOver: (r) => r.throttled >= 0.25 },
  { key: "psi", label: "PSI", title: "Pressure: share of time that something waits for CPU, memory, IO", sort: "psi", kind: "psi" },
  { key: "io", label: "Disk /s", title: "bytes read and written", sort: "io", kind: "two", lines: (r) => ways(r.ioRead, r.ioWrite, "R", "W") },
  { key: "net", label: "Net /s", title: "bytes received and sent", sort: "net", kind: "two", lines: (r) => ways(r.netRx, r.netTx, "↓", "↑") },
  { key: "conns", label: "Conn.", title: "TCP connections; below it those that fail per second", sort: "conns", kind: "two", lines: (r) => [f.count(r.conns), isNumber(r.connsFailed) && r.connsFailed > 0 ? `${f.count(r.connsFailed)} fail/s` : ""] },
  { key: "pids", label: "Tasks", sort: "pids", text: (r) => f.count(r.pids) },
  { key: "event", label: "Last event", sort: "event", kind: "two", lines: (r, now) => (r.lastEvent ? [ownWords(r), `${f.short((now - r.lastEvent.ms) / 1000)} ago`] : ["", ""]) },
];

// ownWords leaves out who it happened to: the row says so.
const ownWords = (r) => eventText(r.lastEvent).replace(/^The container (has )?/, "").replace(`Container ${r.name} `, "").replace(/\.$/, "");
const isNumber = (v) => typeof v === "number";
// ways are the two lines of what flows both ways; what does not flow has none.
const ways = (a, b, into, out) => (a > 0 || b > 0 ? [`${into} ${f.bytesShort(a)}`, `${out} ${f.bytesShort(b)}`] : [isNumber(a) || isNumber(b) ? "0" : f.NONE, ""]);

export class LiveTable {
  // hooks: sort(key), link(row) -> address, name(row) is set by the page.
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.items = [];
    this.nodes = new Map(); // key of an item -> its row
    this.free = [];
    this.colours = palette();
    this.isHeld = false;
    this.build();
    this.scrolled = () => {
      this.top = this.view.scrollTop;
      hooks.repaint();
    };
    this.view.addEventListener("scroll", this.scrolled, { passive: true });
    this.sizes = new ResizeObserver(() => this.measure());
    this.sizes.observe(this.view);
    this.unwatch = onTheme(() => {
      this.colours = palette();
      this.generation++;
      hooks.repaint();
    });
    this.generation = 0;
    this.top = 0;
    this.measure();
  }

  build() {
    this.head = element("div", "thead", { role: "row" });
    for (const column of COLUMNS) this.head.append(this.heading(column));
    this.view = element("div", "tview", { tabindex: "-1" });
    this.sizer = element("div", "tsizer", { role: "rowgroup" });
    this.view.append(this.sizer);
    this.root.append(this.head, this.view);
    // Rows keep their places while somebody points at them or has the focus there.
    for (const [kind, isHeld] of [["pointerenter", true], ["pointerleave", false], ["focusin", true], ["focusout", false]]) {
      this.view.addEventListener(kind, () => (this.isHeld = isHeld));
    }
  }

  heading(column) {
    const cell = element("div", `cell c-${column.key}`, { role: "columnheader" });
    if (!column.sort) {
      cell.textContent = column.label;
      return cell;
    }
    const button = element("button", "sort", { type: "button", "data-sort": column.sort });
    button.textContent = column.label;
    if (column.title) button.title = column.title;
    button.addEventListener("click", () => this.hooks.sort(column.sort));
    cell.append(button);
    return cell;
  }

  // showSort marks the column that the rows are sorted by.
  showSort(sort, down) {
    for (const cell of this.head.children) {
      const button = cell.querySelector("[data-sort]");
      const isIt = button && button.dataset.sort === sort;
      cell.setAttribute("aria-sort", isIt ? (down ? "descending" : "ascending") : "none");
    }
  }

  measure() {
    this.height = this.view.clientHeight;
    const row = parseFloat(getComputedStyle(this.root).getPropertyValue("--row"));
    this.row = row > 0 ? row : 44;
    this.hooks.repaint();
  }

  // set gives the rows to show: rows and headers as order.mjs arranges them.
  set(items) {
    this.items = items;
  }

  paint(now) {
    const { items, row } = this;
    write(this.sizer, "height", `${items.length * row}px`);
    const first = Math.max(0, Math.floor(this.top / row) - OVERSCAN);
    const end = Math.min(items.length, Math.ceil((this.top + this.height) / row) + OVERSCAN);
    const wanted = new Set();
    for (let i = first; i < end; i++) wanted.add(keyOf(items[i]));
    for (const [key, node] of this.nodes) {
      // Where the focus is it stays, also out of sight.
      if (wanted.has(key) || node.root.contains(document.activeElement)) continue;
      this.nodes.delete(key);
      hide(node.root, true);
      attribute(node.root, "data-container", "");
      this.sizer.appendChild(node.root);
      this.free.push(node);
    }
    for (let i = first; i < end; i++) this.place(items[i], i, now);
    this.inOrder(wanted);
    attribute(this.root, "aria-rowcount", String(items.length));
  }

  // inOrder puts the nodes in the order of the rows, which is that of Tab and of
  // readers of the screen. Most often they are. The one with the focus is never
  // moved, as it would lose it: the others go around it.
  inOrder(wanted) {
    let at = this.sizer.firstChild;
    for (const key of wanted) {
      const { root } = this.nodes.get(key);
      if (root !== at && root.contains(document.activeElement)) {
        while (at && at !== root) {
          const next = at.nextSibling;
          this.sizer.appendChild(at);
          at = next;
        }
      }
      if (root === at) at = at.nextSibling;
      else this.sizer.insertBefore(root, at);
    }
  }

  place(item, index, now) {
    const key = keyOf(item);
    let node = this.nodes.get(key);
    if (!node) {
      node = this.free.pop() || this.make();
      hide(node.root, false);
      this.nodes.set(key, node);
    }
    write(node.root, "transform", `translateY(${index * this.row}px)`);
    attribute(node.root, "aria-rowindex", String(index + 1));
    if (item.header !== undefined) this.fillHeader(node, item);
    else this.fill(node, item, now);
  }

  make() {
    const root = element("div", "trow", { role: "row" });
    const cells = {};
    for (const column of COLUMNS) {
      const cell = element("div", `cell c-${column.key}`, { role: "cell", "data-cell": column.key, "data-label": column.label });
      cells[column.key] = makeCell(column, cell);
      root.append(cell);
    }
    const header = element("div", "cell theader", { role: "cell" });
    header.hidden = true;
    root.append(header);
    this.sizer.append(root);
    return { root, cells, header, drawn: "" };
  }

  fillHeader(node, item) {
    attribute(node.root, "class", "trow tgroup");
    attribute(node.root, "data-container", "");
    attribute(node.root, "data-state", "");
    hide(node.header, false);
    text(node.header, `${item.header} (${item.count})`);
  }

  fill(node, r, now) {
    hide(node.header, true);
    attribute(node.root, "class", `trow is-${r.state}`);
    attribute(node.root, "data-container", r.id);
    attribute(node.root, "data-state", r.state);
    const c = node.cells;
    text(c.state.label, stateText(r));
    attribute(c.state.dot, "title", stateText(r));
    text(c.name.restarts, r.restarts > 0 ? `↻${r.restarts}` : "");
    text(c.name.link, r.name || f.shortID(r.id));
    attribute(c.name.link, "href", this.hooks.link(r));
    attribute(c.name.link, "title", r.name);
    text(c.name.under, [r.project, r.image].filter(Boolean).join(" · ") || f.NONE);
    fillUp(c.up, r, now);
    for (const column of COLUMNS) fillText(column, c[column.key], r, now);
    attribute(c.event.cell, "title", r.lastEvent ? `${f.stamp(r.lastEvent.ms)} ${eventText(r.lastEvent)}` : "");
    this.fillLoad(c, r);
    this.drawSparks(node, r);
  }

  fillLoad(c, r) {
    text(c.cpu.text, isNumber(r.cpu) ? `${f.cores(r.cpu)} %` : f.NONE);
    text(c.cpu.under, r.cpuLimit > 0 ? `of ${f.cores(r.cpuLimit)} %` : "");
    text(c.mem.text, f.bytes(r.mem));
    text(c.mem.under, r.memLimit > 0 ? `of ${f.bytes(r.memLimit)}` : "");
    const shares = [r.psiCpu, r.psiMem, r.psiIo].map(share);
    c.psi.bars.forEach((bar, i) => write(bar, "transform", `scaleY(${shares[i]})`));
    attribute(c.psi.cell, "title", `CPU ${f.percent(r.psiCpu)}, memory ${f.percent(r.psiMem)}, IO ${f.percent(r.psiIo)}`);
    // Without a limit there is nothing to fill.
    hide(c.mem.track, !(r.memLimit > 0));
    write(c.mem.fill, "transform", `scaleX(${share(r.memRatio)})`);
    attribute(c.mem.fill, "class", `fill${r.memRatio >= 0.9 ? " is-near" : r.memRatio >= 0.75 ? " is-warm" : ""}`);
  }

  // drawSparks paints only when there is a new second, another container in
  // the row, or another theme.
  drawSparks(node, r) {
    const stamp = `${r.id} ${r.history ? r.history.cpu.next : -1} ${r.tick || 0} ${this.generation}`;
    if (node.drawn === stamp) return;
    node.drawn = stamp;
    for (const [key, ring, top] of r.history ? [["cpu", r.history.cpu, r.cpuLimit], ["mem", r.history.mem, r.memLimit]] : []) {
      draw(node.cells[key].canvas, ring, top || 0, this.colours);
    }
    for (const key of ["cpu", "mem"]) hide(node.cells[key].canvas, !r.history);
  }

  close() {
    this.view.removeEventListener("scroll", this.scrolled);
    this.sizes.disconnect();
    this.unwatch();
    this.root.replaceChildren();
  }
}

const keyOf = (item) => (item.header !== undefined ? `header ${item.header}` : item.id);

// share is a number between 0 and 1 for a bar; unknown is empty.
function share(v) {
  return isNumber(v) ? Math.min(1, Math.max(0, v)).toFixed(3) : "0";
}

// fillUp says how long it runs, or how and when it ended.
function fillUp(c, r, now) {
  const isEnded = r.state === "ended";
  const why = endedText(r);
  text(c.text, isEnded ? "" : r.start === null ? f.NONE : f.short((now - r.start) / 1000));
  hide(c.text, isEnded);
  text(c.badge, isEnded ? why || "ended" : r.state === "broken" ? "degraded" : "");
  hide(c.badge, !isEnded && r.state !== "broken");
  const isBad = r.oomKilled || r.state === "broken";
  attribute(c.badge, "class", `badge${isBad ? " is-oom" : r.exitCode ? " is-exit" : ""}`);
  text(c.under, isEnded && r.stop !== null ? f.moment(r.stop, now) : "");
  hide(c.under, !isEnded || r.stop === null);
}

function fillText(column, c, r, now) {
  if (column.lines) {
    const [first, second] = column.lines(r, now);
    text(c.text, first);
    text(c.under, second);
    attribute(c.text, "class", first === "0" ? "is-zero" : "");
  } else if (column.text) {
    text(c.text, column.text(r, now));
    const isOver = column.isOver && column.isOver(r);
    attribute(c.text, "class", isOver ? "is-over" : column.isZero && column.isZero(r) ? "is-zero" : "");
  }
}

function makeCell(column, cell) {
  switch (column.kind) {
    case "state": {
      const [dot, label] = [element("span", "dot"), element("span", "sr")];
      cell.append(dot, label);
      return { cell, dot, label };
    }
    case "name": {
      const [line, link, restarts, under] = [element("span", "nameline"), element("a", "rowlink"), element("span", "restarts", { title: "restarts" }), element("span", "under")];
      line.append(link, restarts);
      cell.append(line, under);
      return { cell, link, restarts, under };
    }
    case "psi": {
      const bars = [0, 1, 2].map((i) => {
        const track = element("span", `psi psi-${i}`);
        const bar = element("i", "");
        track.append(bar);
        cell.append(track);
        return bar;
      });
      return { cell, bars };
    }
    case "spark": {
      const [pair, words, under, canvas] = [element("span", "pair"), element("span", ""), element("span", "under"), make()];
      canvas.style.width = `${BOX.width}px`;
      canvas.style.height = `${BOX.height}px`;
      for (const line of [words, under]) line.style.display = "block";
      pair.append(words, under);
      cell.append(pair, canvas);
      if (column.key !== "mem") return { cell, text: words, under, canvas };
      const [track, fill] = [element("span", "track2"), element("i", "fill")];
      track.append(fill);
      cell.append(track);
      return { cell, text: words, under, canvas, track, fill };
    }
    case "up": {
      const [words, badge, under] = [element("span", ""), element("span", "badge"), element("span", "under")];
      cell.append(words, badge, under);
      return { cell, text: words, badge, under };
    }
    default: {
      const [words, under] = [element("span", ""), element("span", "under")];
      cell.append(words, under);
      return { cell, text: words, under };
    }
  }
}

function element(tag, className, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// text, attribute and write touch the page only when something changes. What
// they wrote last is kept beside the node, as reading it back would cost.
function text(node, value) {
  if (node.lastText === value) return;
  node.lastText = value;
  node.textContent = value;
}

function attribute(node, name, value) {
  const key = `last-${name}`;
  if (node[key] === value) return;
  node[key] = value;
  node.setAttribute(name, value);
}

function write(node, property, value) {
  const key = `last-${property}`;
  if (node[key] === value) return;
  node[key] = value;
  node.style[property] = value;
}

function hide(node, isHidden) {
  if (node.lastHidden === isHidden) return;
  node.lastHidden = isHidden;
  node.hidden = isHidden;
}

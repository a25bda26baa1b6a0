// A page just large enough to run the view without a browser: nodes, attributes,
// events, frames. It lays nothing out; sizes are constants. Real layout, styles
// and plots are tested in a browser.

class Node {
  constructor(page, name, type) {
    Object.assign(this, { page, nodeType: type, nodeName: name.toUpperCase(), localName: name, childNodes: [], parentNode: null, attributes: [], listeners: {} });
    this.tagName = this.nodeName;
    this.dataset = new Proxy({}, { get: (t, k) => this.getAttribute(dashed(k)) ?? undefined, set: (t, k, v) => (this.setAttribute(dashed(k), v), true), deleteProperty: (t, k) => (this.removeAttribute(dashed(k)), true) });
    this.style = { setProperty(k, v) { this[k] = v; } };
    this.scrollTop = 0;
    this.className = "";
    this.ownerDocument = page;
    // preact lowers the name of an event that the node knows.
    for (const k of ["click", "input", "change", "submit", "keydown", "close", "cancel", "blur", "pointerdown", "pointermove", "pointerup", "pointerleave"]) this[`on${k}`] = null;
  }
  get clientWidth() { return 800; }
  get clientHeight() { return 400; }
  get firstChild() { return this.childNodes[0] || null; }
  get parentElement() { return this.parentNode; }
  get children() { return this.childNodes.filter((n) => n.nodeType === 1); }
  get nextSibling() {
    const all = this.parentNode ? this.parentNode.childNodes : [];
    return all[all.indexOf(this) + 1] || null;
  }
  get textContent() { return this.nodeType === 3 ? this.data : this.childNodes.map((n) => n.textContent).join(""); }
  set textContent(v) {
    if (this.nodeType === 3) this.data = String(v);
    else this.replaceChildren(...(v === "" ? [] : [this.page.createTextNode(v)]));
  }
  insertBefore(node, before) {
    if (node.parentNode) node.parentNode.removeChild(node);
    const i = before ? this.childNodes.indexOf(before) : -1;
    this.childNodes.splice(i < 0 ? this.childNodes.length : i, 0, node);
    node.parentNode = this;
    return node;
  }
  appendChild(node) { return this.insertBefore(node, null); }
  append(...nodes) { nodes.forEach((n) => this.appendChild(n)); }
  removeChild(node) {
    this.childNodes = this.childNodes.filter((n) => n !== node);
    node.parentNode = null;
    return node;
  }
  remove() { if (this.parentNode) this.parentNode.removeChild(this); }
  replaceChildren(...nodes) {
    for (const n of [...this.childNodes]) this.removeChild(n);
    this.append(...nodes);
  }
  contains(node) { return node === this || this.childNodes.some((n) => n.contains(node)); }
  setAttribute(k, v) {
    this.removeAttribute(k);
    this.attributes.push({ name: k, value: String(v) });
    if (k === "class") this.className = String(v);
  }
  getAttribute(k) {
    const found = this.attributes.find((a) => a.name === k);
    return found ? found.value : null;
  }
  removeAttribute(k) { this.attributes = this.attributes.filter((a) => a.name !== k); }
  addEventListener(k, f) { (this.listeners[k] ||= new Set()).add(f); }
  removeEventListener(k, f) { (this.listeners[k] ||= new Set()).delete(f); }
  dispatchEvent(e) {
    e.target ||= this;
    e.currentTarget = this;
    for (const f of [...(this.listeners[e.type] || [])]) f.call(this, e);
    return true;
  }
  fire(type, more = {}) { this.dispatchEvent({ type, preventDefault() {}, ...more }); }
  click() { this.fire("click"); }
  focus() { this.page.activeElement = this; }
  blur() {}
  select() {}
  showModal() { this.open = true; }
  setPointerCapture() {}
  matches() { return false; }
  getBoundingClientRect() { return { left: 0, top: 0, width: 800, height: 400 }; }
  getContext() { return new Proxy({ measureText: (text) => ({ width: 7 * text.length }) }, { get: (t, k) => t[k] ?? (() => {}), set: (t, k, v) => ((t[k] = v), true) }); }
  *walk() {
    yield this;
    for (const n of this.childNodes) yield* n.walk();
  }
  // Only [data-x] and [data-x=value], which is what tests are to use.
  all(selector) {
    const m = /^\[([\w-]+)(?:="?([^"\]]*)"?)?\]$/.exec(selector);
    if (!m) throw new Error(`selector ${selector}`);
    return [...this.walk()].filter((n) => n.nodeType === 1 && n.getAttribute(m[1]) !== null && (m[2] === undefined || n.getAttribute(m[1]) === m[2]));
  }
  querySelector(selector) { return this.all(selector)[0] || null; }
}

const dashed = (k) => `data-${String(k).replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;

// install puts a page into the globals of this process and returns it. answer
// is called with the path and the parameters of each request.
export function install(hash, answer) {
  const page = new Node(null, "#document", 9);
  page.page = page;
  page.createElement = (name) => new Node(page, name, 1);
  page.createElementNS = (ns, name) => new Node(page, name, 1);
  page.createTextNode = (text) => Object.assign(new Node(page, "#text", 3), { data: String(text) });
  page.documentElement = page.appendChild(page.createElement("html"));
  const root = page.documentElement.appendChild(page.createElement("div"));
  root.id = "app";
  page.getElementById = (id) => [...page.walk()].find((n) => n.id === id) || null;
  const unhandled = [];
  const requests = [];
  const listeners = new Node(page, "window", 1);
  const streams = [];
  // Timers that never end must not keep the test running.
  const [after, each] = [globalThis.setTimeout, globalThis.setInterval];
  const globals = {
    setTimeout: (f, ms, ...more) => {
      const timer = after(f, ms, ...more);
      if (ms >= 1000) timer.unref();
      return timer;
    },
    setInterval: (...more) => each(...more).unref(),
    document: page,
    window: globalThis,
    location: { hash, reload() {} },
    history: { replaceState: (s, t, to) => (globalThis.location.hash = to) },
    devicePixelRatio: 1,
    innerWidth: 800,
    addEventListener: (k, f) => listeners.addEventListener(k, f),
    removeEventListener: (k, f) => listeners.removeEventListener(k, f),
    requestAnimationFrame: (f) => setTimeout(f, 0),
    cancelAnimationFrame: clearTimeout,
    getComputedStyle: () => ({ getPropertyValue: (k) => (k === "--row" ? "40px" : "#123456") }),
    matchMedia: () => ({ addEventListener() {}, removeEventListener() {} }),
    MutationObserver: class { observe() {} disconnect() {} },
    // As a browser: nothing is told any more after disconnect.
    ResizeObserver: class {
      constructor(f) { this.f = f; }
      observe() { this.timer = setTimeout(() => this.f(), 0); }
      disconnect() { clearTimeout(this.timer); }
    },
    localStorage: { getItem: () => null, setItem() {} },
    EventSource: class {
      constructor() { this.on = {}; this.open = true; streams.push(this); }
      addEventListener(k, f) { this.on[k] = f; }
      close() { this.open = false; }
      say(kind, data) { this.on[kind]({ data: JSON.stringify(data) }); }
    },
    uPlot: class {
      constructor(options) { this.options = options; this.width = options.width; globalThis.plots = (globalThis.plots || 0) + 1; }
      setData() {} setSize() {} redraw() {} destroy() {}
    },
    fetch: async (path, options) => {
      const url = new URL(path, "http://recorder");
      requests.push(`${options.method} ${path}`);
      const [status, body] = await answer(url.pathname, url.searchParams, options);
      return { ok: status < 300, status, statusText: "", headers: { get: () => "application/json" }, json: async () => body, text: async () => String(body) };
    },
  };
  for (const [key, value] of Object.entries(globals)) Object.defineProperty(globalThis, key, { value, configurable: true, writable: true });
  process.on("unhandledRejection", (e) => unhandled.push(e));
  return {
    page, root, requests, streams, unhandled,
    show: (seen) => {
      page.hidden = !seen;
      page.fire("visibilitychange", {});
    },
    key: (key, target = root) => listeners.fire("keydown", { key, target }),
    go: (to) => {
      globalThis.location.hash = to;
      listeners.fire("hashchange");
    },
    until: async (what, condition) => {
      for (const deadline = Date.now() + 5000; Date.now() < deadline; await new Promise((r) => setTimeout(r, 10))) if (condition()) return;
      throw new Error(`${what}: not within 5 s; the page reads: ${root.textContent.slice(0, 600)}`);
    },
  };
}

// Calls of the recorder's HTTP API. Every failure is a Problem with a sentence
// that can be shown.

export class Problem extends Error {
  constructor(status, kind, text) {
    super(text);
    this.status = status;
    this.kind = kind;
  }
}

// PAUSES before a question is asked again that did not reach the recorder. Browsers
// on Linux cut every connection, those to this host too, when an interface comes or
// goes (net::ERR_NETWORK_CHANGED): on a host of containers that is each start and end.
const PAUSES = [250, 1000]; // milliseconds

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Client {
  // onUnauthorized is called when the server asks for the token.
  constructor(onUnauthorized) {
    this.onUnauthorized = onUnauthorized;
  }

  get(path, params, signal) {
    return this.send("GET", path + query(params), { signal });
  }

  post(path, body) {
    return this.send("POST", path, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  }

  async send(method, path, options = {}) {
    const response = await this.reach(method, path, options);
    if (response.status === 401 && path !== "/api/login") this.onUnauthorized();
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return null;
    const isJSON = (response.headers.get("Content-Type") || "").startsWith("application/json");
    return isJSON ? response.json() : response.text();
  }

  // reach asks again what can be asked twice.
  async reach(method, path, options) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await fetch(path, { method, credentials: "same-origin", ...options });
      } catch (cause) {
        if (cause.name === "AbortError") throw cause;
        if (method !== "GET" || attempt === PAUSES.length) throw new Problem(0, "network", "The recorder does not answer.");
        await pause(PAUSES[attempt]);
      }
    }
  }

  // instant and range return the data member of the answer.
  async instant(expr, seconds, signal) {
    return (await this.get("/api/v1/query", { query: expr, time: seconds }, signal)).data;
  }

  async range(expr, window, signal) {
    const params = { query: expr, start: window.from, end: window.to, step: window.step };
    return (await this.get("/api/v1/query_range", params, signal)).data;
  }
}

async function problemOf(response) {
  try {
    const body = await response.json();
    return new Problem(response.status, body.errorType || "", body.error || response.statusText);
  } catch {
    return new Problem(response.status, "", `The recorder answered with ${response.status}.`);
  }
}

function query(params) {
  const list = new URLSearchParams();
  for (const [key, value] of Object.entries(params || {})) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== undefined && v !== null && v !== "") list.append(key, v);
    }
  }
  const text = list.toString();
  return text ? `?${text}` : "";
}

// Delays between attempts to open the stream anew: quick at first, since most
// often an interface came or went, or the agent restarts, then once in ten seconds.
const RETRY = [250, 1000, 2000, 5000, 10000];

// Stream is /api/live. The browser would reconnect a broken connection by itself,
// but gives up after an answer such as 503, and waits longer than needs be; so a
// new one is opened here. A stream
// that has been silent for ten seconds, although every second has a message,
// is taken for dead.
//
// A page that nobody sees has none: a browser opens six connections to a host, so
// that six tabs would take them all and the seventh would wait for ever.
export class Stream {
  // handlers: message(kind, data) and state("open" | "waiting").
  constructor(path, handlers) {
    this.path = path;
    this.handlers = handlers;
    this.attempt = 0;
    this.closed = false;
    this.look = () => (document.hidden ? this.rest() : this.wake());
    document.addEventListener("visibilitychange", this.look);
    this.resting = document.hidden === true;
    if (!this.resting) this.open();
  }

  rest() {
    this.resting = true;
    this.source?.close();
    clearTimeout(this.silence);
    clearTimeout(this.timer);
  }

  wake() {
    if (!this.resting || this.closed) return;
    this.resting = false;
    this.attempt = 0;
    // Nobody listened meanwhile: what was missed is to be asked for.
    this.handlers.state("waiting");
    this.open();
  }

  open() {
    this.source = new EventSource(this.path);
    for (const kind of ["hello", "rows", "events", "entities", "captures"]) {
      this.source.addEventListener(kind, (m) => this.take(kind, m.data));
    }
    this.source.onerror = () => {
      this.handlers.state("waiting");
      this.again();
    };
    this.watch();
  }

  take(kind, data) {
    this.attempt = 0;
    this.watch();
    this.handlers.state("open");
    this.handlers.message(kind, JSON.parse(data));
  }

  watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.handlers.state("waiting");
      this.again();
    }, 10000);
  }

  again() {
    this.source.close();
    clearTimeout(this.silence);
    clearTimeout(this.timer);
    if (this.closed) return;
    const delay = RETRY[Math.min(this.attempt++, RETRY.length - 1)];
    this.timer = setTimeout(() => this.open(), delay);
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.look);
    clearTimeout(this.silence);
    clearTimeout(this.timer);
    this.source?.close();
  }
}

// The filter of the Containers page: words and terms, all of which must hold.
//
//   worker              the text anywhere in name, image, id, project, service
//   state:dead          running, dead (ended), broken, all
//   image:redis         name, image, project, service, id and tag
//   cpu>50              cpu and mem in percent of the limit, also with a size:
//   mem>=512M           cpu, mem, limit, pids, conn, throttled, restarts
//   -image:redis        a minus in front of a term turns it round
//   name:"two words"    quotes keep spaces
//
// A term that makes no sense is reported and left out; it never hides rows.

const TEXT_KEYS = ["name", "image", "project", "service", "id", "tag", "state"];

const SCALE = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

// NUMBERS reads one number of a row. cpu is percent of one core, mem percent
// of the limit, memory bytes; null is not known and matches nothing.
const NUMBERS = {
  cpu: (row) => times100(row.cpu),
  mem: (row) => times100(row.memRatio),
  memory: (row) => row.mem,
  limit: (row) => row.memLimit,
  throttled: (row) => times100(row.throttled),
  pids: (row) => row.pids,
  conn: (row) => row.conns,
  restarts: (row) => row.restarts,
};

const STATES = {
  running: "running",
  run: "running",
  up: "running",
  dead: "ended",
  ended: "ended",
  stopped: "ended",
  broken: "broken",
  degraded: "broken",
};

const times100 = (v) => (typeof v === "number" ? v * 100 : null);

// split cuts at spaces outside double quotes.
function split(text) {
  return text.match(/(?:[^\s"]|"[^"]*"?)+/g) || [];
}

const unquote = (text) => text.replaceAll('"', "");

// parse reads a filter into { terms, problems }.
export function parse(text) {
  const terms = [];
  const problems = [];
  for (const raw of split(text || "")) {
    const not = raw.length > 1 && raw.startsWith("-");
    const term = parseTerm(not ? raw.slice(1) : raw);
    if (term.problem) problems.push(term.problem);
    else terms.push({ ...term, not });
  }
  return { terms, problems };
}

function parseTerm(raw) {
  const compared = /^([a-z]+)(>=|<=|>|<|=)(.+)$/i.exec(raw);
  if (compared) return parseNumber(compared[1].toLowerCase(), compared[2], compared[3]);
  const keyed = /^([a-z]+):(.*)$/i.exec(raw);
  if (!keyed) return { kind: "any", value: unquote(raw).toLowerCase() };
  const key = keyed[1].toLowerCase();
  const value = unquote(keyed[2]).toLowerCase();
  if (!TEXT_KEYS.includes(key)) return { problem: `“${key}:” is not a field. Use ${TEXT_KEYS.join(", ")}.` };
  if (value === "") return { problem: `“${key}:” needs a value.` };
  if (key === "state") return parseState(value);
  return { kind: "text", key, value };
}

function parseState(value) {
  if (value === "all" || value === "any") return { kind: "all" };
  const state = STATES[value];
  return state ? { kind: "state", value: state } : { problem: `“${value}” is not a state. Use running, dead, broken or all.` };
}

function parseNumber(key, op, text) {
  if (!NUMBERS[key]) return { problem: `“${key}” has no number. Use ${Object.keys(NUMBERS).join(", ")}.` };
  const m = /^(\d+(?:\.\d+)?)\s*([kmgt])?(?:i?b)?(%)?$/i.exec(unquote(text));
  if (!m) return { problem: `“${text}” is not a number.` };
  const value = Number(m[1]) * (m[2] ? SCALE[m[2].toLowerCase()] : 1);
  // mem>512M means bytes, mem>80 means percent of the limit.
  return { kind: "number", key: key === "mem" && m[2] ? "memory" : key, op, value };
}

// matches tells whether a row passes every term.
export function matches(filter, row) {
  return filter.terms.every((term) => holds(term, row) !== term.not);
}

function holds(term, row) {
  switch (term.kind) {
    case "all":
      return true;
    case "any":
      return [row.name, row.image, row.id, row.project, row.service].some((v) => has(v, term.value));
    case "text":
      return term.key === "tag" ? hasTag(row.tags, term.value) : has(row[term.key], term.value);
    case "state":
      return row.state === term.value;
    default:
      return compare(NUMBERS[term.key](row), term.op, term.value);
  }
}

const has = (text, part) => typeof text === "string" && text.toLowerCase().includes(part);

// hasTag takes tag:key and tag:key=value.
function hasTag(tags, want) {
  return Object.entries(tags || {}).some(([key, value]) => `${key}=${value}`.toLowerCase().includes(want));
}

function compare(v, op, want) {
  if (typeof v !== "number" || Number.isNaN(v)) return false;
  switch (op) {
    case ">":
      return v > want;
    case ">=":
      return v >= want;
    case "<":
      return v < want;
    case "<=":
      return v <= want;
    default:
      return v === want;
  }
}

// withState puts one state term in place of those that are there; the chips
// above the table use it. An empty state removes them.
export function withState(text, state) {
  const kept = split(text || "").filter((term) => !/^-?state:/i.test(term));
  if (state) kept.unshift(`state:${state}`);
  return kept.join(" ");
}

// stateOf is the state that a filter asks for, or "".
export function stateOf(filter) {
  const term = filter.terms.find((t) => t.kind === "state" && !t.not);
  return term ? term.value : "";
}

// PromQL that the pages ask. Names are those of TELEMETRY.md as the recorder
// stores them: dots as underscores, units and _total as suffixes.

// quote writes a string literal. PromQL reads Go escapes, so backslash, quote
// and everything that could end the line are escaped.
export function quote(text) {
  const escaped = String(text)
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t")
    // What else does not print is written by its code.
    .replace(/[\u0000-\u001f\u007f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${escaped}"`;
}

// literal makes text match itself within a regular expression (RE2).
export function literal(text) {
  return String(text).replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

// A label name needs no quotes if it looks like this; others are written as
// UTF-8 names, which PromQL reads in quotes.
const PLAIN = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

// selector: selector("up", { job: "x" }) -> up{job="x"}. A list of values
// matches any of them; an empty object selects by name alone.
export function selector(name, labels = {}) {
  const parts = Object.entries(labels).map(([key, value]) => {
    const label = PLAIN.test(key) ? key : quote(key);
    if (!Array.isArray(value)) return `${label}=${quote(value)}`;
    return `${label}=~${quote(value.map(literal).join("|"))}`;
  });
  if (name !== "" && !PLAIN.test(name)) return `{${[quote(name), ...parts].join(",")}}`;
  return parts.length ? `${name}{${parts.join(",")}}` : name;
}

// Windows of rates in seconds. NEAR always holds two samples of a container that is
// silent (one in 5 s while nothing changes), one of them late; a plot of hours has four
// of its steps. FAR is for what comes more rarely: four samples at one in ten seconds,
// as connections do by default and all metrics where collection_interval is 10s, of
// which one may be late. MIDDLE holds FREQUENT samples at one in 5 s, one of them late,
// and fewer at one in 10 s.
const NEAR = 12;
const FAR = 45;
const MIDDLE = 22;
const FREQUENT = 4;

// The same for what an application sends itself: by default each minute
// (OTEL_METRIC_EXPORT_INTERVAL of OpenTelemetry's SDKs), so that two samples are
// always within FAR_OWN; NEAR_OWN has four of those that come every ten seconds.
const NEAR_OWN = 45;
const FAR_OWN = 150;

// LEAST is how many samples the near window of an application's counter needs. With
// two or less it would hold one now and none a second later, and the line would jump
// between the two windows.
const LEAST = 3;

// rate looks back as little as the samples allow. Each series has its own distance, so
// it is chosen for each by PromQL: by the samples in MIDDLE. With those in the near
// window counted the line would jump where a container falls silent, and with those in
// the far one that of a young container would begin too low. "and" ends a line with its
// container: the far window would see samples for some time after.
export function rate(name, labels, step) {
  const s = selector(name, labels);
  const within = (seconds) => `${s}[${Math.ceil(Math.max(seconds, 4 * step))}s]`;
  return `(rate(${within(NEAR)}) and count_over_time(${within(MIDDLE)}) >= ${FREQUENT} or rate(${within(FAR)}) and ${s})`;
}

// ownRate is that of an application's counter. A sample may be older than the engine
// looks back for one (30 s), so that "and" would cut the line.
export function ownRate(name, labels, step) {
  const s = selector(name, labels);
  return `${near(s, Math.max(NEAR_OWN, 4 * step))} or rate(${s}[${Math.ceil(Math.max(FAR_OWN, 4 * step))}s])`;
}

const near = (s, seconds) => `rate(${s}[${Math.ceil(seconds)}s]) and count_over_time(${s}[${Math.ceil(seconds)}s]) >= ${LEAST}`;

const gauge = (name) => (labels, step) => peak(name, labels, step);

// peak: a plot of hours draws one point per minute; the highest value within
// each is what matters after an incident. Where samples come more rarely than points,
// the last one stands in. "max without ()" takes the name away from both alike.
function peak(name, labels, step) {
  const s = selector(name, labels);
  return step > 2 ? `max without () (max_over_time(${s}[${Math.ceil(step)}s]) or ${s})` : s;
}

const sumRate = (name, by, extra) => (labels, step) => {
  const inner = rate(name, { ...labels, ...extra }, step);
  return by ? `sum by (${by}) (${inner})` : `sum(${inner})`;
};

const psi = (what) => sumRate(`container_${what}_pressure_seconds_total`, "", { psi_type: "some" });

// throttled is as the live table counts it: the share of periods that ended so.
const throttled = (labels, step) => {
  const name = "container_cpu_throttling_periods_total";
  return `sum(${rate(name, { ...labels, cpu_throttled: "true" }, step)}) / sum(${rate(name, labels, step)})`;
};

// line is one query of a panel: label is the text of the legend, by the name of
// the label whose values split it into several lines.
const line = (label, build, more = {}) => ({ label, build, ...more });

// PANELS are the plots of the container page, in their order.
export const PANELS = [
  {
    key: "cpu",
    title: "CPU, % of one core",
    unit: "cpu",
    lines: [
      line("used", gauge("container_cpu_usage")),
      line("limit", gauge("container_cpu_limit"), { limit: true }),
    ],
  },
  {
    key: "memory",
    title: "Memory",
    unit: "bytes",
    lines: [
      line("used", gauge("container_memory_usage_bytes")),
      line("limit", gauge("container_memory_limit_bytes"), { limit: true }),
      line("processes", gauge("container_memory_rss_bytes")),
      line("file cache", gauge("container_memory_cache_bytes")),
      line("kernel", gauge("container_memory_kernel_bytes")),
      line("swap", gauge("container_memory_swap_usage_bytes")),
    ],
  },
  {
    key: "psi",
    title: "Pressure: share of time that something waits",
    unit: "ratio",
    lines: [line("CPU", psi("cpu")), line("memory", psi("memory")), line("IO", psi("io"))],
  },
  {
    key: "throttled",
    title: "Throttled: share of the scheduler's periods",
    unit: "ratio",
    lines: [line("throttled", throttled)],
  },
  {
    key: "io",
    title: "Disk",
    unit: "bytes/s",
    lines: [line("", sumRate("container_disk_io_bytes_total", "disk_io_direction"), { by: "disk_io_direction" })],
  },
  {
    key: "net",
    title: "Network",
    unit: "bytes/s",
    lines: [line("", sumRate("container_network_io_bytes_total", "network_io_direction"), { by: "network_io_direction" })],
  },
  {
    key: "conns",
    title: "Connections",
    unit: "count",
    lines: [
      line("open", (labels) => `sum(${selector("container_network_tcp_connection_count", { ...labels, network_connection_state: "established" })})`),
      line("", sumRate("container_connection_count_total", "connection_outcome"), { by: "connection_outcome", suffix: "/s" }),
    ],
  },
  {
    key: "pids",
    title: "Processes and threads",
    unit: "count",
    lines: [line("tasks", gauge("container_pids_count")), line("limit", gauge("container_pids_limit"), { limit: true })],
  },
  {
    key: "faults",
    title: "Page faults per second",
    unit: "count",
    lines: [line("", sumRate("container_paging_faults_total", "system_paging_fault_type"), { by: "system_paging_fault_type" })],
  },
];

// panelQueries are the queries of one panel for a container.
export function panelQueries(panel, containerID, step) {
  return panel.lines.map((l) => ({ ...l, query: l.build({ container_id: containerID }, step) }));
}

// COLUMNS are the instant queries that fill the Containers table when it shows
// a moment of the past: field of the row -> query for a moment. Counters need
// a window, the shortest there is, gauges take their last value within 30 s, because a container that
// has just ended has no newer one.
const last = (name) => `last_over_time(${selector(name)}[30s])`;
const perContainer = (name, extra) => `sum by (container_id) (${rate(name, extra, 1)})`;

export const COLUMNS = {
  cpu: last("container_cpu_usage"),
  cpuLimit: last("container_cpu_limit"),
  mem: last("container_memory_usage_bytes"),
  memLimit: last("container_memory_limit_bytes"),
  memRatio: last("container_memory_utilization_ratio"),
  throttled: `${perContainer("container_cpu_throttling_periods_total", { cpu_throttled: "true" })} / ${perContainer("container_cpu_throttling_periods_total")}`,
  psiCpu: perContainer("container_cpu_pressure_seconds_total", { psi_type: "some" }),
  psiMem: perContainer("container_memory_pressure_seconds_total", { psi_type: "some" }),
  psiIo: perContainer("container_io_pressure_seconds_total", { psi_type: "some" }),
  ioRead: perContainer("container_disk_io_bytes_total", { disk_io_direction: "read" }),
  ioWrite: perContainer("container_disk_io_bytes_total", { disk_io_direction: "write" }),
  netRx: perContainer("container_network_io_bytes_total", { network_io_direction: "receive" }),
  netTx: perContainer("container_network_io_bytes_total", { network_io_direction: "transmit" }),
  pids: last("container_pids_count"),
  conns: `sum by (container_id) (${selector("container_network_tcp_connection_count", { network_connection_state: "established" })})`,
};

// LAST are the last values of containers that have ended within the window.
export function lastValue(name, spanSeconds) {
  return `last_over_time(${selector(name)}[${Math.max(30, Math.ceil(spanSeconds))}s])`;
}

// HOST is the pressure strip below the lanes of the time line.
export const HOST = [
  { label: "CPU", query: (step) => rate("system_cpu_pressure_seconds_total", { psi_type: "some" }, step) },
  { label: "memory", query: (step) => rate("system_memory_pressure_seconds_total", { psi_type: "some" }, step) },
  { label: "IO", query: (step) => rate("system_io_pressure_seconds_total", { psi_type: "some" }, step) },
];

// STATSD are the metrics of applications in a container: all that do not come
// from the agent's own receivers.
export const OWN_NAMES = "(container|system|otelcol|dogstatsd|scrape|up|target).*";

export function applicationNames(containerID) {
  return `{container_id=${quote(containerID)},__name__!~${quote(OWN_NAMES)}}`;
}

// Agent: what the recorder itself costs, keeps and loses.

import { useAsk } from "../ask.mjs";
import { bytes, count, duration, moment, percent, plural, seconds } from "../format.mjs";
import { Panel } from "../panel.mjs";
import { useStore } from "../store.mjs";
import { html } from "../view.mjs";

const EVERY = 5000; // milliseconds
const NO_MARKS = [];

const PANEL = { key: "agent-cpu", title: "CPU of the agent, % of one core", unit: "cpu" };
// otelcol_process_* are the Collector's own metrics, scraped into the recorder.
const QUERIES = [{ label: "used", query: "rate(otelcol_process_cpu_seconds_total[30s])" }];
const MEMORY_PANEL = { key: "agent-memory", title: "Memory of the agent", unit: "bytes" };
const MEMORY_QUERIES = [{ label: "resident", query: "otelcol_process_memory_rss or otelcol_process_memory_rss_bytes" }, { label: "Go heap", query: "otelcol_process_runtime_heap_alloc_bytes" }];

export function Agent({ session }) {
  const { data, problem } = useAsk((signal) => session.client.get("/api/agent", {}, signal), "agent", session.isCapture() ? 0 : EVERY);
  const now = useStore(session.store, (s) => Math.floor(s.now / 10000) * 10000);
  if (!data) return html`<section class="page agent"><h1>Agent</h1><p class="empty">${problem || "Loading"}</p></section>`;
  return html`<section class="page agent">
    <header class="heading"><h1>Agent ${data.version || ""}</h1></header>
    ${data.mode === "memory_only" && html`<p class="banner is-bad">Metrics are kept in memory only, for two minutes: the disk is full.</p>`}
    <div class="cards">
      <${Facts} title="Process" pairs=${processFacts(data, now)} />
      <${Facts} title="Metrics" pairs=${metricFacts(data.metrics, now)} />
      <${Facts} title="Events" pairs=${eventFacts(data.events, now)} />
      <${Facts} title="Containers" pairs=${pairsOf(data.entities, [["running", "Running", count], ["ended", "Ended", count], ["broken", "Broken", count], ["bytes", "On disk", bytes]])} />
      <${Facts} title="Captures" pairs=${pairsOf(data.captures, [["count", "Kept", count], ["pending", "On their way", count], ["bytes", "On disk", bytes]])} />
      <${Facts} title="Disk" pairs=${pairsOf(data.disk, [["used", "Used", bytes], ["budget", "Budget", bytes], ["free", "Free on the disk", bytes], ["total", "Size of the disk", bytes]])}><${Share} disk=${data.disk} /><//>
    </div>
    <${Recovery} recovery=${data.recovery} />
    <div class="panels own">
      <${Panel} session=${session} panel=${PANEL} queries=${QUERIES} marks=${NO_MARKS} />
      <${Panel} session=${session} panel=${MEMORY_PANEL} queries=${MEMORY_QUERIES} marks=${NO_MARKS} />
    </div>
    <${Drops} data=${data} />
    <h2>Metrics with most series</h2>
    <div class="scroll"><table class="narrow"><thead><tr><th>Metric</th><th class="number">Series</th></tr></thead><tbody>
      ${(data.topMetrics || []).map((m) => html`<tr key=${m.name}><td><a href=${session.link("explore", "", { expr: m.name })}><code>${m.name}</code></a></td><td class="number">${m.series}</td></tr>`)}
    </tbody></table></div>
  </section>`;
}

// pairsOf keeps what the answer has: [key, label, text].
function pairsOf(object, fields) {
  return fields.filter(([key]) => object && object[key] !== undefined).map(([key, label, write]) => [key, label, write(object[key])]);
}

function processFacts(data, now) {
  const ran = now / 1000 - data.started;
  const pairs = pairsOf(data, [["rss", "Memory", bytes], ["heap", "Go heap", bytes], ["goroutines", "Goroutines", count], ["pid", "Process", String]]);
  if (data.started && data.cpuSeconds !== undefined && ran > 0) pairs.unshift(["cpu", "CPU, of one core", percent(data.cpuSeconds / ran)]);
  if (data.started) pairs.unshift(["uptime", "Running for", duration(ran)]);
  return pairs;
}

function metricFacts(m, now) {
  const pairs = pairsOf(m, [["series", "Series", count], ["samplesPerSecond", "Samples a second", count], ["samples", "Samples kept", count], ["retention", "Kept for", duration]]);
  if (m && m.oldest) pairs.push(["oldest", "Oldest", moment(m.oldest * 1000, now)]);
  return pairs.concat(sizes(m));
}

function eventFacts(e, now) {
  const pairs = pairsOf(e, [["count", "Kept", count], ["perSecond", "A second", count]]);
  if (e && e.oldest) pairs.push(["oldest", "Oldest", moment(e.oldest * 1000, now)]);
  return pairs.concat(sizes(e));
}

const sizes = (part) => Object.entries((part && part.bytes) || {}).map(([name, n]) => [`bytes-${name}`, `On disk: ${name}`, bytes(n)]);

// Share is how much of the budget is used.
function Share({ disk }) {
  if (!disk || !(disk.budget > 0)) return null;
  const share = Math.min(1, disk.used / disk.budget);
  return html`<div class="gauge" role="img" aria-label=${`${percent(share)} of the budget used`}><i style=${{ transform: `scaleX(${share.toFixed(3)})` }}></i></div>`;
}

function Facts({ title, pairs, children }) {
  return html`<section class="card"><h2>${title}</h2><dl class="pairs">${pairs.map(([key, label, value]) => html`<dt key=${key}>${label}</dt><dd data-fact=${`${title.toLowerCase()}-${key}`}>${value}</dd>`)}</dl>${children}</section>`;
}

// Drops lists every cause, those at zero too: a reader wants to see that they
// were counted.
function Drops({ data }) {
  const rows = ["metrics", "events", "entities", "captures", "queue"].flatMap((part) => Object.entries((data[part] && data[part].dropped) || {}).map(([reason, n]) => [part, reason, n]));
  const lost = rows.reduce((sum, [, , n]) => sum + n, 0);
  return html`<h2>Dropped</h2>
    <p data-fact="dropped" class=${lost > 0 ? "is-warn" : ""}>${lost === 0 ? "Nothing was dropped since the start." : `${plural(lost, "piece")} of data dropped since the start.`}</p>
    ${rows.length > 0 && html`<div class="scroll"><table class="narrow"><thead><tr><th>Where</th><th>Why</th><th class="number">How many</th></tr></thead>
      <tbody>${rows.map(([part, reason, n]) => html`<tr key=${part + reason} class=${n > 0 ? "is-warn" : ""}><td>${part}</td><td>${reason.replaceAll("_", " ")}</td><td class="number">${n}</td></tr>`)}</tbody></table></div>`}`;
}

function Recovery({ recovery }) {
  if (!recovery) return null;
  const parts = [];
  if (recovery.took !== undefined) parts.push(`The last start took ${seconds(recovery.took)}${recovery.samples ? ` and read ${count(recovery.samples)} samples back` : ""}.`);
  if (recovery.lost) parts.push(`${recovery.lost[0].toUpperCase()}${recovery.lost.slice(1)}.`);
  for (const what of recovery.repaired || []) parts.push(`Repaired: ${what}.`);
  return parts.length ? html`<p data-fact="recovery">${parts.join(" ")}</p>` : null;
}

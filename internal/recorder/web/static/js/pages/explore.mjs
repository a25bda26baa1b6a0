// Explore: PromQL against everything that is kept, as a plot or as a table.

import { matrixLines, seriesName, useAsk } from "../ask.mjs";
import { useWindow, pick, zoom } from "../panel.mjs";
import { Plot } from "../plot.mjs";
import { gridAlign } from "../series.mjs";
import { useStore } from "../store.mjs";
import { html, useMemo, useState } from "../view.mjs";

const EXAMPLES = [
  ["CPU by container", "topk(10, container_cpu_usage)"],
  ["Memory by container", "topk(10, container_memory_usage_bytes)"],
  ["OOM kills", "increase(container_oom_kill_count_total[5m]) > 0"],
  ["Bytes sent", "topk(10, sum by (container_name) (rate(container_network_io_bytes_total{network_io_direction=\"transmit\"}[45s])))"],
  ["The agent itself", "{__name__=~\"otelcol_.*(dropped|lost|refused).*\"} > 0"],
];

const MAX_LINES = 40; // more cannot be told apart; the table shows all

export function Explore({ session }) {
  const [text, setText] = useState(session.store.get("route").params.get("expr") || "");
  const [expr, setExpr] = useState(text);
  const [view, setView] = useState("plot");
  const names = useNames(session);
  const run = (e) => {
    e.preventDefault();
    start(text);
  };
  const start = (query) => {
    setText(query);
    setExpr(query);
    session.writeAddress({ expr: query || null });
  };
  return html`<section class="page explore">
    <form class="query" onSubmit=${run}>
      <label class="search"><span class="sr">PromQL</span><input data-search data-query list="metric-names" spellcheck=${false} autocomplete="off" value=${text} onInput=${(e) => setText(e.target.value)} placeholder="PromQL, for example topk(5, container_cpu_usage)" /></label>
      <datalist id="metric-names">${names.map((n) => html`<option key=${n} value=${n}></option>`)}</datalist>
      <button type="submit" class="primary" data-run>Run</button>
      <div class="segments" role="group" aria-label="Show as">${["plot", "table"].map((v) => html`<button key=${v} type="button" data-view=${v} aria-pressed=${view === v} onClick=${() => setView(v)}>${v === "plot" ? "Plot" : "Table"}</button>`)}</div>
    </form>
    <p class="examples">${EXAMPLES.map(([label, query]) => html`<button key=${label} type="button" data-example onClick=${() => start(query)}>${label}</button>`)}</p>
    ${expr ? (view === "plot" ? html`<${Graph} session=${session} expr=${expr} />` : html`<${Values} session=${session} expr=${expr} />`) : html`<p class="empty" data-result="empty">Write a query, or take one of those above. This address is also a Prometheus data source for Grafana.</p>`}
  </section>`;
}

const SIZE = { height: 320 };

// unitIn guesses how numbers read from the unit in the names of the query.
function unitIn(expr) {
  if (/_bytes(_total)?\b/.test(expr)) return "bytes";
  if (/_ratio\b|_pressure_seconds_total\b/.test(expr)) return "ratio";
  return /_seconds(_total)?\b/.test(expr) && !/\brate\(/.test(expr) ? "seconds" : "";
}

// told names lines by what tells them apart: labels that all share, and ids beside
// a name, are left out.
function told(lists, result, lines) {
  const drawn = result.filter((r) => lists.includes(r.values)).map((r) => r.metric);
  if (drawn.length !== lines.length || drawn.length < 2) return lines;
  const keys = [...new Set(drawn.flatMap((m) => Object.keys(m)))].filter((key) => new Set(drawn.map((m) => m[key])).size > 1);
  const names = keys.includes("container_name") ? keys.filter((key) => !["container_id", "container_image_name", "service_name", "docker_compose_project"].includes(key)) : keys;
  const labels = drawn.map((m) => names.filter((key) => m[key] !== undefined).map((key) => m[key]).join(" · "));
  // Two containers of one name need their ids after all.
  return lines.map((l, i) => ({ ...l, label: labels.indexOf(labels[i]) === labels.lastIndexOf(labels[i]) ? labels[i] || l.label : `${labels[i]} · ${(drawn[i].container_id || "").slice(0, 12)}` }));
}

function useNames(session) {
  const { data } = useAsk(async (signal) => (await session.client.get("/api/v1/label/__name__/values", { limit: 5000 }, signal)).data, "names");
  return data || NONE;
}

const NONE = [];

function Graph({ session, expr }) {
  const window = useWindow(session);
  const at = useStore(session.store, (s) => s.time.at);
  const { data, problem, isLoading } = useAsk(async (signal) => ({ window, data: await session.client.range(expr, window, signal) }), `${expr} ${window.from} ${window.to}`);
  const plot = useMemo(() => {
    if (!data) return null;
    const { lines, lists } = matrixLines([{ line: { label: "" }, data: data.data }]);
    return lines.length ? { unit: unitIn(expr), all: lines.length, lines: told(lists, data.data.result || [], lines).slice(0, MAX_LINES), data: gridAlign(data.window, lists.slice(0, MAX_LINES)), window: data.window } : null;
  }, [data]);
  if (problem) return html`<p class="banner is-bad" role="alert" data-result="problem">${problem}</p>`;
  if (!plot) return html`<p class="empty" data-result=${isLoading ? "loading" : "empty"}>${isLoading ? "Loading" : "No data in this window."}</p>`;
  return html`<div class="panel is-large" data-result="plot" data-series=${plot.all}>
    <${Plot} plot=${plot} title=${expr} at=${at} size=${SIZE} pick=${(ms) => pick(session, ms)} zoom=${(a, b) => zoom(session, a, b)} />
    ${plot.all > MAX_LINES && html`<p class="hint">${plot.all} series, the first ${MAX_LINES} are drawn.</p>`}
  </div>`;
}

function Values({ session, expr }) {
  const second = useStore(session.store, (s) => Math.floor((s.time.at === null ? session.cursor() : s.time.at) / 5000) * 5);
  const { data, problem, isLoading } = useAsk((signal) => session.client.instant(expr, second, signal), `${expr} ${second}`);
  if (problem) return html`<p class="banner is-bad" role="alert" data-result="problem">${problem}</p>`;
  if (!data) return html`<p class="empty" data-result="loading">${isLoading ? "Loading" : ""}</p>`;
  const rows = rowsOf(data);
  return html`<div class="scroll" data-result="table" data-series=${rows.length}><table><thead><tr><th>Series</th><th class="number">Value</th></tr></thead>
    <tbody>${rows.map(([name, value], i) => html`<tr key=${i}><td><code>${name}</code></td><td class="number">${value}</td></tr>`)}</tbody></table></div>`;
}

function rowsOf(data) {
  if (data.resultType === "scalar" || data.resultType === "string") return [[data.resultType, data.result[1]]];
  return data.result.map((r) => [seriesName(r.metric), valueText(r)]);
}

function valueText(r) {
  if (r.value) return r.value[1];
  if (r.histogram) return `histogram: ${r.histogram[1].count} values, sum ${r.histogram[1].sum}`;
  return r.values ? `${r.values.length} samples` : "";
}

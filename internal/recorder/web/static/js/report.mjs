// The script of report.html, a page without a server: it puts plots that can be
// zoomed in place of the pictures, from the data that stand in the page as
// JSON. Without it the page is whole as well.

import { axis } from "./format.mjs";
import { common, unitOf } from "./reportdata.mjs";
import { Plot } from "./plot.mjs";
import { tickOf } from "./story.mjs";
import { html, render, useState } from "./view.mjs";

function Plots({ data }) {
  const [zoomed, setZoomed] = useState(null);
  const marks = marksOf(data);
  return html`<div class="panels" data-report-plots>
    ${zoomed && html`<p class="hint"><button type="button" data-zoom-out onClick=${() => setZoomed(null)}>Show all</button></p>`}
    ${data.plots.map((p) => html`<${Figure} key=${p.title} plot=${p} marks=${marks} zoomed=${zoomed} onZoom=${(from, to) => setZoomed({ from, to })} />`)}
  </div>`;
}

function Figure({ plot, marks, zoomed, onZoom }) {
  const shaped = common(plot.lines, zoomed);
  const unit = unitOf(plot.unit);
  const lines = plot.lines.map((l) => ({ label: l.name, limit: /limit/i.test(l.name) }));
  const peak = Math.max(0, ...shaped.slice(1).flat().filter((v) => v !== null));
  return html`<figure class="panel"><figcaption>${plot.title} <small>up to ${axis(unit)(peak)}</small></figcaption>
    <${Plot} plot=${{ unit, lines, data: shaped }} title=${plot.title} marks=${marks} zoom=${onZoom} /></figure>`;
}

function marksOf(data) {
  const triggers = (data.manifest.triggers || []).map((t) => ({ ms: Date.parse(t.at), kind: "capture" }));
  const events = (data.marks || []).map((m) => ({ ms: Date.parse(m.at), kind: tickOf({ name: m.kind, attributes: {} }) || "stop" }));
  return [...events, ...triggers].filter((m) => Number.isFinite(m.ms));
}

const source = document.getElementById("capture");
const pictures = document.querySelector("#report .plots");
if (source && pictures) {
  const data = JSON.parse(source.textContent);
  if (data.plots && data.plots.length > 0) {
    pictures.replaceChildren();
    render(html`<${Plots} data=${data} />`, pictures);
    document.documentElement.dataset.ready = "true";
  }
}

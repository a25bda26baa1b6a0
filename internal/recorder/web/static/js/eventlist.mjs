// A table of events, newest first.

import { moment, stamp } from "./format.mjs";
import { eventText, tickOf } from "./story.mjs";
import { html } from "./view.mjs";

export function EventList({ events, now, onPick, nameOf }) {
  if (events.length === 0) return html`<p class="empty">No events in this window.</p>`;
  return html`<div class="scroll"><table class="events">
    <thead><tr><th>Time</th>${nameOf && html`<th>Container</th>`}<th>Event</th><th>What</th></tr></thead>
    <tbody>${events.map((e, i) => html`<tr key=${`${e.ms} ${e.name} ${i}`} data-event=${e.name}>
      <td class="nowrap"><button type="button" class="plain" title=${stamp(e.ms)} onClick=${() => onPick(e.ms)}>${moment(e.ms, now)}</button></td>
      ${nameOf && html`<td>${nameOf(e.container)}</td>`}
      <td><span class="kind"><i class=${`swatch tick-${tickOf(e)}`}></i>${e.name}</span></td>
      <td>${eventText(e)}<${Details} attributes=${e.attributes} /></td>
    </tr>`)}</tbody>
  </table></div>`;
}

function Details({ attributes }) {
  const list = Object.entries(attributes);
  if (list.length === 0) return null;
  return html`<span class="details">${list.map(([key, value]) => html`<span key=${key}><b>${key}</b> ${typeof value === "object" ? JSON.stringify(value) : String(value)}</span>`)}</span>`;
}

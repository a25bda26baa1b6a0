// The web view: starts the session and shows the page that the address names.
//
// What tests and scripts may rely on (stable attributes, not classes or texts):
//
//   html[data-frame-ms]          milliseconds of script in the last animation frame
//   html[data-ready]             "true" after the first answer of the recorder
//   [data-page]                  on the shell: containers, container, timeline, captures, explore, agent
//   [data-mode] [data-connection]  on the shell: live or capture; open, waiting, off
//   [data-health]                ok, warn, bad
//   [data-host]                  name of the host
//   [data-nav=PAGE]              links of the navigation
//   [data-range="5m"]            buttons of the window's length
//   [data-timebar]               with data-live, data-from, data-to, data-cursor (milliseconds)
//   [data-tick=KIND]             oom, exit, capture, degraded, start, stop, health
//   [data-live-button] [data-jump] [data-capture] [data-help] [data-theme-button]
//   [data-dialog=NAME]           help, jump, capture, token; inside: [data-when], [data-capture-go], [data-capture-result], [data-close]
//   [data-banner=KIND]           capture, message, lost, problem
//   [data-search]                the field that / goes to
//   [data-chip=STATE]            running, ended, broken; with data-count
//   [data-table=containers]      with data-total, data-shown and data-moment (live, or the
//                                second of the past whose values are there); only rows in sight exist
//   [data-container=ID]          a row, with data-state; cells are [data-cell=KEY]:
//                                state name up cpu mem throttled psi io net conns pids event
//   [data-sort=KEY]              headings
//   [data-trouble=ID]            links of what needs attention; [data-calm] where nothing does
//   [data-movers]                the sentence on what changed most
//   [data-verdict]               the sentence on a container, with data-tone ok, warn, bad
//   [data-captured=ID]           links to captures made because of it
//   [data-incarnation=ID]        links of the incarnation picker
//   [data-plot=TITLE]            a plot, with data-points
//   [data-panel=KEY]             the box of a plot, with data-panel-state loading, ready, empty, problem
//   [data-tab=KEY]               events, processes, connections, inspect, tags
//   [data-event=NAME]            a row of an event table
//   [data-sockets=PID] [data-pid=PID]  sockets and processes of an opened capture
//   [data-cut=LIST]              a sentence that a list is not whole: entities, ticks, events, rows, lanes, own, files
//   [data-lanes]                 the time line, with data-count
//   [data-capture-row=ID]        with data-capture-state; inside: [data-download], [data-pin], [data-delete]
//   [data-query] [data-run] [data-result]  of Explore; data-result is plot, table, problem or empty
//   [data-fact=KEY]              figures of the Agent page

import { listen } from "./keys.mjs";
import { Agent } from "./pages/agent.mjs";
import { Captures } from "./pages/captures.mjs";
import { Container } from "./pages/container.mjs";
import { Containers } from "./pages/containers.mjs";
import { Explore } from "./pages/explore.mjs";
import { Timeline } from "./pages/timeline.mjs";
import { Session } from "./session.mjs";
import { Shell } from "./shell.mjs";
import { useStore } from "./store.mjs";
import { html, render } from "./view.mjs";

// VIEWS: later pages (network, pressure, processes) get a line here, in
// address.mjs and in the navigation of shell.mjs.
const VIEWS = {
  containers: Containers,
  container: Container,
  timeline: Timeline,
  captures: Captures,
  explore: Explore,
  agent: Agent,
};

function App({ session }) {
  const page = useStore(session.store, (s) => s.route.page);
  const id = useStore(session.store, (s) => s.route.id);
  const status = useStore(session.store, (s) => s.status);
  const View = VIEWS[page];
  // Nothing is asked before the clock and the mode are known.
  return html`<${Shell} session=${session}>${status !== null && html`<${View} key=${page + id} session=${session} id=${id} />`}<//>`;
}

const session = new Session();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} session=${session} />`, root);
listen(session);
session.start().then(() => {
  document.documentElement.dataset.ready = "true";
});

// Questions that a page puts again when the time or the container changes.

import { number } from "./series.mjs";
import { useEffect, useRef, useState } from "./view.mjs";

const WAIT = 200; // milliseconds of quiet before asking: keys held down, a hand dragged

const failed = new Set(); // questions of this page that did not reach the recorder

// askAgain puts them again: the recorder is back.
export function askAgain() {
  for (const run of [...failed]) run();
}

// useAsk runs ask(signal) whenever key changes, and again every `every`
// milliseconds if that is given. It returns { data, problem, isLoading }; older
// data stay in sight while newer ones are on their way.
export function useAsk(ask, key, every) {
  const [answer, setAnswer] = useState({ data: null, problem: "", isLoading: true });
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    const control = new AbortController();
    let timer = 0;
    const run = async () => {
      clearTimeout(timer); // askAgain may come before it: there is one turn, not two
      try {
        const data = await latest.current(control.signal);
        failed.delete(run);
        if (!control.signal.aborted) setAnswer({ data, problem: "", isLoading: false });
      } catch (problem) {
        if (!control.signal.aborted && problem.kind === "network") failed.add(run);
        if (!control.signal.aborted) setAnswer((was) => ({ data: was.data, problem: problem.message, isLoading: false }));
      }
      clearTimeout(timer);
      if (every && !control.signal.aborted) timer = setTimeout(run, every);
    };
    setAnswer((was) => ({ ...was, isLoading: true }));
    timer = setTimeout(run, WAIT);
    return () => {
      failed.delete(run);
      control.abort();
      clearTimeout(timer);
    };
  }, [key, every]);
  return answer;
}

// matrixLines reads range answers into what Plot shows: one line per series.
// answers: [{ line, data }], line as in promql.mjs.
export function matrixLines(answers) {
  const lines = [];
  const lists = [];
  for (const { line, data } of answers) {
    for (const series of data.result || []) {
      if (!series.values || !series.values.some(([, v]) => number(v) !== null)) continue;
      lines.push({ label: labelOf(line, series.metric), limit: Boolean(line.limit) });
      lists.push(series.values);
    }
  }
  return { lines, lists };
}

function labelOf(line, metric) {
  const split = line.by ? metric[line.by] || "" : "";
  return [line.label, split].filter(Boolean).join(" ") + (line.suffix || "") || seriesName(metric);
}

// seriesName writes a series as PromQL does.
export function seriesName(metric) {
  const { __name__: name = "", ...labels } = metric;
  const parts = Object.entries(labels).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return name + (parts.length ? `{${parts.join(", ")}}` : "") || "value";
}

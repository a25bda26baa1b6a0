// Colours for what is drawn on a canvas, read from the style sheet so that
// light, dark and the switch need one place only.

const NAMES = ["ink", "faint", "line", "grid", "limit", "oom", "exit", "capture", "degraded", "start", "stop", "health", "running", "ended", "broken", "area", "shade", "card"];

export const SERIES = 8; // --series-1 to --series-8

// palette reads the colours now in force. Reading styles costs, so callers keep
// the result until the theme changes (see onTheme).
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const colours = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
  colours.series = Array.from({ length: SERIES }, (_, i) => read(`series-${i + 1}`));
  return colours;
}

// onTheme calls back after the system or the reader has changed the theme.
export function onTheme(callback) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  const watcher = new MutationObserver(callback);
  watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return () => {
    media.removeEventListener("change", callback);
    watcher.disconnect();
  };
}

// Small drawings for the navigation and the heading. They say nothing that the
// word beside them does not, so readers of the screen skip them.

import { html } from "./view.mjs";

// Strokes in a box of 16 x 16.
const PATHS = {
  containers: "M2 5.5 8 2l6 3.5v5L8 14l-6-3.5zM2 5.5 8 9l6-3.5M8 9v5",
  timeline: "M1.5 4h6M9.5 4h5M1.5 8h10M1.5 12h3M6.5 12h8",
  captures: "M2 4.5h3l1-1.5h4l1 1.5h3v8H2zM8 11a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  explore: "M2 13V3M2 13h12M4 10l3-3.5 2.5 2L13.5 4",
  agent: "M4 4h8v8H4zM6.5 6.5h3v3h-3zM6 1.5V4M10 1.5V4M6 12v2.5M10 12v2.5M1.5 6H4M1.5 10H4M12 6h2.5M12 10h2.5",
  // Four strokes and one across, as one counts on wood.
  tally: "M3 3v10M6.3 3v10M9.7 3v10M13 3v10M1 11.5 15 4.5",
};

export function Icon({ name }) {
  return html`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}

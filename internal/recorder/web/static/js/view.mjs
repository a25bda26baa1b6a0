// The only door to the vendored preact and htm, so that the joiner of
// report.html finds them under one name.

import { Component, html, render, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-htm.mjs";

export { Component, html, render, useEffect, useLayoutEffect, useMemo, useRef, useState };

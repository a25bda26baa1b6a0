// Loads the page once more when a part of it did not come. On a host of containers
// that happens: browsers on Linux cut every connection when an interface comes or
// goes. A plain script, as a module that is missing runs nothing.
(() => {
  "use strict";
  const KEY = "tallyman.loads";
  const MOST = 3; // in a row; then it is something else
  const PAUSE = 500; // milliseconds, in which interfaces settle
  const read = () => {
    try {
      return Number(sessionStorage.getItem(KEY)) || 0;
    } catch {
      return MOST;
    }
  };
  let isComing = false;
  addEventListener(
    "error",
    (e) => {
      const isPart = e.target instanceof HTMLScriptElement || e.target instanceof HTMLLinkElement;
      if (!isPart || isComing || read() >= MOST) return;
      isComing = true;
      sessionStorage.setItem(KEY, String(read() + 1));
      setTimeout(() => location.reload(), PAUSE);
    },
    true,
  );
  addEventListener("load", () => {
    if (!isComing && read() > 0) sessionStorage.removeItem(KEY);
  });
})();

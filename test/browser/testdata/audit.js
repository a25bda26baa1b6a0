// What a careful reader would complain about on the page as it stands: a list of
// sentences, empty when all is well. It is the body of an expression.
(() => {
  const wrongs = [];
  const seen = new Set();
  const say = (text) => {
    if (!seen.has(text)) wrongs.push(text);
    seen.add(text);
  };
  const isShown = (e) => {
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    return box.width > 1 && box.height > 1 && style.visibility === "visible" && style.opacity !== "0" && box.bottom > 0 && box.top < innerHeight;
  };
  const name = (e) => `<${e.tagName.toLowerCase()} class="${e.className.baseVal ?? e.className}"> ${(e.textContent || "").trim().slice(0, 40)}`;

  // Contrast as WCAG 2 counts it.
  const rgba = (text) => {
    const n = (text.match(/[\d.]+/g) || []).map(Number);
    return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const ground = (e) => {
    const layers = [];
    for (let n = e; n; n = n.parentElement) {
      const colour = rgba(getComputedStyle(n).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || e.closest("button:disabled, .sr, .skip, noscript") || !isShown(e)) continue;
    texts++;
    const below = ground(e);
    const ink = over(rgba(getComputedStyle(e).color), below);
    const size = parseFloat(getComputedStyle(e).fontSize);
    const want = size >= 24 || (size >= 18.66 && Number(getComputedStyle(e).fontWeight) >= 700) ? 3 : 4.5;
    const got = contrast(ink, below);
    if (got < want) say(`contrast ${got.toFixed(2)} below ${want}: ${name(e)}`);
    if (size < 10) say(`text of ${size} pixels: ${name(e)}`);
  }
  if (texts < 10) say(`only ${texts} pieces of text in sight`);

  // What can be used has a name.
  for (const e of document.querySelectorAll("a, button, input, select, [role=slider]")) {
    const label = e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels[0] && e.labels[0].textContent.trim()) || e.title;
    if (!label) say(`no name: ${name(e)}`);
  }

  // Nothing makes the page wider than the window, and boxes do not stick out of it
  // but where they scroll.
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) say(`the page is ${wide} pixels wide, the window ${innerWidth}`);
  const main = document.querySelector("main");
  if (main && main.scrollWidth > main.clientWidth) say(`main scrolls sideways: ${main.scrollWidth} in ${main.clientWidth}`);

  // Two headings or buttons never lie on each other.
  const boxes = [...document.querySelectorAll("h1, h2, button, .panel, .card, .top > *")].filter((e) => isShown(e) && !e.closest("dialog"));
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(i + 1)) {
      if (a.contains(b) || b.contains(a)) continue;
      const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
      const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (w > 2 && h > 2 && a.closest("main") === b.closest("main") && a.closest(".scroll, .table, .thead") === b.closest(".scroll, .table, .thead")) say(`${name(a)} lies on ${name(b)}`);
    }
  }
  return wrongs;
})();

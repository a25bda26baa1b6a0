// Reading of the state files of an opened capture: state/processes.json,
// state/sockets.json, state/inspect/ID.json. A file may hold the state of one
// container, a list with one entry per container, or the bare list.

// pick returns the member of the file that is about a container, as one list.
export function pick(file, member, id) {
  const parts = Array.isArray(file) ? file : [file];
  const found = [];
  for (const part of parts) {
    if (part === null || typeof part !== "object") continue;
    if (Array.isArray(part[member])) {
      if (!part.container || part.container === id) found.push(...part[member]);
    } else if (!part.container || part.container === id) found.push(part);
  }
  return found;
}

// filesOf keeps the names that speak of one container.
export function filesOf(files, id) {
  return files.filter((name) => name.includes(id) || name.includes(id.slice(0, 12)));
}

// command is how a process is shown: its arguments, or its name in brackets as
// ps does for those without.
export function command(p) {
  return p.argv && p.argv.length ? p.argv.join(" ") : `[${p.comm || "?"}]`;
}

// The address of a page: #/page/id?key=value. It holds everything that a link
// should show to somebody else.

export const PAGES = ["containers", "container", "timeline", "captures", "explore", "agent"];

export function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const [path, query = ""] = text.split(/\?(.*)/s, 2);
  const [page, ...rest] = path.split("/");
  const known = PAGES.includes(page);
  return {
    page: known ? page : "containers",
    id: known && rest.length ? decode(rest.join("/")) : "",
    params: new URLSearchParams(query),
  };
}

// decode keeps what is not valid percent encoding as it is.
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function format(page, id, params) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params || {})) {
    if (value !== "" && value !== null && value !== undefined) query.set(key, value);
  }
  const tail = query.toString();
  return `#/${page}${id ? `/${encodeURIComponent(id)}` : ""}${tail ? `?${tail}` : ""}`;
}

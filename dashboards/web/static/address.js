// The address holds the state of the page: view, time range, filters. A link to it shows the same page.

/** Returns the parameters of the address. */
export function state() {
  return new URLSearchParams(location.search);
}

/** Returns an address with parameters; values may be lists. */
export function link(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) query.append(name, one);
    }
  }
  return `?${query}`;
}

/** Returns the current address with parameters changed; an empty list or text removes a parameter. */
export function changed(changes) {
  const query = state();
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one !== "") query.append(name, one);
  }
  return `?${query}`;
}

/** Opens an address of this page. */
export function go(address) {
  history.pushState(null, "", address);
  dispatchEvent(new Event("moved"));
}

/** Follows links inside the page without reloading it. */
export function follow() {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const address = event.target.closest?.("a")?.getAttribute("href");
    if (!address?.startsWith("?")) return;
    event.preventDefault();
    go(address);
  });
  addEventListener("popstate", () => dispatchEvent(new Event("moved")));
}

/** Requests data from the server; throws a Problem with a remedy. */
export async function ask(path, parameters, signal) {
  let response;
  try {
    response = await fetch(`api/${path}?${parameters}`, { signal, cache: "no-store" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem("The page's server does not answer.", "Start it again: shopstream dashboards serve.");
  }
  const body = await response.json().catch(() => ({ problem: `The page's server responded with status ${response.status}.` }));
  if (!response.ok) throw new Problem(body.problem, body.remedy ?? "");
  return body;
}

/** An error with its remedy. */
export class Problem extends Error {
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

// The state of the page is its address: what is shown, the time range, the filters. A link to it shows the same.

/** The parameters of the address. */
export function state() {
  return new URLSearchParams(location.search);
}

/** An address with parameters; values may be lists. */
export function link(parameters) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) found.append(name, one);
    }
  }
  return `?${found}`;
}

/** The present address with parameters changed; an empty list or text removes one. */
export function changed(changes) {
  const found = state();
  for (const [name, value] of Object.entries(changes)) {
    found.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one !== "") found.append(name, one);
  }
  return `?${found}`;
}

/** Goes to an address of this page. */
export function go(address) {
  history.pushState(null, "", address);
  dispatchEvent(new Event("moved"));
}

/** Lets links inside the page lead on without loading it anew. */
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

/** Asks the server; a problem is thrown with what to do. */
export async function ask(path, parameters, signal) {
  let response;
  try {
    response = await fetch(`api/${path}?${parameters}`, { signal, cache: "no-store" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem("The page's server does not answer.", "Start it again: shopstream dashboards serve.");
  }
  const told = await response.json().catch(() => ({ problem: `The page's server answered ${response.status}.` }));
  if (!response.ok) throw new Problem(told.problem, told.remedy ?? "");
  return told;
}

/** What went wrong, and what to do. */
export class Problem extends Error {
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

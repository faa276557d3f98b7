// The address holds the state of the page: view, period, filters, tables, hidden series. A link to it shows the same page.

/** Parameters of the page itself, which the server does not know. */
export const OWN = ["view", "refresh", "table", "order", "hide"];
/** Parameters that hold on every view. */
export const TIME = ["last", "period", "from", "to", "compare", "compare_from", "compare_to"];

/** Returns the parameters of the address. */
export function state() {
  return new URLSearchParams(location.search);
}

/** Returns an address with parameters; values may be lists. */
export function link(parameters) {
  return changed(parameters, new URLSearchParams());
}

/** Returns the current address with parameters changed; an empty list or text removes a parameter. */
export function changed(changes, query = state()) {
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one !== "" && one !== null && one !== undefined) query.append(name, one);
  }
  return `?${query}`;
}

/** Returns an address of this view with the present tables, orders and hidden series, which are newer than a drawn link. */
export function current(address) {
  const [query, now] = [new URLSearchParams(address), state()];
  if (query.get("view") !== now.get("view")) return address;
  return changed(Object.fromEntries(["table", "order", "hide"].map((name) => [name, now.getAll(name)])), query);
}

/** Opens an address of this page. */
export function go(address) {
  history.replaceState({ y: scrollY }, "");
  history.pushState(null, "", address);
  dispatchEvent(new Event("moved"));
}

/** Adds or removes a value of a parameter without a new entry in the history. */
export function toggle(name, value) {
  const left = state().getAll(name).filter((one) => one !== value);
  const added = left.length === state().getAll(name).length;
  history.replaceState(history.state, "", changed({ [name]: added ? [...left, value] : left }));
  return added;
}

/** Follows links inside the page without reloading it, and returns to where the reader was. */
export function follow() {
  history.scrollRestoration = "manual";
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const address = event.target.closest?.("a")?.getAttribute("href");
    if (!address?.startsWith("?")) return;
    event.preventDefault();
    // a saved view has tables of its own
    go(event.target.closest("#tools") ? address : current(address));
  });
  addEventListener("popstate", () => dispatchEvent(new CustomEvent("moved", { detail: history.state?.y ?? 0 })));
}

/** Requests data from the server, or sends `body` to it; throws a Problem with a remedy. */
export async function ask(path, parameters, signal, body) {
  const post = body && { method: "POST", body: JSON.stringify(body), headers: { "X-Shopstream": "page", "Content-Type": "application/json" } };
  let response;
  try {
    const query = String(parameters);
    response = await fetch(`api/${path}${query && `?${query}`}`, { signal, ...post });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("Lost connection to the dashboard server.", "Restart it with `shopstream dashboards serve`.");
  }
  const answer = await response.json().catch(() => ({ problem: `The dashboard server responded with status ${response.status}.` }));
  if (!response.ok) throw new Problem(answer.problem, answer.remedy ?? "", response.status < 500);
  return answer;
}

/** An error with its remedy. A retry does not help if `final`. */
export class Problem extends Error {
  constructor(message, remedy, final = false) {
    super(message);
    this.remedy = remedy;
    this.final = final;
  }
}

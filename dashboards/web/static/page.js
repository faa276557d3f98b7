// The page: loads and draws the view of the address, and refreshes it while the page is visible.

import { Problem, ask, changed, follow, go, link, state, toggle } from "./address.js";
import * as board from "./board.js";
import * as controls from "./controls.js";
import { h, put } from "./dom.js";
import { ago, day, label, length, moment, wordsAre, writeNumbersOf, zoneIs, zoneName } from "./format.js";
import { copy, listen, say } from "./hover.js";

const element = (id) => document.getElementById(id);
const [main, bar, age, problem, chips] = ["main", "controls", "age", "problem", "chips"].map(element);
const PALETTE = Array.from({ length: 8 }, (_, n) => `var(--s${n})`);

let declared = null;
let filters = {}; // field -> name of every filter of any view
let shownView = null;
let opened = null;
let lastLoad = null;
let pending = null;
let failed = null;
let timer = 0;
let early = null; // the first request of figures, sent before the declaration is there: { address, answer }

const view = () => state().get("view") ?? declared.boards[0].id;
const dashboard = () => declared.boards.find((one) => one.id === view());

/** Returns when the server made a response: a busy one gives older ones. */
const made = (response) => Date.now() - (response.stale_ms ?? 0);

/** Other views; their scripts are loaded when they are opened. */
const OTHERS = {
  customers: {
    title: "Customers",
    async draw(signal) {
      const customers = await import("./customers.js");
      const loaded = await customers.load(declared, signal);
      await namedAgain(loaded.data, signal);
      return () => {
        put(bar, ...customers.controls(declared, loaded.data.choices).filter(Boolean), controls.refresh());
        customers.draw(main, declared, loaded);
        return { now: made(loaded.data) };
      };
    },
  },
  customer: {
    title: "Customer",
    async draw(signal) {
      const customer = await import("./customer.js");
      const response = await customer.load(signal);
      return () => {
        put(bar, controls.refresh());
        customer.draw(main, declared, response);
        return { now: made(response), newest: response.newest_ms, clock: response.now_ms };
      };
    },
  },
  worklist: {
    title: "Contact today",
    async draw(signal) {
      const worklist = await import("./worklist.js");
      const response = await worklist.load(signal);
      return () => {
        put(bar, controls.refresh());
        worklist.draw(main, declared, response);
        return { now: made(response) };
      };
    },
  },
  segments: {
    title: "Segments",
    async draw(signal) {
      const explorer = await import("./explorer.js");
      const response = await explorer.load(signal);
      return () => {
        put(bar, ...explorer.controls(response), controls.refresh());
        explorer.draw(main, declared, response);
        return { now: made(response), newest: response.as_of };
      };
    },
  },
};

function navigation() {
  const now = view() === "customer" ? "customers" : view();
  const last = declared.boards.filter((one) => one.id === "pipeline");
  const other = (...ids) => ids.map((id) => ({ id, title: OTHERS[id].title }));
  const ids = [...declared.boards.flatMap((one) => one.id === "churn" ? [one, ...other("worklist")] : last.includes(one) ? [] : [one]), ...other("customers", "segments"), ...last];
  const lasting = controls.lasting(Object.keys(filters));
  put(element("boards"), ids.map(({ id, title }) => h("a", { href: link({ ...lasting, view: id }), "aria-current": id === now ? "page" : null, "data-key": id }, title)));
  document.title = `${ids.find(({ id }) => id === now)?.title ?? "Shopstream"} – Shopstream`;
}

async function begin(signal) {
  declared = await ask("declaration", "", signal);
  declared.palette = PALETTE;
  element("run").textContent = declared.several ? `· run: ${declared.run}` : "";
  element("note").textContent = declared.money.note;
  writeNumbersOf(declared.money);
  zoneIs(declared.calendar.time_zone);
  wordsAre(declared.labels, { recommended_action: declared.actions });
  for (const one of [...declared.boards.flatMap((one) => one.filters), ...declared.customers.filters]) filters[one.field] ??= one.label;
  tools();
}

/** Requests the figures of a dashboard while the declaration is loaded. Without a name it is the first dashboard. */
function ahead(signal) {
  const address = String(board.asked(state().get("view") ?? ""));
  const answer = ask("board", address, signal);
  answer.catch(() => {}); // reported when it is used
  return { address, answer };
}

/** Loads the texts again if the scores have another horizon than they name; returns whether they are new. */
async function namedAgain({ horizons }, signal) {
  if (JSON.stringify(horizons) === JSON.stringify(declared.horizons)) return false;
  await begin(signal);
  opened = null;
  return true;
}

/** Creates the menus that hold for the whole page: saved views and export. */
function tools() {
  const views = h("details", { class: "pop", ontoggle: async () => {
    if (!views.open) return;
    try {
      views.lastChild.replaceChildren(await (await import("./views.js")).saved((text) => say(text, true), declared.writable));
    } catch (error) {
      views.lastChild.replaceChildren(h("p", { class: "wrong" }, error.message));
    }
  } }, h("summary", {}, "Saved views"), h("div", {}));
  element("tools").replaceChildren(views, h("details", { class: "pop" }, h("summary", {}, "Export & share"), h("div", {},
    h("a", { id: "csv", download: true, href: "", hidden: true }, "Download CSV of all panels"),
    h("button", { type: "button", onclick: () => print() }, "Print or save as PDF"),
    h("button", { type: "button", onclick: () => copy(location.href) }, "Copy link"))));
}

async function load(moved) {
  clearTimeout(timer);
  pending?.abort();
  const request = (pending = new AbortController());
  const late = setTimeout(() => request.abort("late"), 60000);
  const slow = setTimeout(() => request === pending && showProblem(new Problem("This is taking longer than 20 s.", "The server is busy and still works on it. A shorter period is faster.")), 20000);
  try {
    if (!declared) {
      early = Object.hasOwn(OTHERS, state().get("view")) ? null : ahead(request.signal);
      await begin(request.signal);
    }
    await draw(request.signal, moved);
    if (request !== pending) return;
    showProblem(null);
  } catch (error) {
    if (request !== pending) return;
    if (request.signal.aborted) showProblem(new Problem("No answer within 60 s.", "Try a shorter period, or check Pipeline."));
    else if (error instanceof Problem) showProblem(error);
    else throw error;
  } finally {
    clearTimeout(late);
    clearTimeout(slow);
    if (request === pending) schedule();
  }
}

async function draw(signal, moved) {
  const name = view();
  navigation();
  if (name !== shownView) {
    main.setAttribute("aria-busy", "true");
    main.classList.toggle("old", shownView !== null);
  }
  const shows = dashboard() ? await drawBoard(dashboard(), signal) : Object.hasOwn(OTHERS, name) ? await OTHERS[name].draw(signal) : null;
  // a newer request draws
  if (signal.aborted) return;
  if (!shows) throw new Problem(`Page "${name.slice(0, 100)}" doesn't exist.`, "Choose one from the menu.", true);
  if (!dashboard()) opened = null;
  lastLoad = { now: Date.now(), ...shows() };
  const people = Object.fromEntries(declared.customers.filters.map(({ field }) => [field, state().getAll(field)]).filter(([, values]) => values.length));
  const offered = (dashboard() ? dashboard().filters : name === "customers" ? declared.customers.filters : []).map((one) => one.field);
  put(chips, ...(dashboard() || name === "customers" ? controls.chips(filters, offered) : []),
    dashboard() && Object.keys(people).length ? h("a", { href: link({ ...controls.lasting(Object.keys(filters)), view: "customers" }), "data-key": "people" }, "Show these customers") : "", ...hints());
  element("csv").hidden = !dashboard();
  main.classList.remove("old");
  if (name !== shownView && shownView !== null) main.focus({ preventScroll: true });
  if (moved) scrollTo(0, moved.detail ?? (name === shownView ? scrollY : 0));
  else if (shownView === null && location.hash.length > 1) element(location.hash.slice(1))?.scrollIntoView();
  shownView = name;
  main.removeAttribute("aria-busy");
  if (moved) say(`${document.title}. ${summary()}`);
  performance.mark("drawn");
}

/** Returns the period and the filters in words. */
function summary() {
  const { from, to } = lastLoad;
  const span = from === undefined ? "" : `${day(from)} to ${day(to - 1)} ${zoneName()}`;
  const chosen = Object.keys(filters).flatMap((field) => state().getAll(field).map((value) => `${filters[field]}: ${label(field, value)}`));
  return [span, board.comparison() && `compared: ${board.comparison().toLowerCase()}`, ...chosen].filter(Boolean).join(", ");
}

function hints() {
  const without = (name) => {
    const query = state();
    query.delete(name);
    return h("a", { href: `?${query}`, "data-key": `without ${name}` }, "Remove");
  };
  const { hint } = controls.interval();
  return [...(lastLoad.ignored ?? []).map((name) => h("span", { class: "hint" }, `Ignored unknown parameter "${name}". `, without(name))),
    hint ? h("span", { class: "hint" }, `${hint} `, without("refresh")) : ""];
}

async function drawBoard(dashboard, signal) {
  const address = board.asked(state().get("view") ?? "");
  const first = () => {
    opened = { id: dashboard.id, board: board.open(main, dashboard, PALETTE), choices: {} };
    boardControls(dashboard);
  };
  if (!shownView && !opened) first();
  else if (opened?.id === dashboard.id) boardControls(dashboard);
  const sent = early?.address === String(address) ? early.answer : null;
  early = null;
  const response = await (sent ?? ask("board", address, signal));
  if (await namedAgain(response, signal)) dashboard = declared.boards.find((one) => one.id === dashboard.id);
  controls.presentIs(response);
  if (response.newest_ms === null && dashboard.id !== "pipeline") return start(signal);
  if (opened?.id !== dashboard.id) first();
  if (dashboard.filters.length && !opened.choicesLoaded) {
    opened.choicesLoaded = true;
    const into = opened;
    ask("choices", new URLSearchParams({ id: dashboard.id }), signal).then((choices) => {
      into.choices = choices;
      if (into === opened) boardControls(dashboard);
    }, () => (into.choicesLoaded = false));
  }
  return () => {
    boardControls(dashboard);
    opened.board.show(response);
    element("csv").setAttribute("href", `api/board.csv?${address}`);
    element("printed").textContent = `Run ${declared.run} · ${moment(response.from_ms)} to ${moment(response.to_ms)} ${zoneName()} · printed ${moment(response.now_ms)}`;
    return { now: made(response), newest: response.newest_ms, clock: response.now_ms, from: response.from_ms, to: response.to_ms, ignored: response.ignored.filter((name) => !Object.hasOwn(filters, name)) };
  };
}

function boardControls(dashboard) {
  put(bar, ...controls.range(dashboard), ...dashboard.filters.map((one) => controls.filter(one.label, one.field, opened.choices[one.field] ?? [])), controls.refresh());
}

/** Shows how an empty run is filled, with a check mark for what is done. */
async function start(signal) {
  const response = await ask("board", new URLSearchParams({ id: "pipeline" }), signal);
  const consumes = Object.values(response.panels).some((one) => one.hits > 0);
  const steps = [[true, "shopstream up", "starts Kafka and Elasticsearch. Running."],
    [false, "shopstream replay ARCHIVE", "sends events to Kafka. A sample archive comes from `shopstream generate`, your own logs from `shopstream import`."],
    [consumes, "shopstream consume", consumes ? "writes the events to Elasticsearch. Done." : "writes the events to Elasticsearch. Not started yet."]];
  return () => {
    opened = null;
    put(main, h("h1", { class: "lead" }, "Welcome to Shopstream", h("span", {}, `Run ${declared.run} has no events yet. This page updates automatically.`)),
      h("ol", { class: "start part" }, steps.map(([done, command, text]) => h("li", {}, h("span", { role: "img", "aria-label": done ? "Done" : "To do" }, done ? "✓ " : "○ "), h("code", {}, command), ` ${text}`))));
    return { now: made(response) };
  };
}

function showProblem(error) {
  failed = error;
  problem.hidden = !error;
  main.classList.toggle("old", Boolean(error) && Boolean(lastLoad));
  if (!error) return;
  put(problem, h("strong", {}, error.message), " ", h("span", {}, error.remedy), lastLoad ? h("span", {}, ` Showing the last figures received at ${moment(lastLoad.now).slice(-5)}.`) : "");
  if (!lastLoad) {
    main.replaceChildren(h("p", { class: "state" }, error.final ? declared && view() === "customer" ? h("a", { href: link({ view: "customers" }) }, "Back to customers") : h("a", { href: link({}) }, `Go to ${declared?.boards[0].title ?? "the first page"}`) : "No data yet — retrying automatically."));
    opened = null;
  }
  main.removeAttribute("aria-busy");
}

function schedule() {
  const { seconds } = controls.interval();
  const wait = failed ? Math.max(3, seconds) : seconds;
  if (seconds > 0 && !document.hidden && !failed?.final) timer = setTimeout(load, wait * 1000);
}

function showAge() {
  if (!lastLoad) return put(age, "");
  const since = Date.now() - lastLoad.now;
  const { newest, clock } = lastLoad;
  const behind = newest && clock ? clock + since - newest : 0;
  const data = newest ? `Data up to ${moment(newest)} ${zoneName()} · updated ` : "Updated ";
  put(age, behind > 300e3 ? h("span", { class: "badge late" }, `Behind by ${length(behind)}`) : "", ` ${data}${ago(Math.round(since / 1000) * 1000)}`);
}

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  opened?.board.resize();
});
// the focus is scrolled to below the bar, whose height changes with its content
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${getComputedStyle(bar.parentElement).position === "sticky" ? bar.parentElement.offsetHeight : 0}px`)).observe(bar.parentElement);
addEventListener("moved", load);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : load()));
const close = (box) => {
  const inside = box.contains(document.activeElement);
  box.open = false;
  if (inside) box.querySelector("summary").focus();
};
document.addEventListener("click", ({ target }) => {
  for (const box of document.querySelectorAll("details.pop[open]")) if (!box.contains(target) || target.closest("a")) box.open = false;
  const fold = target.closest?.(".fold");
  if (fold) fold.setAttribute("aria-expanded", fold.getAttribute("aria-expanded") === "false");
  else if (target.closest?.("nav a")) document.querySelector("header .fold").setAttribute("aria-expanded", "false");
});
document.addEventListener("toggle", ({ target }) => {
  const box = target.matches(".pop[open]") && target.lastElementChild;
  if (!box) return;
  // inside the window
  box.style.left = "0px";
  box.style.left = `${Math.min(0, innerWidth - 12 - box.getBoundingClientRect().right)}px`;
}, true);
document.addEventListener("keydown", ({ key }) => key === "Escape" && document.querySelectorAll("details.pop[open]").forEach(close));
listen((svg, series, only) => {
  const panel = svg.closest(".panel")?.id;
  const dimension = dashboard()?.panels.find((one) => one.id === panel)?.dimensions[1];
  if (!panel) return;
  if (only && dimension?.filter && !series.startsWith("(")) return go(changed({ [dimension.filter]: series }));
  toggle("hide", `${panel}~${series}`);
  opened.board.redraw(panel);
});
setInterval(showAge, 1000);
follow();
load().then(showAge);

// The page: loads and draws the view of the address, and refreshes it while the page is visible.

import { Problem, ask, follow, link, state } from "./address.js";
import * as board from "./board.js";
import * as controls from "./controls.js";
import * as customers from "./customers.js";
import { h, put } from "./dom.js";
import * as explorer from "./explorer.js";
import { ago, instant, writeNumbersOf, zoneIs, zoneName } from "./format.js";
import * as customer from "./customer.js";

const element = (id) => document.getElementById(id);
const [main, bar, age, problem] = ["main", "controls", "age", "problem"].map(element);

let declared = null;
let shownView = null;
let opened = null;
let lastLoad = null;
let pending = null;
let timer = 0;

const OTHERS = { customers: "Customers", segments: "Segments" };

function view() {
  return state().get("view") ?? declared.boards[0].id;
}

function navigation() {
  const now = view() === "customer" ? "customers" : view();
  const links = [...declared.boards.map((one) => [one.id, one.title]), ...Object.entries(OTHERS)];
  element("boards").replaceChildren(...links.map(([id, title]) => h("a", { href: link({ view: id }), "aria-current": id === now ? "page" : null }, title)));
  document.title = `${links.find(([id]) => id === now)?.[1] ?? "Shopstream"} – Shopstream`;
}

async function load() {
  clearTimeout(timer);
  pending?.abort();
  const request = (pending = new AbortController());
  const late = setTimeout(() => request.abort("late"), 20000);
  try {
    if (!declared) {
      declared = await ask("declaration", "", request.signal);
      element("run").textContent = declared.run;
      element("note").textContent = declared.money.note;
      writeNumbersOf(declared.money);
      zoneIs(declared.calendar.time_zone);
    }
    await draw(request.signal);
    if (request !== pending) return;
    showProblem(null);
  } catch (error) {
    if (request !== pending) return;
    if (request.signal.aborted) showProblem(new Problem("The server took longer than 20 seconds.", "Choose a shorter time range, or see the dashboard Pipeline."));
    else if (error instanceof Problem) showProblem(error);
    else throw error;
  } finally {
    clearTimeout(late);
    if (request === pending) schedule();
  }
}

async function draw(signal) {
  const name = view();
  navigation();
  if (name !== shownView) {
    main.setAttribute("aria-busy", "true");
    main.classList.remove("old");
    opened = null;
    lastLoad = null;
  }
  const dashboard = declared.boards.find((one) => one.id === name);
  if (dashboard) await drawBoard(dashboard, signal);
  else if (name === "customers") {
    const loaded = await customers.load(declared, signal);
    put(bar, ...customers.controls(declared, loaded.data.choices).filter(Boolean), controls.refresh());
    customers.draw(main, declared, loaded);
    lastLoad = { now: Date.now() };
  } else if (name === "customer") {
    const response = await customer.load(signal);
    put(bar, controls.refresh());
    customer.draw(main, declared, response);
    lastLoad = { now: Date.now(), newest: response.row.as_of, clock: response.now_ms };
  } else if (name === "segments") {
    const response = await explorer.load(signal);
    put(bar, ...explorer.controls(response), controls.refresh());
    explorer.draw(main, declared, response);
    lastLoad = { now: Date.now(), newest: response.as_of };
  } else throw new Problem(`There is no page ${name.slice(0, 100)}.`, "Choose one of the links above.");
  if (name !== shownView && shownView !== null) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  shownView = name;
  main.removeAttribute("aria-busy");
  performance.mark("drawn");
}

async function drawBoard(dashboard, signal) {
  if (!opened || opened.id !== dashboard.id) {
    opened = { id: dashboard.id, board: board.open(main, dashboard, declared.palette), choices: {} };
    boardControls(dashboard);
  }
  const address = state();
  for (const name of ["view", "refresh"]) address.delete(name);
  address.set("id", dashboard.id);
  boardControls(dashboard);
  const response = await ask("board", address, signal);
  const current = opened;
  controls.newestIs(response.newest_ms);
  current.board.show(response);
  lastLoad = { now: Date.now(), newest: response.newest_ms, clock: response.now_ms };
  if (dashboard.filters.length && !current.choicesLoaded) {
    current.choicesLoaded = true;
    current.choices = await ask("choices", new URLSearchParams({ id: dashboard.id }), signal);
    boardControls(dashboard);
  }
}

function boardControls(dashboard) {
  put(bar, ...controls.range(dashboard), ...dashboard.filters.map((one) => controls.filter(one.label, one.field, opened.choices[one.field] ?? [])),
    controls.without(dashboard.filters.map((one) => one.field)) ?? "", controls.refresh());
}

function showProblem(error) {
  problem.hidden = !error;
  main.classList.toggle("old", Boolean(error) && Boolean(lastLoad));
  if (!error) return;
  put(problem, h("strong", {}, error.message), " ", h("span", {}, error.remedy), lastLoad ? h("span", {}, " The figures below are from the previous refresh.") : "");
  if (!lastLoad) main.replaceChildren(h("p", { class: "state" }, "Nothing can be shown yet. The page retries automatically."));
  if (!lastLoad) opened = null;
  main.removeAttribute("aria-busy");
}

function schedule() {
  const seconds = Number(state().get("refresh") ?? "5");
  const wait = problem.hidden ? seconds : Math.max(3, seconds);
  if (wait > 0 && !document.hidden) timer = setTimeout(load, wait * 1000);
}

function showAge() {
  if (!lastLoad) return put(age, "");
  const since = Date.now() - lastLoad.now;
  const data = lastLoad.newest ? `Data until ${instant(lastLoad.newest)} ${zoneName()}${lastLoad.clock ? `, ${ago(lastLoad.clock + since - lastLoad.newest)}` : ""}. ` : "";
  age.textContent = `${data}Refreshed ${ago(Math.round(since / 1000) * 1000)}.`;
}

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  opened?.board.resize();
});
addEventListener("moved", load);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : load()));
document.addEventListener("click", (event) => {
  for (const box of document.querySelectorAll("details.filter[open]")) if (!box.contains(event.target)) box.open = false;
});
setInterval(showAge, 1000);
follow();
load().then(showAge);

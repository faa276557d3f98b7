// The page: what the address names is asked of the server, drawn, and asked again while somebody looks.

import { Problem, ask, follow, link, state } from "./address.js";
import * as board from "./board.js";
import * as controls from "./controls.js";
import * as customers from "./customers.js";
import { h, put } from "./dom.js";
import * as explorer from "./explorer.js";
import { ago, instant } from "./format.js";
import * as story from "./story.js";

const place = (id) => document.getElementById(id);
const [main, bar, age, problem] = ["main", "controls", "age", "problem"].map(place);

let declared = null;
let shownView = null;
let opened = null;
let answered = null;
let asking = null;
let timer = 0;

const OTHERS = { customers: "Customers", segments: "Segments" };

function view() {
  return state().get("view") ?? declared.boards[0].id;
}

function navigation() {
  const now = view() === "customer" ? "customers" : view();
  const links = [...declared.boards.map((one) => [one.id, one.title]), ...Object.entries(OTHERS)];
  place("boards").replaceChildren(...links.map(([id, title]) => h("a", { href: link({ view: id }), "aria-current": id === now ? "page" : null }, title)));
  document.title = `${links.find(([id]) => id === now)?.[1] ?? "Shopstream"} – Shopstream`;
}

async function load() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort("late"), 20000);
  try {
    if (!declared) {
      declared = await ask("declaration", "", mine.signal);
      place("run").textContent = declared.run;
    }
    await draw(mine.signal);
    if (mine !== asking) return;
    say(null);
  } catch (error) {
    if (mine !== asking) return;
    if (mine.signal.aborted) say(new Problem("The server takes longer than 20 seconds.", "Choose a shorter time range, or see the dashboard Pipeline."));
    else if (error instanceof Problem) say(error);
    else throw error;
  } finally {
    clearTimeout(late);
    if (mine === asking) again();
  }
}

async function draw(signal) {
  const name = view();
  navigation();
  if (name !== shownView) {
    main.setAttribute("aria-busy", "true");
    main.classList.remove("old");
    opened = null;
    answered = null;
  }
  const found = declared.boards.find((one) => one.id === name);
  if (found) await drawBoard(found, signal);
  else if (name === "customers") {
    const loaded = await customers.load(declared, signal);
    put(bar, ...customers.controls(declared, loaded.told.choices).filter(Boolean), controls.refresh());
    customers.draw(main, declared, loaded);
    answered = { now: Date.now() };
  } else if (name === "customer") {
    const told = await story.load(signal);
    put(bar, controls.refresh());
    story.draw(main, declared, told);
    answered = { now: Date.now(), newest: told.row.as_of, clock: told.now_ms };
  } else if (name === "segments") {
    const told = await explorer.load(signal);
    put(bar, ...explorer.controls(told), controls.refresh());
    explorer.draw(main, declared, told);
    answered = { now: Date.now(), newest: told.as_of };
  } else throw new Problem(`There is no page ${name.slice(0, 100)}.`, "Choose one above.");
  if (name !== shownView && shownView !== null) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  shownView = name;
  main.removeAttribute("aria-busy");
  performance.mark("drawn");
}

async function drawBoard(found, signal) {
  if (!opened || opened.id !== found.id) {
    opened = { id: found.id, board: board.open(main, found, declared.palette), choices: {} };
    boardControls(found);
  }
  const address = state();
  for (const name of ["view", "refresh"]) address.delete(name);
  address.set("id", found.id);
  boardControls(found);
  const told = await ask("board", address, signal);
  const mine = opened;
  controls.newestIs(told.newest_ms);
  mine.board.show(told);
  answered = { now: Date.now(), newest: told.newest_ms, clock: told.now_ms };
  if (found.filters.length && !mine.asked) {
    mine.asked = true;
    mine.choices = await ask("choices", new URLSearchParams({ id: found.id }), signal);
    boardControls(found);
  }
}

function boardControls(found) {
  put(bar, ...controls.range(found), ...found.filters.map((one) => controls.filter(one.label, one.field, opened.choices[one.field] ?? [])),
    controls.without(found.filters.map((one) => one.field)) ?? "", controls.refresh());
}

function say(error) {
  problem.hidden = !error;
  main.classList.toggle("old", Boolean(error) && Boolean(answered));
  if (!error) return;
  put(problem, h("strong", {}, error.message), " ", h("span", {}, error.remedy), answered ? h("span", {}, " The figures below are those of before.") : "");
  if (!answered) main.replaceChildren(h("p", { class: "state" }, "Nothing can be shown yet. The page asks again by itself."));
  if (!answered) opened = null;
  main.removeAttribute("aria-busy");
}

function again() {
  const seconds = Number(state().get("refresh") ?? "5");
  const wait = problem.hidden ? seconds : Math.max(3, seconds);
  if (wait > 0 && !document.hidden) timer = setTimeout(load, wait * 1000);
}

function tell() {
  if (!answered) return put(age, "");
  const since = Date.now() - answered.now;
  const data = answered.newest ? `Data until ${instant(answered.newest)} UTC${answered.clock ? `, ${ago(answered.clock + since - answered.newest)}` : ""}. ` : "";
  age.textContent = `${data}Asked ${ago(Math.round(since / 1000) * 1000)}.`;
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
setInterval(tell, 1000);
follow();
load().then(tell);

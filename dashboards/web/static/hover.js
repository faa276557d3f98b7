// Tooltips, crosshair, keys and zoom of charts, by the model of a chart. The elements lie over the page, so a redraw keeps them.

import { changed, current, go, state } from "./address.js";
import { h } from "./dom.js";
import { NOT_WHOLE, day, interval } from "./format.js";

const tip = h("div", { id: "tip", hidden: true });
const cross = h("div", { id: "cross", hidden: true });
const brush = h("div", { id: "brush", hidden: true });
const live = h("p", { id: "live", role: "status", class: "unseen" });

let at = null; // the mark shown: { svg, n, row, keyed }
let dragged = null; // the marks selected: { svg, from, to, x }
let moved = false;

/** Announces a text to screen readers; `seen` shows it for a while too. */
export function say(text, seen = false) {
  live.textContent = text;
  live.className = seen ? "toast" : "unseen";
  if (seen) setTimeout(() => (live.className = "unseen"), 4000);
}

/** Copies an address, or shows it to be copied by hand where the browser forbids this. */
export async function copy(address) {
  try {
    await navigator.clipboard.writeText(address);
    say("Link copied", true);
  } catch {
    prompt("Link", address);
  }
}

/** Listens on the whole page; `legend(svg, series)` hides or shows a series. */
export function listen(legend) {
  document.body.append(tip, cross, brush, live);
  const on = (name, listener, more) => addEventListener(name, listener, more);
  on("pointermove", (event) => (dragged?.x !== undefined && event.buttons & 1 ? drag(event) : point(event)));
  on("pointerdown", (event) => {
    point(event);
    moved = false;
    const svg = chartOf(event);
    if (svg?.model.zoom && event.pointerType !== "touch" && !event.button && inside(svg, event) >= 0) dragged = { svg, from: at.n, to: at.n, x: event.clientX };
  });
  on("pointerup", () => dragged?.x !== undefined && (moved ? zoom() : (dragged = null)));
  on("pointercancel", clear);
  on("dragstart", (event) => chartOf(event) && event.preventDefault());
  on("click", (event) => {
    if (moved && chartOf(event)) {
      event.preventDefault();
      moved = false;
      return;
    }
    const entry = event.target.closest?.("[data-series][role=button]");
    if (entry) legend(entry.ownerSVGElement, entry.dataset.series, event.shiftKey);
  }, true);
  on("keydown", key);
  on("focusin", (event) => !chartOf(event) && at?.keyed && hide());
  on("scroll", () => at && (at.keyed ? place() : hide()), { passive: true });
}

const chartOf = (event) => event.target.closest?.("svg.chart");

function scale(svg) {
  const box = svg.getBoundingClientRect();
  return { box, by: box.width / svg.viewBox.baseVal.width };
}

/** Returns the number of the mark under the pointer, or -1. */
function inside(svg, event, nearest = false) {
  const { box, by } = scale(svg);
  const [x, y] = [(event.clientX - box.left) / by, (event.clientY - box.top) / by];
  const { marks } = svg.model;
  if (nearest) return Math.max(0, Math.min(marks.length - 1, Math.floor((x - marks[0].x) / marks[0].w)));
  return marks.findIndex((one) => x >= one.x && x < one.x + one.w && y >= one.y && y < one.y + one.h);
}

function point(event) {
  const svg = chartOf(event);
  const n = svg ? inside(svg, event) : -1;
  if (n >= 0) show({ svg, n, row: -1, pointer: [event.clientX, event.clientY] });
  else if (at && !at.keyed) hide();
}

function drag(event) {
  if (Math.abs(event.clientX - dragged.x) > 6) moved = true;
  dragged.to = inside(dragged.svg, event, true);
  show({ svg: dragged.svg, n: dragged.to, row: -1, pointer: [event.clientX, event.clientY] });
}

function show(next) {
  at = next;
  const { marks } = at.svg.model;
  const mark = marks[at.n];
  const rows = mark.rows.map((one, n) => {
    const swatch = h("i", {});
    swatch.style.background = one.paint;
    const against = one.was && [h("span", {}, one.change), h("span", {}, `was ${one.was}`)];
    return h("p", { class: n === at.row ? "chosen" : null }, swatch, h("span", {}, one.label), h("b", {}, one.text), against || null);
  });
  const was = mark.was === null ? null : h("p", { class: "soft" }, `Compared with ${interval(mark.was, at.svg.model.step)}${mark.cut ? NOT_WHOLE : ""}`);
  tip.replaceChildren(h("strong", {}, mark.title), ...rows, ...(was ? [was] : []), ...mark.notes.map((text) => h("p", {}, `⚑ ${text}`)));
  tip.hidden = false;
  place();
}

/** Places the tooltip next to its mark or the pointer, inside the window. */
function place() {
  const { svg, n, pointer } = at;
  const { box, by } = scale(svg);
  const mark = svg.model.marks[n];
  const upright = svg.model.upright;
  const middle = [box.left + (mark.x + mark.w / 2) * by, box.top + (mark.y + (upright ? mark.h : 0)) * by];
  const [x, y] = pointer ?? middle;
  const wide = tip.offsetWidth;
  const left = x + 14 + wide > innerWidth ? x - 14 - wide : x + 14;
  const top = y + 14 + tip.offsetHeight > innerHeight ? y - 14 - tip.offsetHeight : y + 14;
  lay(tip, Math.max(4, left), Math.max(4, top));
  cross.hidden = upright;
  lay(cross, middle[0], box.top + mark.y * by, 1, mark.h * by);
  const on = dragged?.svg === svg && (moved || dragged.x === undefined);
  brush.hidden = !on;
  if (!on) return;
  const [a, b] = [dragged.from, dragged.to].sort((one, other) => one - other).map((m) => svg.model.marks[m]);
  lay(brush, box.left + a.x * by, box.top + a.y * by, (b.x + b.w - a.x) * by, a.h * by);
}

function lay(element, left, top, width, height) {
  Object.assign(element.style, { left: `${left}px`, top: `${top}px`, ...(width ? { width: `${width}px`, height: `${height}px` } : {}) });
}

function hide() {
  at = null;
  tip.hidden = cross.hidden = brush.hidden = true;
}

function clear() {
  dragged = null;
  moved = false;
  hide();
}

/** Shows the same mark of a chart that was drawn again; hides the tooltip of one that is gone. */
export function restore() {
  if (!at || at.svg.isConnected) return;
  const svg = document.querySelector(`svg[data-key="${CSS.escape(at.svg.dataset.key)}"]`);
  const before = at.svg.model.marks[at.n]?.key;
  const n = svg?.model.marks.findIndex((one) => one.key === before) ?? -1;
  if (n < 0) return clear();
  if (dragged) dragged.svg = svg;
  show({ ...at, svg, n });
}

function zoom() {
  const { svg, from, to } = dragged;
  const { marks, step } = svg.model;
  const [a, b] = [Math.min(from, to), Math.max(from, to)];
  const begin = marks[a].key;
  const end = marks[b + 1]?.key ?? marks[b].key + (Number.isFinite(step) ? step : 86400e3);
  dragged = null;
  hide();
  // the address has whole days, and hours that end with the data
  const past = state().get("from") || /^(yesterday|last_)/.test(state().get("period") ?? "");
  if (end - begin < 86400e3 && b === marks.length - 1 && !past) go(changed({ last: `${Math.max(1, Math.ceil((end - begin) / 3600e3))}h`, period: "", from: "", to: "" }));
  else go(changed({ last: "", period: "", from: day(begin), to: day(end - 1) }));
}

function key(event) {
  if (event.key === "Escape") return clear();
  const entry = event.target.closest?.("[data-series][role=button]");
  if (entry && ["Enter", " "].includes(event.key)) {
    event.preventDefault();
    entry.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: event.shiftKey }));
  } else if (entry) rove(event, [...entry.parentNode.querySelectorAll("[role=button]")], entry, 1);
  else if (event.target.matches?.("svg.chart")) arrow(event);
  else if (event.target.matches?.(".rove a")) {
    const all = [...event.target.closest(".rove").querySelectorAll("a")];
    rove(event, all, event.target, event.target.closest("tr")?.querySelectorAll("a").length || 1);
  }
}

/** Moves the focus within a group of which one element is a tab stop. */
function rove(event, all, from, row) {
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
  const to = by && all[all.indexOf(from) + by];
  if (!to) return;
  event.preventDefault();
  [from.tabIndex, to.tabIndex] = [-1, 0];
  to.focus();
}

function arrow(event) {
  const svg = event.target;
  const { marks, upright, zoom: zooms } = svg.model;
  const here = at?.svg === svg ? at : { n: -1, row: -1 };
  const rows = marks[Math.max(0, here.n)]?.rows ?? [];
  const [ahead, back, next, last] = upright ? ["ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft"] : ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"];
  let { n, row } = here;
  if (event.key === ahead) n = Math.min(marks.length - 1, n + 1);
  else if (event.key === back) n = n < 0 ? marks.length - 1 : Math.max(0, n - 1);
  else if (event.key === "Home") n = 0;
  else if (event.key === "End") n = marks.length - 1;
  else if (event.key === next) row = (row + 1) % rows.length;
  else if (event.key === last) row = row > 0 ? row - 1 : rows.length - 1;
  else if (event.key === "Enter") {
    if (dragged) return zoom();
    const address = (rows[here.row] ?? rows.find((one) => one.address))?.address;
    if (address) go(current(address));
    return;
  } else return;
  event.preventDefault();
  n = Math.max(0, n);
  if (event.shiftKey && zooms) dragged = { svg, from: dragged?.from ?? Math.max(0, here.n), to: n };
  else dragged = null;
  show({ svg, n, row: marks[n].rows[row] ? row : -1, keyed: true });
  const mark = marks[n];
  const read = row >= 0 && mark.rows[row] ? [mark.rows[row]] : mark.rows;
  say(`${mark.title}. ${read.map((one) => `${one.label} ${one.text}${one.was ? `, was ${one.was}` : ""}`).join(". ")}. ${mark.notes.join(". ")}`);
}

// The segment explorer: groups of customers side by side, two or more against all, the spread of one figure.

import { ask, changed, go, link, state } from "./address.js";
import { choice } from "./controls.js";
import { h, put, s } from "./dom.js";
import { instant, shown } from "./format.js";
import { table } from "./tables.js";

const OWN = ["by", "figure", "of"];
const FILTERS = ["segment", "churn_risk", "recommended_action", "country", "acquisition_channel", "top_category_90d"];

/** Asks for the groups as the address says. */
export function load(signal) {
  const kept = new URLSearchParams();
  for (const [name, value] of state()) if (OWN.includes(name)) kept.append(name, value);
  return ask("groups", kept, signal);
}

/** What groups, which figure, from where. */
export function controls(told) {
  const names = { mart: "the table of customers", index: "the live index" };
  return [
    choice("Groups by", told.choices.map((one) => [one.column, one.label]), told.by, (value) => go(changed({ by: value, group: "" }))),
    choice("Spread of", told.figures.map((one) => [one.column, one.label]), told.figure, (value) => go(changed({ figure: value }))),
    choice("From", told.sources.map((one) => [one, names[one]]), told.of, (value) => go(changed({ of: value, by: "", group: "" }))),
  ];
}

/** Draws the groups. */
export function draw(main, declared, told) {
  const redraw = () => draw(main, declared, told);
  const title = h("h1", { class: "lead" }, "Segments", h("span", {}, `What are the groups like, and how do they differ?${told.as_of ? ` True for ${instant(told.as_of)} UTC.` : ""}`));
  if (!told.groups.length) {
    put(main, title, h("p", { class: "state" }, "There are no customers. ", h("span", {}, "Run `shopstream consume`, or `shopstream segment` over an archive.")));
    return;
  }
  const whole = told.whole.customers;
  const columns = [
    { label: "Compare" }, { label: "Group", link: (row) => lead(told, row[1]) }, { label: "Customers", unit: "count" }, { label: "Share", unit: "percent" },
    { label: "Revenue, sum", unit: "money" }, ...told.figures.map((one) => ({ label: one.label, unit: one.unit })),
  ];
  const rows = [...told.groups, told.whole].map((one) => [null, one.name, one.customers, one.customers / whole, one.revenue, ...one.means]);
  const list = table(columns, rows, { key: "groups", redraw });
  ticked(list);
  const address = new URLSearchParams({ by: told.by, figure: told.figure, of: told.of });
  put(main, title,
    h("p", { class: "pages" }, `${told.groups.length} groups of ${shown(whole, "count")} customers; means are over those who have a value. `, h("a", { class: "csv", download: true, href: `api/groups.csv?${address}` }, "CSV")),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Groups" }, list),
    compared(told, declared.palette), spread(told, declared.palette[0]));
}

function lead(told, name) {
  return FILTERS.includes(told.by) && name !== told.whole.name && name !== "(none)" ? link({ view: "customers", [told.by]: name }) : null;
}

/** A box to tick in the first cell of each group's line. */
function ticked(list) {
  const chosen = state().getAll("group");
  for (const line of list.querySelectorAll("tbody tr")) {
    const name = line.cells[1].textContent;
    const box = h("input", { type: "checkbox", "aria-label": `compare ${name}`, "data-key": `compare ${name}`, checked: chosen.includes(name), onchange: (event) => {
      const left = state().getAll("group").filter((one) => one !== name);
      go(changed({ group: event.target.checked ? [...left, name].slice(-6) : left }));
    } });
    line.cells[0].replaceChildren(box);
  }
}

/** Groups against each other, figure by figure; bars are shares of the largest. */
function compared(told, palette) {
  const chosen = state().getAll("group");
  const groups = [...told.groups, told.whole].filter((one) => chosen.includes(one.name));
  if (!groups.length) return h("p", { class: "state" }, "Tick groups to compare them.");
  const all = groups.includes(told.whole) ? groups : [...groups, told.whole];
  const blocks = told.figures.map((figure, n) => {
    const most = Math.max(...all.map((one) => Math.abs(one.means[n] ?? 0))) || 1;
    const lines = all.map((one, place) => {
      const value = one.means[n];
      const width = Math.max(1, (Math.abs(value ?? 0) / most) * 110);
      const against = one !== told.whole && value !== null && told.whole.means[n] ? ` (${value >= told.whole.means[n] ? "+" : ""}${shown(value / told.whole.means[n] - 1, "percent")})` : "";
      return h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, s("svg", { width: 112, height: 14, "aria-hidden": "true" }, s("rect", { width, height: 14, fill: palette[place % palette.length] }))), h("td", { class: "number" }, shown(value, figure.unit) + against));
    });
    return h("table", { class: "versus" }, h("caption", {}, figure.label), h("tbody", {}, lines));
  });
  return h("section", { class: "part", id: "compared" }, h("h2", {}, "Compared"), h("p", { class: "question" }, "Means, and how far they lie from that of all customers."), h("div", { class: "blocks" }, blocks));
}

/** For each group the middle half of a figure as a box, its median, and from the tenth to the ninetieth in a hundred. */
function spread(told, colour) {
  const figure = told.figures.find((one) => one.column === told.figure);
  const groups = [...told.groups.slice(0, 15), told.whole].filter((one) => one.spread[2] !== null);
  if (!groups.length) return null;
  const high = Math.max(...groups.map((one) => one.spread[4])) || 1;
  const [left, width, tall] = [210, 760, 26];
  const x = (value) => left + (Math.max(0, value) / high) * (width - left - 20);
  const shapes = groups.flatMap((one, n) => {
    const [p10, p25, p50, p75, p90] = one.spread;
    const y = 8 + tall * n;
    const title = s("title", {}, `${one.name}: half between ${shown(p25, figure.unit)} and ${shown(p75, figure.unit)}, median ${shown(p50, figure.unit)}`);
    const name = one.name.length > 30 ? `${one.name.slice(0, 29)}…` : one.name;
    return [s("text", { x: left - 8, y: y + 14, "text-anchor": "end" }, name),
      s("g", {}, title, s("line", { x1: x(p10), x2: x(p90), y1: y + 9, y2: y + 9, class: "axis" }), s("rect", { x: x(p25), width: Math.max(1, x(p75) - x(p25)), y, height: 18, fill: colour, "fill-opacity": 0.6 }), s("line", { x1: x(p50), x2: x(p50), y1: y, y2: y + 18, class: "median" }))];
  });
  const height = 8 + tall * groups.length + 24;
  const marks = [0, high / 2, high].map((value) => s("text", { x: x(value), y: height - 6, "text-anchor": "middle" }, shown(value, figure.unit, true)));
  return h("section", { class: "part", id: "spread" }, h("h2", {}, `Spread of: ${figure.label}`), h("p", { class: "question" }, "The box holds half of a group, the line eight in ten; the mark is the median."), h("div", { class: "scroll" }, s("svg", { role: "img", "aria-label": `Spread of ${figure.label} by group`, width, height, viewBox: `0 0 ${width} ${height}` }, ...shapes, ...marks)));
}

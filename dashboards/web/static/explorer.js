// The segment explorer: groups of customers, a comparison of selected groups, the spread of one figure.

import { ask, changed, go, link, state } from "./address.js";
import { choice } from "./controls.js";
import { h, put, s } from "./dom.js";
import { label, moment, shown, zoneName } from "./format.js";
import { table } from "./tables.js";

const OWN = ["by", "figure", "of"];
const FILTERS = ["segment", "churn_risk", "recommended_action", "country", "acquisition_channel", "top_category_90d"];

/** Loads the groups that the address describes. */
export function load(signal) {
  const query = new URLSearchParams();
  for (const [name, value] of state()) if (OWN.includes(name)) query.append(name, value);
  return ask("groups", query, signal);
}

/** Creates the choices of grouping, figure and source. */
export function controls(data) {
  const names = { table: "Segment table (mart)", index: "Live" };
  return [
    choice("Group by", data.choices.map((one) => [one.column, one.label]), data.by, (value) => go(changed({ by: value, group: "" }))),
    choice("Distribution of", data.figures.map((one) => [one.column, one.label]), data.figure, (value) => go(changed({ figure: value }))),
    choice("Data source", data.sources.map((one) => [one, names[one]]), data.of, (value) => go(changed({ of: value, by: "", group: "" }))),
  ];
}

/** Draws the groups. */
export function draw(main, declared, data) {
  const redraw = () => draw(main, declared, data);
  const title = h("h1", { class: "lead" }, "Segments", h("span", {}, `Compare customer groups${data.as_of ? ` · as of ${moment(data.as_of)} ${zoneName()}` : ""}`));
  if (!data.groups.length) {
    put(main, title, h("p", { class: "state" }, "No customers yet. ", h("span", {}, "Run `shopstream consume`, or `shopstream segment` over an archive.")));
    return;
  }
  const total = data.whole.customers;
  const columns = [
    { label: "Compare", node: (row) => row[1] === data.whole.name ? "" : checkbox(nameOf(data, row[1]), row[1]) },
    { label: "Group", form: (name) => nameOf(data, name), link: (row) => groupLink(data, row[1]) }, { label: "Customers", unit: "count" }, { label: "Share", unit: "percent" },
    { label: "Total revenue", unit: "money" }, ...data.figures.map((one) => ({ label: one.label, unit: one.unit })),
  ];
  const rows = [...data.groups, data.whole].map((one) => [null, one.name, one.customers, one.customers / total, one.revenue, ...one.means]);
  const list = table(columns, rows, { key: "groups", redraw });
  const address = new URLSearchParams({ by: data.by, figure: data.figure, of: data.of });
  put(main, title,
    h("p", { class: "pages" }, `${data.groups.length} groups of ${shown(total, "count")} customers. Averages ignore customers without a value. `, h("a", { class: "csv", download: true, href: `api/groups.csv?${address}` }, "Download CSV")),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Groups" }, list),
    compared(data, declared.palette), spread(data, declared.palette[0]));
}

function groupLink(data, name) {
  return FILTERS.includes(data.by) && name !== data.whole.name && name !== "(none)" ? link({ view: "customers", [data.by]: name }) : null;
}

const nameOf = (data, name) => (name === data.whole.name ? "All customers" : label(data.by, name));

/** Creates the checkbox that selects a group. */
function checkbox(text, name) {
  const chosen = state().getAll("group");
  const left = chosen.filter((one) => one !== name);
  return h("input", { type: "checkbox", "aria-label": `Compare ${text}`, "data-key": `compare ${name}`, checked: chosen.includes(name), onchange: (event) => go(changed({ group: event.target.checked ? [...left, name].slice(-6) : left })) });
}

/** Compares groups figure by figure; a bar is relative to the largest value. */
function compared(data, palette) {
  const chosen = state().getAll("group");
  const groups = [...data.groups, data.whole].filter((one) => chosen.includes(one.name));
  if (!groups.length) return h("p", { class: "state" }, "Select up to 6 groups to compare.");
  const all = groups.includes(data.whole) ? groups : [...groups, data.whole];
  const blocks = data.figures.map((figure, n) => {
    const most = Math.max(...all.map((one) => Math.abs(one.means[n] ?? 0))) || 1;
    const lines = all.map((one, position) => {
      const value = one.means[n];
      const width = Math.max(1, (Math.abs(value ?? 0) / most) * 110);
      const against = one !== data.whole && value !== null && data.whole.means[n] ? ` (${value >= data.whole.means[n] ? "+" : ""}${shown(value / data.whole.means[n] - 1, "percent")})` : "";
      return h("tr", {}, h("th", { scope: "row" }, nameOf(data, one.name)), h("td", {}, s("svg", { width: 112, height: 14, "aria-hidden": "true" }, s("rect", { width, height: 14, fill: palette[position % palette.length] }))), h("td", { class: "number" }, shown(value, figure.unit) + against));
    });
    return h("table", { class: "versus" }, h("caption", {}, figure.label), h("tbody", {}, lines));
  });
  return h("section", { class: "part", id: "compared" }, h("h2", {}, "Comparison"), h("p", { class: "definition" }, "Averages, and difference from all customers"), h("div", { class: "blocks" }, blocks));
}

/** Draws the quartiles of a figure for each group as a box, with its median and the 10th to 90th percentile. */
function spread(data, colour) {
  const figure = data.figures.find((one) => one.column === data.figure);
  const groups = [...data.groups.slice(0, 15), data.whole].filter((one) => one.spread[2] !== null);
  if (!groups.length) return null;
  const high = Math.max(...groups.map((one) => one.spread[4])) || 1;
  const [left, width, tall] = [210, 760, 26];
  const x = (value) => left + (Math.max(0, value) / high) * (width - left - 20);
  const shapes = groups.flatMap((one, n) => {
    const [p10, p25, p50, p75, p90] = one.spread;
    const y = 8 + tall * n;
    const title = s("title", {}, `${nameOf(data, one.name)}: half between ${shown(p25, figure.unit)} and ${shown(p75, figure.unit)}, median ${shown(p50, figure.unit)}`);
    const text = nameOf(data, one.name);
    const name = text.length > 30 ? `${text.slice(0, 29)}…` : text;
    return [s("text", { x: left - 8, y: y + 14, "text-anchor": "end" }, name),
      s("g", {}, title, s("line", { x1: x(p10), x2: x(p90), y1: y + 9, y2: y + 9, class: "axis" }), s("rect", { x: x(p25), width: Math.max(1, x(p75) - x(p25)), y, height: 18, fill: colour, "fill-opacity": 0.6 }), s("line", { x1: x(p50), x2: x(p50), y1: y, y2: y + 18, class: "median" }))];
  });
  const height = 8 + tall * groups.length + 24;
  const marks = [0, high / 2, high].map((value) => s("text", { x: x(value), y: height - 6, "text-anchor": "middle" }, shown(value, figure.unit, true)));
  return h("section", { class: "part", id: "spread" }, h("h2", {}, `Distribution of ${figure.label}`), h("p", { class: "definition" }, "Box: middle 50%, line: 10th–90th percentile, mark: median"), h("div", { class: "scroll" }, s("svg", { role: "img", "aria-label": `Distribution of ${figure.label} by group`, width, height, viewBox: `0 0 ${width} ${height}` }, ...shapes, ...marks)));
}

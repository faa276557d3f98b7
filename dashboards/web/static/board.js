// A dashboard: panels on a grid; a panel is redrawn only when its data has changed.

import { OWN, TIME, changed, link, state, toggle } from "./address.js";
import { OTHER, chart } from "./charts.js";
import { h, put, s } from "./dom.js";
import { NOTHING, NOT_WHOLE, change, duration, interval, shown, stepOf } from "./format.js";
import { copy, restore } from "./hover.js";
import { oneStop, table } from "./tables.js";

const DRILL_FIELDS = { customers: ["segment", "churn_risk", "recommended_action", "churn_reasons", "country", "acquisition_channel", "top_category_90d"], alerts: ["segment", "churn_risk", "recommended_action"] };
const COMPARED = { previous: "Previous period", year: "Same period last year", custom: "Comparison period" };

/** Returns the name of the period that is compared with, or "". */
export function comparison() {
  return COMPARED[state().get("compare")] ?? "";
}

/** Returns the address behind a value of a panel: one customer, the board filtered by it, or the matching customers. */
function behind(panel, values) {
  const [filters, drill] = [{}, {}];
  for (const [n, value] of values.entries()) {
    const dimension = panel.dimensions[n];
    if (dimension?.kind !== "terms" || value === null || value === OTHER || value === "(none)") continue;
    if (dimension.field === "customer_id") return link({ ...time(), view: "customer", id: value });
    if (dimension.filter) filters[dimension.filter] = String(value);
    else if (DRILL_FIELDS[panel.data]?.includes(dimension.field)) drill[dimension.field] = value;
  }
  if (Object.keys(filters).length) return changed(filters);
  const country = state().getAll("country");
  if (country.length && !drill.country) drill.country = country;
  return Object.keys(drill).some((name) => name !== "country" || panel.data === "customers") ? link({ ...time(), view: "customers", ...drill }) : null;
}

const time = () => Object.fromEntries(TIME.map((name) => [name, state().get(name)]));
const isTable = (panel) => panel.chart === "table" || state().getAll("table").includes(panel.id);
const isDrawn = (panel) => !["table", "metric", "heatmap"].includes(panel.chart);

/** Creates the panels of a dashboard in `main`; returns functions that draw a response into them. */
export function open(main, board, palette) {
  const [bodies, current] = [new Map(), new Map()];
  let notes = [];
  const redraw = (panel) => {
    const body = bodies.get(panel.id);
    body.drawn = "";
    draw(panel, body, current.get(panel.id), notes, palette, () => redraw(panel));
  };
  const panels = board.panels.map((panel) => {
    const scrolls = ["table", "heatmap"].includes(panel.chart) || null;
    const body = h("div", { class: `body ${panel.chart}`, tabindex: scrolls && 0, role: scrolls && "region", "aria-label": scrolls && `${panel.title}: figures` }, h("p", { class: "state loading" }, "Loading…"));
    bodies.set(panel.id, body);
    const element = h("section", { class: `panel of-${panel.chart}`, id: panel.id, "aria-labelledby": `${panel.id}-title` },
      h("div", { class: "head" }, h("h2", { id: `${panel.id}-title` }, panel.title), h("span", { class: "tools" }, about(panel), menu(panel, () => redraw(panel)))),
      h("div", { class: "badges" }, (panel.badges ?? []).map((text) => h("span", { class: "badge" }, text))), body);
    const [x, y, w, rows] = panel.position;
    element.style.setProperty("--column", `${x + 1} / span ${w}`);
    element.style.setProperty("--row", `${y + 1} / span ${rows}`);
    return element;
  });
  main.replaceChildren(h("h1", { class: "lead" }, board.title, h("span", {}, board.summary)), h("div", { class: "grid" }, panels));
  return {
    show(answer) {
      notes = answer.notes ?? [];
      const address = asked(board.id);
      for (const panel of board.panels) {
        const [body, data] = [bodies.get(panel.id), answer.panels[panel.id]];
        [data, data?.compare, data?.layer].forEach(unpack);
        if (data?.compare) data.compare.name = comparison();
        current.set(panel.id, data);
        draw(panel, body, data, notes, palette, () => redraw(panel));
        address.set("id", panel.id);
        body.parentElement.querySelector(".csv").setAttribute("href", `api/panel.csv?${address}`);
      }
    },
    resize: () => board.panels.filter((panel) => current.has(panel.id)).forEach(redraw),
    redraw: (id) => redraw(board.panels.find((panel) => panel.id === id)),
  };
}

/** Turns the columns that the server sends to rows. */
function unpack(part) {
  if (!part?.columns) return;
  part.rows = (part.columns[0] ?? []).map((_, n) => part.columns.map((column) => column[n]));
  delete part.columns;
}

/** Returns the parameters that the server takes for a dashboard. It ignores the filters of other dashboards. */
export function asked(id) {
  const address = state();
  for (const name of OWN) address.delete(name);
  address.set("id", id);
  return address;
}

function about(panel) {
  const text = [panel.definition, panel.note].filter(Boolean).join(" ");
  return text ? h("details", { class: "pop about" }, h("summary", { "aria-label": `Definition: ${panel.title}`, title: text }, "i"), h("p", {}, text)) : null;
}

/** Creates the menu of a panel. */
function menu(panel, again) {
  const { title } = panel;
  const close = (event) => (event.target.closest("details").open = false);
  const act = (text, name, onclick, more) => h("button", { type: "button", "aria-label": `${name}: ${title}`, onclick: (event) => (onclick(event), close(event)), ...more }, text);
  return h("details", { class: "pop menu" }, h("summary", { "aria-label": `Menu: ${title}`, title: "Menu" }, "⋯"), h("div", {},
    isDrawn(panel) ? act("Show as table", "Show as table", (event) => {
      event.currentTarget.setAttribute("aria-pressed", toggle("table", panel.id));
      again();
    }, { "aria-pressed": isTable(panel) }) : null,
    h("a", { class: "csv", download: true, href: "", "aria-label": `Download CSV: ${title}` }, "Download CSV"),
    isDrawn(panel) ? act("Download SVG", "Download SVG", () => picture(panel)) : null,
    act("Copy link", "Copy link", () => copy(`${location.href.split("#")[0]}#${panel.id}`)),
    panel.definition ? act("Definition", "Show definition", (event) => (event.target.closest(".tools").querySelector(".about").open = true)) : null));
}

const LOOKS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "font-family", "font-size", "opacity", "text-anchor"];

/** Saves the chart of a panel as an SVG file with its own colours. */
function picture(panel) {
  const svg = document.querySelector(`#${CSS.escape(panel.id)} svg.chart`);
  if (!svg) return;
  const made = svg.cloneNode(true);
  const [from, to] = [svg, made].map((one) => [one, ...one.querySelectorAll("*")]);
  from.forEach((one, n) => {
    const style = getComputedStyle(one);
    for (const name of LOOKS) to[n].setAttribute(name, style.getPropertyValue(name));
  });
  made.prepend(s("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.querySelector(".panel")).backgroundColor }), s("title", {}, panel.title));
  const href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(made)], { type: "image/svg+xml" }));
  h("a", { href, download: `${panel.id}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

const hiddenOf = (panel) => new Set(state().getAll("hide").filter((one) => one.startsWith(`${panel.id}~`)).map((one) => one.slice(panel.id.length + 1)));

function draw(panel, body, data, notes, palette, redraw) {
  if (!data) return;
  const tabled = isTable(panel);
  const hidden = hiddenOf(panel);
  const view = JSON.stringify([data, notes, body.clientWidth, body.clientHeight, tabled, [...hidden], location.search]);
  if (body.drawn === view) return;
  body.drawn = view;
  body.classList.toggle("tabled", tabled);
  const size = { width: Math.max(240, body.clientWidth), height: Math.max(90, body.clientHeight - 2) };
  const made = content(panel, data, size, palette, tabled, redraw, { ...data, notes, hidden });
  const { model } = made;
  put(body, made);
  // figures may change while the drawing does not
  if (model) body.querySelector("svg.chart").model = model;
  restore();
}

function content(panel, data, size, palette, tabled, redraw, more) {
  if (data.problem) return h("p", { class: "state wrong" }, `${data.problem} `, h("span", {}, data.remedy));
  const depth = panel.dimensions.length;
  if (data.silent_ms) return tile(panel, data);
  const none = (rows) => !rows?.length || rows.every((row) => row.slice(depth).every((value) => value === null));
  if ((none(data.rows) || (depth > 0 && !data.hits)) && none(data.layer?.rows)) return h("p", { class: "state" }, "No data for this period. ", h("span", {}, panel.empty));
  if (panel.chart === "metric") return tile(panel, data);
  if (tabled) return listed(panel, data, redraw);
  const made = chart(panel, data.rows, size, palette, (values) => behind(panel, values), more);
  if (panel.chart === "heatmap") oneStop(made);
  return made;
}

/** Creates a tile: the value, its change against the other period, and its course. */
function tile(panel, data) {
  const { unit } = panel.measures[0];
  const [value, was] = [data.rows[0]?.[0], data.compare?.rows?.[0]?.[0]];
  const against = data.compare && change(value, was, unit);
  return h("div", {},
    h("p", { class: "tile", "data-value": value ?? "", title: shown(value, unit) }, shown(value, unit, true)),
    data.silent_ms ? h("p", { class: "silent" }, `Silent for ${duration(data.silent_ms)}`) : null,
    data.compare ? h("p", { class: "change", title: `${data.compare.name}: ${shown(was, unit)}` }, against ? [h("b", {}, against.text), ` vs ${shown(was, unit, true)}`] : `${data.compare.name}: no data`) : null,
    data.spark?.filter(([, one]) => one !== null).length > 2 ? spark(data.spark, new Set(data.spark_partial)) : null);
}

function spark(points, partial) {
  const known = points.filter(([, value]) => value !== null);
  const [low, high] = [Math.min(0, ...known.map(([, v]) => v)), Math.max(...known.map(([, v]) => v))];
  const at = ([, value], n) => `${Math.round((n / (known.length - 1)) * 1000) / 10},${Math.round((1 - (value - low) / (high - low || 1)) * 240) / 10 + 2}`;
  const all = known.map(at);
  const start = partial.has(known[0]?.[0]) ? 1 : 0;
  const end = partial.has(known.at(-1)?.[0]) ? -1 : undefined;
  const cut = { class: "partial", "stroke-dasharray": "1 3" };
  const line = (some, more) => s("polyline", { points: some.join(" "), fill: "none", stroke: "var(--s0)", "vector-effect": "non-scaling-stroke", "stroke-width": 1.5, ...more });
  return s("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, start ? line(all.slice(0, 2), cut) : null, line(all.slice(start, end)), end ? line(all.slice(-2), cut) : null);
}

/** Creates the table of a panel: its columns, and after each figure that is compared, its change. */
function listed(panel, data, redraw) {
  const depth = panel.dimensions.length;
  const key = (row) => JSON.stringify(row.slice(0, depth));
  const before = new Map(data.compare?.rows?.map((row) => [key(row), row]));
  const columns = panel.dimensions.flatMap((one, n) => {
    const step = one.kind === "time" ? stepOf([...new Set(data.rows.map((row) => row[n]))].sort((a, b) => a - b)) : 0;
    const notes = one.notes ? [{ label: one.notes.label, value: (row) => one.notes.texts[row[n]] }] : [];
    return [{ label: one.label, value: (row) => row[n], unit: one.kind === "time" ? "time" : "text", field: one.kind === "terms" ? one.field : "", form: step ? (value) => interval(value, step) : undefined,
      mark: one.kind === "time" ? (value) => (data.partial?.includes(value) ? NOT_WHOLE : "") : undefined, link: (row) => behind({ ...panel, dimensions: [one] }, [row[n]]) }, ...notes];
  });
  panel.measures.forEach((one, n) => {
    columns.push({ ...one, value: (row) => row[depth + n] });
    if (!data.compare || one.unit === "time") return;
    const was = (row) => before.get(key(row))?.[depth + n];
    if (panel.chart !== "table") columns.push({ label: `${one.label}: ${data.compare.name.toLowerCase()}`, unit: one.unit, value: was, mark: (_, row) => (data.compare.partial?.includes(row[0]) ? NOT_WHOLE : "") });
    columns.push({ id: `${one.label} change`, label: "Change", unit: "percent", value: (row) => change(row[depth + n], was(row), one.unit)?.rate ?? null, form: rates(one.unit), title: (row) => `${data.compare.name}: ${shown(was(row), one.unit)}` });
  });
  if (data.layer) return h("div", {}, table(columns, data.rows, { key: panel.id, kept: true, redraw }), layered(panel, data));
  return table(columns, data.rows, { key: panel.id, kept: true, redraw });
}

/** Returns the format of changes, which are rates, or percentage points of shares. */
const rates = (unit) => (rate) => {
  if (rate === null) return NOTHING;
  return unit === "percent" ? change(rate / 100, 0, unit).text : rate === Infinity ? "▲ new" : change(1 + rate, 1, "").text;
};

function layered(panel, data) {
  const columns = [{ label: panel.dimensions[0].label, form: (value) => interval(value, stepOf(data.layer.rows.map((row) => row[0]))) }, ...panel.layer.measures];
  return table(columns, data.layer.rows, { key: `${panel.id} layer`, caption: `Forecast made on ${interval(data.layer.as_of, 86400e3)}`, redraw: () => {} });
}

// A dashboard: panels on a grid; a panel is redrawn only when its data has changed.

import { link, state } from "./address.js";
import { chart } from "./charts.js";
import { h, put } from "./dom.js";
import { NOT_WHOLE, shown } from "./format.js";
import { table } from "./tables.js";

const DRILL_FIELDS = { customers: ["segment", "churn_risk", "recommended_action", "churn_reasons", "country", "acquisition_channel", "top_category_90d"], alerts: ["segment", "churn_risk", "recommended_action"] };

const asTable = new Set();

/** Returns the address behind a value of a panel: a customer, or the matching customers. */
export function drill(panel, values) {
  const filters = {};
  for (const [n, value] of values.entries()) {
    const dimension = panel.dimensions[n];
    if (dimension?.kind !== "terms" || value === null) continue;
    if (dimension.field === "customer_id") return link({ view: "customer", id: value });
    if (DRILL_FIELDS[panel.data]?.includes(dimension.field)) filters[dimension.field] = value;
  }
  const country = state().getAll("country");
  if (country.length && !filters.country) filters.country = country;
  return Object.keys(filters).some((name) => name !== "country" || panel.data === "customers") ? link({ view: "customers", ...filters }) : null;
}

/** Creates the panels of a dashboard in `main`; returns functions that draw a response into them. */
export function open(main, board, palette) {
  const bodies = new Map();
  const current = new Map();
  const panels = board.panels.map((panel) => {
    const body = h("div", { class: `body ${panel.chart}`, tabindex: panel.chart === "table" ? 0 : null, role: panel.chart === "table" ? "region" : null, "aria-label": panel.chart === "table" ? panel.title : null }, h("p", { class: "state" }, "Loading …"));
    bodies.set(panel.id, body);
    const again = () => draw(panel, body, current.get(panel.id), palette);
    const charted = !["table", "metric"].includes(panel.chart);
    const toggle = charted ? h("button", { type: "button", "aria-pressed": asTable.has(panel.id), onclick: (event) => {
      if (!asTable.delete(panel.id)) asTable.add(panel.id);
      event.target.setAttribute("aria-pressed", asTable.has(panel.id));
      again();
    } }, "Table") : null;
    const csv = h("a", { class: "csv", download: true, href: "" }, "CSV");
    const element = h("section", { class: `panel of-${panel.chart}`, id: panel.id, "aria-labelledby": `${panel.id}-title` },
      h("div", { class: "head" }, h("h2", { id: `${panel.id}-title`, title: panel.note || null }, panel.title), h("span", { class: "tools" }, toggle, csv)),
      h("p", { class: "definition", title: panel.note || null }, panel.definition), body);
    const [x, y, w, rows] = panel.position;
    element.style.setProperty("--column", `${x + 1} / span ${w}`);
    element.style.setProperty("--row", `${y + 1} / span ${rows}`);
    return element;
  });
  main.replaceChildren(h("h1", { class: "lead" }, board.title, h("span", {}, board.summary)), h("div", { class: "grid" }, panels));
  return {
    show(answer) {
      for (const panel of board.panels) {
        current.set(panel.id, answer.panels[panel.id]);
        draw(panel, bodies.get(panel.id), answer.panels[panel.id], palette);
        const address = state();
        address.delete("view");
        address.delete("refresh");
        address.set("id", panel.id);
        const csv = bodies.get(panel.id).parentElement.querySelector(".csv");
        csv.setAttribute("href", `api/panel.csv?${address}`);
        csv.setAttribute("aria-label", `CSV of ${panel.title}`);
      }
    },
    resize() {
      for (const panel of board.panels) if (current.has(panel.id)) draw(panel, bodies.get(panel.id), current.get(panel.id), palette);
    },
  };
}

function draw(panel, body, data, palette) {
  if (!data) return;
  const view = `${JSON.stringify(data)} ${body.clientWidth} ${body.clientHeight} ${asTable.has(panel.id)}`;
  if (body.drawn === view) return;
  body.drawn = view;
  const redraw = () => { body.drawn = ""; draw(panel, body, data, palette); };
  body.classList.toggle("tabled", asTable.has(panel.id));
  put(body, content(panel, data, { width: Math.max(240, body.clientWidth), height: Math.max(90, body.clientHeight - 2) }, palette, redraw));
}

function content(panel, data, size, palette, redraw) {
  if (data.problem) return h("p", { class: "state wrong" }, `${data.problem} `, h("span", {}, data.remedy));
  const depth = panel.dimensions.length;
  const empty = !data.rows.length || data.rows.every((row) => row.slice(depth).every((value) => value === null)) || (depth > 0 && !data.hits);
  if (empty) return h("p", { class: "state" }, "Nothing here. ", h("span", {}, panel.empty));
  if (panel.chart === "metric") {
    return h("p", { class: "tile", "data-value": data.rows[0][0] ?? "" }, shown(data.rows[0][0], panel.measures[0].unit));
  }
  if (panel.chart === "table" || asTable.has(panel.id)) {
    const columns = [
      ...panel.dimensions.map((one, n) => ({ label: one.label, unit: one.kind === "time" ? "time" : "text", mark: one.kind === "time" ? (value) => (data.partial?.includes(value) ? NOT_WHOLE : "") : undefined, link: (row) => drill({ ...panel, dimensions: [panel.dimensions[n]] }, [row[n]]) })),
      ...panel.measures,
    ];
    return table(columns, data.rows, { key: panel.id, redraw });
  }
  return chart(panel, data.rows, size, palette, (values) => drill(panel, values), data.partial);
}


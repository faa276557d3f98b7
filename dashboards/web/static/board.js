// A dashboard: panels on a grid, each drawn anew only when its figures have changed.

import { link, state } from "./address.js";
import { chart } from "./charts.js";
import { h, put } from "./dom.js";
import { shown } from "./format.js";
import { table } from "./tables.js";

const DRILLED = { customers: ["segment", "churn_risk", "recommended_action", "churn_reasons", "country", "acquisition_channel", "top_category_90d"], alerts: ["segment", "churn_risk", "recommended_action"] };

const asTable = new Set();

/** Where a value of a panel leads: to a customer, or to the customers behind it. */
export function drill(panel, values) {
  const filters = {};
  for (const [n, value] of values.entries()) {
    const dimension = panel.dimensions[n];
    if (dimension?.kind !== "terms" || value === null) continue;
    if (dimension.field === "customer_id") return link({ view: "customer", id: value });
    if (DRILLED[panel.data]?.includes(dimension.field)) filters[dimension.field] = value;
  }
  const country = state().getAll("country");
  if (country.length && !filters.country) filters.country = country;
  return Object.keys(filters).some((name) => name !== "country" || panel.data === "customers") ? link({ view: "customers", ...filters }) : null;
}

/** The panels of a dashboard in `main`; gives what draws an answer into them. */
export function open(main, board, palette) {
  const bodies = new Map();
  const latest = new Map();
  const panels = board.panels.map((panel) => {
    const body = h("div", { class: `body ${panel.chart}`, tabindex: panel.chart === "table" ? 0 : null, role: panel.chart === "table" ? "region" : null, "aria-label": panel.chart === "table" ? panel.title : null }, h("p", { class: "state" }, "Loading …"));
    bodies.set(panel.id, body);
    const again = () => draw(panel, body, latest.get(panel.id), palette);
    const charted = !["table", "metric"].includes(panel.chart);
    const turn = charted ? h("button", { type: "button", "aria-pressed": asTable.has(panel.id), onclick: (event) => {
      if (!asTable.delete(panel.id)) asTable.add(panel.id);
      event.target.setAttribute("aria-pressed", asTable.has(panel.id));
      again();
    } }, "Table") : null;
    const csv = h("a", { class: "csv", download: true, href: "" }, "CSV");
    const element = h("section", { class: `panel of-${panel.chart}`, id: panel.id, "aria-labelledby": `${panel.id}-title` },
      h("div", { class: "head" }, h("h2", { id: `${panel.id}-title`, title: panel.note || null }, panel.title), h("span", { class: "tools" }, turn, csv)),
      h("p", { class: "question", title: panel.note || null }, panel.question), body);
    const [x, y, w, rows] = panel.place;
    element.style.setProperty("--column", `${x + 1} / span ${w}`);
    element.style.setProperty("--place", `${y + 1} / span ${rows}`);
    return element;
  });
  main.replaceChildren(h("h1", { class: "lead" }, board.title, h("span", {}, board.question)), h("div", { class: "grid" }, panels));
  return {
    show(answer) {
      for (const panel of board.panels) {
        latest.set(panel.id, answer.panels[panel.id]);
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
      for (const panel of board.panels) if (latest.has(panel.id)) draw(panel, bodies.get(panel.id), latest.get(panel.id), palette);
    },
  };
}

function draw(panel, body, told, palette) {
  if (!told) return;
  const view = `${JSON.stringify(told)} ${body.clientWidth} ${body.clientHeight} ${asTable.has(panel.id)}`;
  if (body.drawn === view) return;
  body.drawn = view;
  const redraw = () => { body.drawn = ""; draw(panel, body, told, palette); };
  body.classList.toggle("tabled", asTable.has(panel.id));
  put(body, content(panel, told, { width: Math.max(240, body.clientWidth), height: Math.max(90, body.clientHeight - 2) }, palette, redraw));
}

function content(panel, told, size, palette, redraw) {
  if (told.problem) return h("p", { class: "state wrong" }, `${told.problem} `, h("span", {}, told.remedy));
  const depth = panel.dimensions.length;
  const empty = !told.rows.length || told.rows.every((row) => row.slice(depth).every((value) => value === null)) || (depth > 0 && !told.hits);
  if (empty) return h("p", { class: "state" }, "Nothing here. ", h("span", {}, panel.empty));
  if (panel.chart === "metric") {
    return h("p", { class: "tile", "data-value": told.rows[0][0] ?? "" }, shown(told.rows[0][0], panel.measures[0].unit));
  }
  if (panel.chart === "table" || asTable.has(panel.id)) {
    const columns = [
      ...panel.dimensions.map((one, n) => ({ label: one.label, unit: one.kind === "time" ? "time" : "text", link: (row) => drill({ ...panel, dimensions: [panel.dimensions[n]] }, [row[n]]) })),
      ...panel.measures,
    ];
    return table(columns, told.rows, { key: panel.id, redraw });
  }
  return chart(panel, told.rows, size, palette, (values) => drill(panel, values));
}


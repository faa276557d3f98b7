// One customer: profile, scores with reasons, recommended action, and history.

import { ask, link, state } from "./address.js";
import { chart } from "./charts.js";
import { h, put } from "./dom.js";
import { instant, shown, zoneName } from "./format.js";
import { table } from "./tables.js";

const TILES = [
  ["segment", "Segment", "text"], ["churn_risk", "Churn risk", "text"], ["churn_probability", "Churn probability", "percent"],
  ["recommended_action", "What to do", "text"], ["revenue_365d", "Revenue of a year", "money"], ["orders_365d", "Orders in a year", "count"],
  ["recency_days", "Since the last order", "days"], ["order_gap_mean_days", "Usual gap between orders", "days"],
  ["purchase_probability_30d", "Buys within 30 days", "percent"], ["expected_days_to_purchase", "Days to the next order", "days"],
  ["expected_revenue_90d", "Expected revenue, 90 days", "money"], ["rfm_code", "Recency, frequency, money", "text"],
];
const SESSIONS = [["start_ts", "Start", "time"], ["stage", "Stage reached", "text"], ["device", "Device", "text"], ["channel", "Channel", "text"], ["category", "Category", "text"], ["events", "Clicks", "count"], ["duration_s", "Length", "seconds"], ["session_id", "Session", "text"]];
const ORDERS = [["ts", "Placed", "time"], ["status", "Status", "text"], ["total", "Total", "money"], ["items", "Lines", "count"], ["channel", "Channel", "text"], ["payment_method", "Payment", "text"], ["order_id", "Order", "text"]];
const ALERTS = [["ts", "When", "time"], ["churn_risk", "Risk", "text"], ["churn_risk_before", "Before", "text"], ["churn_probability", "Churn probability", "percent"], ["churn_reasons", "Reasons", "text"], ["recommended_action", "Action", "text"]];

/** Loads the history of the customer in the address. */
export function load(signal) {
  return ask("customer", new URLSearchParams({ id: state().get("id") ?? "" }), signal);
}

/** Draws the view. */
export function draw(main, declared, data) {
  const { row } = data;
  const redraw = () => draw(main, declared, data);
  put(main,
    h("h1", { class: "lead" }, `Customer ${data.id}`, h("span", {}, profile(row))),
    h("p", { class: "crumbs" }, h("a", { href: link({ view: "customers", segment: row.segment }) }, row.segment ? `all of ${row.segment}` : "all customers")),
    h("div", { class: "tiles" }, TILES.filter(([field]) => known(row[field])).map(([field, label, unit]) => h("div", { "data-field": field }, h("p", {}, label), h("p", { class: "tile" }, shown(row[field], unit))))),
    reasons(declared, row),
    h("div", { class: "charts" },
      part("Churn probability over time", "At each alert, and now.", score(data, declared.palette)),
      part("Revenue by week", "Placed, cancelled and refunded orders, by the week of placement.", weekly(data.weeks.revenue, "Revenue", "money", declared.palette)),
      part("Visits by week", "Sessions, by their start.", weekly(data.weeks.sessions, "Visits", "count", declared.palette))),
    part(`Orders: ${more(data.orders, data.orders_total)}`, "", listed(ORDERS, data.orders, "orders", redraw)),
    part(`Visits: ${more(data.sessions, data.sessions_total)}`, "", listed(SESSIONS, data.sessions, "sessions", redraw)),
    part("Alerts", "Each time the risk rose.", listed(ALERTS, data.alerts, "alerts", redraw)),
    part("Every feature", row.as_of ? `As of ${instant(row.as_of)} ${zoneName()}.` : "", features(declared, row)));
}

const known = (value) => value !== null && value !== undefined && value !== "";
const more = (rows, total) => (rows.length < total ? `the newest ${rows.length} of ${total}` : String(total));

function profile(row) {
  const facts = [row.country, row.age && `${row.age} years`, row.gender, row.acquisition_channel && `came by ${row.acquisition_channel}`, row.premium && "premium", row.signup_ts && `signed up ${instant(row.signup_ts).slice(0, 10)}`, row.last_seen_ts && `last seen ${instant(row.last_seen_ts)}`];
  return facts.filter(Boolean).join(", ") || "There is no profile.";
}

function part(title, note, ...content) {
  return h("section", { class: "part" }, h("h2", {}, title), note ? h("p", { class: "definition" }, note) : null, ...content);
}

function reasons(declared, row) {
  if (!row.churn_reasons?.length) return null;
  const lines = row.churn_reasons.map((name) => h("li", {}, h("strong", {}, name), known(row[name]) ? ` is ${shown(row[name], declared.amounts.includes(name) ? "money" : "number")}` : " (computed by the model)", declared.features[name] ? `: ${declared.features[name]}` : ""));
  return part("Why", "The features that push the churn probability up most.", h("ol", { class: "reasons" }, lines));
}

function score(data, palette) {
  const points = data.alerts.map((one) => [one.ts, one.churn_probability]);
  if (known(data.row.churn_probability)) points.push([data.row.as_of, data.row.churn_probability]);
  if (!points.length) return h("p", { class: "state" }, "No score yet. ", h("span", {}, "`shopstream train` creates a model; customers without an order have no score."));
  return drawn("Churn probability over time", "line", points, "Churn probability", "percent", palette);
}

function weekly(points, label, unit, palette) {
  if (!points.length) return h("p", { class: "state" }, "Nothing here.");
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const figures = new Map(points);
  const filled = [];
  for (let at = first; at <= last; at += 7 * 86400e3) filled.push([at, figures.get(at) ?? 0]);
  return drawn(label, "bar", filled, label, unit, palette);
}

function drawn(title, kind, rows, label, unit, palette) {
  const panel = { title, definition: "", chart: kind, dimensions: [{ kind: "time", label: "Time" }], measures: [{ label, unit }] };
  return h("div", { class: "scroll" }, chart(panel, rows, { width: 460, height: 170 }, palette, () => null));
}

function listed(fields, documents, key, redraw) {
  if (!documents.length) return h("p", { class: "state" }, "None.");
  const columns = fields.map(([, label, unit]) => ({ label, unit }));
  const rows = documents.map((one) => fields.map(([field]) => one[field] ?? null));
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": key }, table(columns, rows, { key: `customer `, redraw }));
}

function features(declared, row) {
  const unit = (name) => (declared.amounts.includes(name) ? "money" : "number");
  const rows = Object.entries(declared.features).filter(([name]) => known(row[name])).map(([name, help]) => [name, name.endsWith("_ts") ? instant(row[name]) : shown(row[name], unit(name)), help]);
  return h("details", {}, h("summary", {}, `${rows.length} features`), h("div", { class: "wide" }, table([{ label: "Feature" }, { label: "Value", unit: "number" }, { label: "Definition" }], rows, { key: "features", redraw: () => {} })));
}


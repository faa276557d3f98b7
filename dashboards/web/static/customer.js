// One customer: a sentence, why and what to do, one time axis to today, and the rows behind them.

import { ask, link, state } from "./address.js";
import { chart } from "./charts.js";
import { h, put, s } from "./dom.js";
import { label, moment, shown } from "./format.js";
import { table } from "./tables.js";

const TILES = [
  ["segment", "Segment", "text"], ["churn_risk", "Churn risk", "text"], ["churn_probability", "Churn probability", "percent"],
  ["revenue_365d", "Revenue (12 mo)", "money"], ["orders_365d", "Orders (12 mo)", "count"],
  ["recency_days", "Days since last order", "days"], ["order_gap_mean_days", "Typical order gap", "days"],
  ["purchase_probability_30d", "P(order in 30 days)", "percent"], ["expected_days_to_purchase", "Expected days to next order", "days"],
  ["expected_revenue_90d", "Expected revenue (90 days)", "money"], ["rfm_code", "RFM scores", "text"],
];
const VISITS = [["start_ts", "Started", "time"], ["stage", "Reached"], ["device", "Device"], ["channel", "Channel"], ["category", "Category"], ["events", "Events", "count"], ["duration_s", "Duration", "seconds"], ["session_id", "Visit"]];
const ORDERS = [["ts", "Placed", "time"], ["status", "Status"], ["total", "Total", "money"], ["items", "Items", "count"], ["channel", "Channel"], ["payment_method", "Payment"], ["order_id", "Order"]];
const ALERTS = [["ts", "When", "time"], ["churn_risk", "Risk"], ["churn_risk_before", "Before"], ["churn_probability", "Churn probability", "percent"], ["churn_reasons", "Why"], ["recommended_action", "Recommended action"]];
const INPUTS = [{ label: "Input" }, { label: "Value" }, { label: "Definition" }];

/** Loads the history of the customer in the address. */
export function load(signal) {
  return ask("customer", new URLSearchParams({ id: state().get("id") ?? "" }), signal);
}

/** Draws the view. */
export function draw(main, declared, data) {
  const { row } = data;
  const redraw = () => draw(main, declared, data);
  const weekly = (title, name, unit) => part(title, drawn(title, "bar", data.weeks[name], unit, declared.palette));
  put(main,
    h("h1", { class: "lead" }, "Customer ", h("bdi", {}, data.id), h("span", {}, profile(row))),
    h("p", {}, h("a", { href: link({ view: "customers", segment: row.segment }) }, row.segment ? `← Customers in "${row.segment}"` : "← All customers")),
    h("p", { class: "summary" }, data.summary || "No profile data."),
    data.hold_out ? h("p", { class: "state" }, "Hold-out group: do not contact. This customer is in every figure, but on no list of customers to contact.") : null,
    data.why.length ? part("Why at risk", h("ol", { class: "reasons" }, data.why.map((text) => h("li", {}, text)))) : null,
    row.recommended_action ? h("p", { "data-field": "recommended_action" }, "Recommended: ", h("strong", {}, label("recommended_action", row.recommended_action)), data.action_text ? ` — ${data.action_text}` : "") : null,
    part(`Orders, visits and alerts up to ${day(data.newest_ms)}`, timeline(data)),
    h("div", { class: "tiles" }, TILES.filter(([field]) => known(row[field])).map(([field, name, unit]) => h("div", { "data-field": field }, h("p", {}, field === "churn_probability" ? within(name, data.horizons.row) : name), h("p", { class: "tile" }, field === "rfm_code" ? [...row[field]].join(" – ") : unit === "text" ? label(field, row[field]) : shown(row[field], unit))))),
    h("div", { class: "charts" },
      part("Churn probability (at each alert, and now)", score(data, declared.palette)),
      weekly("Weekly order value (all statuses)", "revenue", "money"),
      weekly("Weekly visits", "sessions", "count")),
    part(`Orders (${more(data.orders, data.orders_total)})`, listed(ORDERS, data.orders, "Orders", redraw)),
    part(`Visits (${more(data.sessions, data.sessions_total)})`, listed(VISITS, data.sessions, "Visits", redraw)),
    part("Churn alerts", listed(ALERTS.map(([field, name, unit]) => [field, unit === "percent" ? within(name, data.horizons.alerts) : name, unit]), data.alerts, "Churn alerts", redraw)),
    row.as_of ? part(`All model inputs — as of ${moment(row.as_of)}`, h("details", {}, h("summary", {}, `${data.inputs.length} inputs`),
      h("div", { class: "wide" }, table(INPUTS, data.inputs.map(([name, value, unit, help]) => [name, shown(value, unit), help]), { key: "inputs", redraw })))) : null);
}

/** Returns the date of a time: 14 Nov 2026. */
const day = (ms) => moment(ms).split(", ")[0];
const within = (name, horizon) => (horizon ? `${name} (${horizon})` : name);
const known = (value) => value !== null && value !== undefined && value !== "";
const more = (rows, total) => (rows.length < total ? `latest ${rows.length} of ${total}` : total);

function profile(row) {
  const facts = [row.country, row.age && `${row.age} years`, row.gender && label("gender", row.gender), row.acquisition_channel && `acquired via ${label("acquisition_channel", row.acquisition_channel).toLowerCase()}`, row.premium && "premium", row.marketing_opt_in === false && "no marketing consent", row.signup_ts && `signed up ${day(row.signup_ts)}`, row.last_seen_ts && `last seen ${moment(row.last_seen_ts)}`];
  return facts.filter(Boolean).join(", ");
}

function part(title, ...content) {
  return h("section", { class: "part" }, h("h2", {}, title), ...content);
}

/** Draws orders, visits and alerts on one axis that ends today, or at the expected next order. */
function timeline({ since_ms: from, newest_ms: today, next_order_ms: next, days, alerts }) {
  const to = Math.max(today, next ?? 0) + 86400e3;
  const x = (ms) => Math.round(70 + (Math.max(0, ms - from) / (to - from)) * 820);
  const lanes = [["Orders", days.revenue], ["Visits", days.sessions], ["Alerts", alerts.map((one) => one.ts).filter((ms) => ms >= from)]];
  const text = (at, y, words, anchor) => s("text", { x: at, y, "text-anchor": anchor }, words);
  const ticks = Array.from({ length: 7 }, (_, n) => from + ((today - from) * n) / 6);
  const ahead = next > today ? `, next order expected ${day(next)}` : "";
  const name = `${lanes.map(([lane, times]) => `${lane} on ${new Set(times.map(day)).size} days`).join(", ")} from ${day(from)} up to ${day(today)}${ahead}.`;
  return h("div", { class: "scroll" }, s("svg", { role: "img", "aria-label": name, viewBox: "0 0 900 118", width: 900, height: 118, class: "timeline" },
    lanes.map(([lane, times], n) => [text(62, 24 + n * 28, lane, "end"), s("line", { class: "rule", x1: 70, x2: 890, y1: 20 + n * 28, y2: 20 + n * 28 }),
      times.map((ms) => s("circle", { cx: x(ms), cy: 20 + n * 28, r: 4, fill: `var(--s${n})`, "data-lane": lane }, s("title", {}, `${lane}: ${day(ms)}`)))]).flat(2),
    s("line", { class: "axis today", x1: x(today), x2: x(today), y1: 4, y2: 92 }),
    ticks.map((ms, n) => text(x(ms), 110, day(ms), n ? "middle" : "start")),
    ahead ? s("g", { class: "next" }, s("circle", { cx: x(next), cy: 20, r: 5, fill: "none", stroke: "var(--s0)", "stroke-width": 2 }, s("title", {}, `Expected: ${day(next)}`)), x(next) - x(today) > 130 ? text(890, 110, day(next), "end") : null) : null));
}

function score(data, palette) {
  const points = data.alerts.map((one) => [one.ts, one.churn_probability]);
  if (known(data.row.churn_probability)) points.push([data.row.as_of, data.row.churn_probability]);
  if (!points.length) return h("p", { class: "state" }, "Not scored: no order yet, or no model (`shopstream train`).");
  return drawn("Churn probability", "line", points, "percent", palette);
}

function drawn(title, kind, rows, unit, palette) {
  const panel = { id: title, title, definition: "", chart: kind, dimensions: [{ kind: "time", label: "Time" }], measures: [{ label: title, unit }] };
  return h("div", { class: "scroll" }, chart(panel, rows, { width: 460, height: 170 }, palette, () => null));
}

function listed(fields, documents, name, redraw) {
  if (!documents.length) return h("p", { class: "state" }, "None yet.");
  const columns = fields.map(([field, title, unit]) => ({ label: title, unit, field: unit ? undefined : field }));
  const rows = documents.map((one) => fields.map(([field]) => one[field] ?? null));
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": name }, table(columns, rows, { key: name, redraw }));
}

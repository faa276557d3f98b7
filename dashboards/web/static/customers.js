// The customers behind a segment: filtered, sorted and paged by the server.

import { ask, changed, go, link, state } from "./address.js";
import { filter } from "./controls.js";
import { h, put } from "./dom.js";
import { moment, shown } from "./format.js";
import { table } from "./tables.js";

const OWN = ["find", "sort", "rising", "first", "size", "inactive"];

/** Creates the filters above the list. */
export function controls(declared, choices) {
  const find = h("input", { type: "search", "data-key": "find", placeholder: "id starts with…", value: state().get("find") ?? "", onchange: (event) => go(changed({ find: event.target.value, first: "" })) });
  return [h("label", {}, "Find customer ", find), ...declared.customers.filters.map((one) => filter(one.label, one.field, choices[one.field] ?? []))];
}

/** Loads the list that the address describes. */
export async function load(declared, signal) {
  const query = new URLSearchParams();
  const known = [...OWN, ...declared.customers.filters.map((one) => one.field)];
  for (const [name, value] of state()) if (known.includes(name)) query.append(name, value);
  return { data: await ask("customers", query, signal), query };
}

/** Draws the view. */
export function draw(main, declared, { data, query }) {
  const exact = (field) => data.times[field] && ((row) => {
    const time = data.times[field][data.rows.indexOf(row)];
    return time === null ? null : moment(time);
  });
  const columns = declared.customers.columns.map((column) => ({ ...column, title: exact(column.field), link: column.field === "customer_id" ? (row) => link({ view: "customer", id: row[0] }) : null }));
  const sort = query.get("sort") ?? "revenue_365d";
  const server = {
    by: columns.find((one) => one.field === sort)?.label,
    rising: query.has("rising"),
    turn: (column) => go(changed({ sort: column.field, rising: column.field === sort && !query.has("rising") ? "1" : "", first: "" })),
  };
  const page = declared.customers.page;
  const last = data.first + data.rows.length;
  const pages = h("p", { class: "pages" },
    `${data.rows.length ? data.first + 1 : 0}–${last} of ${shown(data.total, "count")} customers · `,
    data.first ? h("a", { href: changed({ first: Math.max(0, data.first - page) || "" }) }, "Previous") : null, " ",
    last < data.total ? (last > data.first_max ? "Filter the list to see more." : h("a", { href: changed({ first: last }) }, "Next")) : null, " ",
    h("a", { class: "csv", download: true, href: `api/customers.csv?${csv(query)}` }, "Download CSV (first 500)"));
  const list = data.rows.length ? table(columns, data.rows, { server, cards: true })
    : h("p", { class: "state" }, "No customers match. ", h("span", {}, "Remove a filter. If the shop is empty, run `shopstream consume`."));
  put(main, h("h1", { class: "lead" }, "Customers", h("span", {}, query.has("inactive") ? ["Already inactive: high or critical risk, not seen lately. ", h("a", { href: changed({ inactive: "", first: "" }), "data-key": "all" }, "All customers")] : "All customers")), pages, h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "List of customers" }, list));
}

function csv(query) {
  const first = new URLSearchParams(query);
  first.delete("first");
  first.set("size", "500");
  return first;
}

// The customers behind a segment: filtered, sorted and paged by the server.

import { ask, changed, go, link, state } from "./address.js";
import { filter, without } from "./controls.js";
import { h, put } from "./dom.js";
import { shown } from "./format.js";
import { table } from "./tables.js";

const OWN = ["find", "sort", "rising", "first", "size"];

/** The filters above the list. */
export function controls(declared, choices) {
  const find = h("input", { type: "search", "data-key": "find", placeholder: "beginning of an id", value: state().get("find") ?? "", onchange: (event) => go(changed({ find: event.target.value, first: "" })) });
  return [
    h("label", {}, "Customer ", find),
    ...declared.customers.filters.map((one) => filter(one.label, one.field, choices[one.field] ?? [])),
    without([...declared.customers.filters.map((one) => one.field), "find"]),
  ];
}

/** Asks for the list as the address says. */
export async function load(declared, signal) {
  const kept = new URLSearchParams();
  const known = [...OWN, ...declared.customers.filters.map((one) => one.field)];
  for (const [name, value] of state()) if (known.includes(name)) kept.append(name, value);
  return { told: await ask("customers", kept, signal), asked: kept };
}

/** Draws it. */
export function draw(main, declared, { told, asked }) {
  const columns = declared.customers.columns.map((column) => ({ ...column, link: column.field === "customer_id" ? (row) => link({ view: "customer", id: row[0] }) : null }));
  const sort = asked.get("sort") ?? "revenue_365d";
  const server = {
    by: columns.find((one) => one.field === sort)?.label,
    rising: asked.has("rising"),
    turn: (column) => go(changed({ sort: column.field, rising: column.field === sort && !asked.has("rising") ? "1" : "", first: "" })),
  };
  const page = declared.customers.page;
  const last = told.first + told.rows.length;
  const pages = h("p", { class: "pages" },
    `${told.rows.length ? told.first + 1 : 0} to ${last} of ${shown(told.total, "count")} customers `,
    told.first ? h("a", { href: changed({ first: Math.max(0, told.first - page) || "" }) }, "back") : null, " ",
    last < told.total ? h("a", { href: changed({ first: last }) }, "further") : null, " ",
    h("a", { class: "csv", download: true, href: `api/customers.csv?${csv(asked)}` }, "CSV of the first 500"));
  const list = told.rows.length ? table(columns, told.rows, { server })
    : h("p", { class: "state" }, "No customer meets these filters. ", h("span", {}, "Take one away, or run `shopstream consume` where there is none at all."));
  put(main, h("h1", { class: "lead" }, "Customers", h("span", {}, "Who is behind the figures, and who is to be acted on?")), pages, h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Customers" }, list));
}

function csv(asked) {
  const found = new URLSearchParams(asked);
  found.delete("first");
  found.set("size", "500");
  return found;
}


// Tables: right-aligned figures in one precision a column, headers that sort by a click, cells with links.

import { changed, state } from "./address.js";
import { h } from "./dom.js";
import { formOf, help, label, shown } from "./format.js";

const sortings = new Map();

/**
 * Creates a table.
 *
 * columns: label, unit, and optionally id, field (whose values have words), help, title(row), node(row) -> element, value(row), link(row) -> address, and
 * mark(value, row) -> text after the value. On a phone the rows are `cards`. key: key of the order of rows, which is part of the address if `kept`;
 * server: { by, rising, turn(column) } if the server sorts.
 */
export function table(columns, rows, { key, caption, server, redraw, kept, cards } = {}) {
  const stored = state().getAll("order").map((one) => one.split("~")).find(([name]) => name === key);
  const order = server ?? (kept && stored ? { by: stored[1], rising: stored[2] === "up" } : sortings.get(key));
  const cells = rows.map((row) => ({ row, values: columns.map((one, n) => (one.value ? one.value(row) : row[n]) ?? null) }));
  const position = columns.findIndex((one) => idOf(one) === order?.by);
  if (!server && position >= 0) cells.sort(by(position, order.rising));
  const turn = server?.turn ?? ((column) => {
    const rising = order?.by === idOf(column) ? !order.rising : !isNumber(column);
    sortings.set(key, { by: idOf(column), rising });
    const others = state().getAll("order").filter((one) => !one.startsWith(`${key}~`));
    if (kept) history.replaceState(history.state, "", changed({ order: [...others, `${key}~${idOf(column)}~${rising ? "up" : "down"}`] }));
    redraw();
  });
  const head = columns.map((column) => {
    const isSorted = order?.by === idOf(column);
    const text = server && column.sorted === false ? column.label
      : h("button", { type: "button", "data-key": `sort ${idOf(column)}`, onclick: () => turn(column) }, column.label, isSorted ? (order.rising ? " ▲" : " ▼") : "");
    return h("th", { scope: "col", title: column.help, class: isNumber(column) ? "number" : null, "aria-sort": isSorted ? (order.rising ? "ascending" : "descending") : null }, text);
  });
  const forms = columns.map((column, n) => column.form ?? (column.field && (column.unit ?? "text") === "text" ? (value) => label(column.field, value)
    : isNumber(column) ? formOf(cells.map((one) => one.values[n]), column.unit) : (value) => shown(value, column.unit)));
  const body = cells.map(({ row, values }) => h("tr", {}, columns.map((column, n) => cell(column, row, values[n], n, forms[n]))));
  const made = h("table", { class: cards ? "cards" : null }, caption ? h("caption", {}, caption) : null, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
  oneStop(made);
  return made;
}

/** Makes the links of a long table one tab stop; arrow keys move among them. */
export function oneStop(made) {
  const links = made.querySelectorAll("tbody a");
  if (links.length < 4) return;
  made.tBodies[0].classList.add("rove");
  links.forEach((one, n) => (one.tabIndex = n ? -1 : 0));
}

const idOf = (column) => column.id ?? column.label;
const isNumber = (column) => column.unit && column.unit !== "text" && column.unit !== "time";

function cell(column, row, value, n, form) {
  const text = form(value) + (column.mark?.(value, row) ?? "");
  const address = value === null ? null : column.link?.(row);
  const inner = column.node ? column.node(row) : h(address ? "a" : "bdi", address ? { href: address, "data-key": `${n} ${address}` } : {}, text);
  return h("td", { class: isNumber(column) ? "number" : column.unit === "time" ? "time" : null, "data-label": column.label, title: column.title?.(row) ?? help(column.field, value) }, inner);
}

function by(position, rising) {
  return (a, b) => {
    const [x, y] = [a.values[position], b.values[position]];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    const result = x < y ? -1 : x > y ? 1 : 0;
    return rising ? result : -result;
  };
}

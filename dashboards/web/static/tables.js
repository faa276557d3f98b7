// Tables: right-aligned figures, headers that sort by a click, cells with links.

import { h } from "./dom.js";
import { shown } from "./format.js";

const sortings = new Map();

/**
 * Creates a table.
 *
 * columns: label, unit, and optionally help, link(row) -> address and mark(value) -> text after the value.
 * key: key of the stored sort order; server: { by, rising, turn(column) } if the server sorts.
 */
export function table(columns, rows, { key, caption, server, redraw } = {}) {
  const order = server ?? sortings.get(key);
  const sorted = server || !order ? rows : [...rows].sort(by(columns.findIndex((one) => one.label === order.by), order.rising));
  const turn = server?.turn ?? ((column) => {
    const same = order?.by === column.label;
    sortings.set(key, { by: column.label, rising: same ? !order.rising : !isNumber(column) });
    redraw();
  });
  const head = columns.map((column) => {
    const isSorted = order?.by === column.label;
    const label = server && column.sorted === false ? column.label
      : h("button", { type: "button", "data-key": `sort ${column.label}`, onclick: () => turn(column) }, column.label, isSorted ? (order.rising ? " ▲" : " ▼") : "");
    return h("th", { scope: "col", title: column.help, class: isNumber(column) ? "number" : null, "aria-sort": isSorted ? (order.rising ? "ascending" : "descending") : null }, label);
  });
  const body = sorted.map((row) => h("tr", {}, columns.map((column, n) => cell(column, row, n))));
  return h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

const isNumber = (column) => column.unit && column.unit !== "text" && column.unit !== "time";

function cell(column, row, n) {
  const text = shown(row[n], column.unit) + (column.mark?.(row[n]) ?? "");
  const address = row[n] === null || row[n] === undefined ? null : column.link?.(row);
  const inner = address ? h("a", { href: address, "data-key": `${n} ${address}` }, text) : text;
  return h("td", { class: isNumber(column) ? "number" : null }, inner);
}

function by(position, rising) {
  return (a, b) => {
    const [x, y] = [a[position], b[position]];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    const result = x < y ? -1 : x > y ? 1 : 0;
    return rising ? result : -result;
  };
}

// The controls above the figures: time range, filters, refresh interval.

import { changed, go, state } from "./address.js";
import { h } from "./dom.js";
import { day } from "./format.js";

const RANGES = [["1h", "hour"], ["6h", "6 hours"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"], ["180d", "180 days"], ["365d", "year"], ["730d", "2 years"]];
const PERIODS = [["today", "today"], ["yesterday", "yesterday"], ["this_week", "this week"], ["last_week", "last week"], ["this_month", "this month"], ["last_month", "last month"], ["this_quarter", "this quarter"], ["last_quarter", "last quarter"], ["this_year", "year to date"], ["last_year", "last year"]];
const REFRESHES = [["2", "2 s"], ["5", "5 s"], ["15", "15 s"], ["60", "minute"], ["0", "never"]];

/** Creates a drop-down list; `change` receives the chosen value. */
export function choice(label, values, chosen, change, more = {}) {
  const options = values.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("label", {}, `${label} `, h("select", { "data-key": label, onchange: (event) => change(event.target.value), ...more }, options));
}

/** Creates the time range: one that ends at the newest document, a period of the calendar, or a range of days. */
export function range(board) {
  const address = state();
  const [from, to] = [address.get("from") ?? "", address.get("to") ?? ""];
  const last = address.get("last") ?? board.last;
  const own = board.last === "1d" ? "24h" : board.last;
  const known = RANGES.some(([value]) => value === last) ? RANGES : [[last, last], ...RANGES];
  const options = known.map(([value, text]) => [value, `last ${text}`]);
  const period = address.get("period") ?? "";
  const picked = from ? "days" : period || (last === "1d" ? "24h" : last);
  const set = (value) => {
    if (value === "days") return go(changed({ last: "", period: "", from: today(-7), to: today(0) }));
    if (PERIODS.some(([name]) => name === value)) return go(changed({ last: "", from: "", to: "", period: value }));
    return go(changed({ from: "", to: "", period: "", last: value === own ? "" : value }));
  };
  const dated = (name, value, other) => h("input", { type: "date", value, "aria-label": name, "data-key": name, max: "9999-12-31", onchange: (event) => event.target.value && go(changed({ last: "", [name]: event.target.value, ...other })) });
  return [choice("Time", [...options, ...PERIODS, ["days", "from … to …"]], picked, set), ...(from ? [dated("from", from, { to }), dated("to", to, { from })] : [])];
}

let newest = Date.now();

/** Sets the time of the newest document, from which days are counted. */
export function newestIs(ms) {
  newest = ms ?? newest;
}

const today = (days) => day(newest + days * 86400e3);

/** Creates a filter with several values, opened by mouse or keyboard. */
export function filter(label, field, values) {
  const chosen = state().getAll(field);
  const all = [...values, ...chosen.filter((one) => !values.includes(one))];
  const summary = chosen.length ? (chosen.length > 2 ? `${chosen.length} chosen` : chosen.join(", ")) : "all";
  // an open filter stays open when it is redrawn
  const open = document.querySelector(`details.filter[data-field="${CSS.escape(field)}"]`)?.open;
  const box = h("details", { class: "filter", "data-field": field, open },
    h("summary", { "data-key": field }, `${label}: ${summary}`),
    h("fieldset", {}, h("legend", { class: "unseen" }, label), all.length ? all.map((value) => h("label", {},
      h("input", { type: "checkbox", value, checked: chosen.includes(value), "data-key": `${field} ${value}`, onchange: (event) => {
        const left = state().getAll(field).filter((one) => one !== value);
        go(changed({ [field]: event.target.checked ? [...left, value] : left, first: "" }));
      } }), ` ${value}`)) : h("p", {}, "no values")));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && box.open) {
      box.open = false;
      box.querySelector("summary").focus();
    }
  });
  return box;
}

/** Creates the choice of the refresh interval. */
export function refresh() {
  return choice("Refresh", REFRESHES, state().get("refresh") ?? "5", (value) => go(changed({ refresh: value === "5" ? "" : value })));
}

/** Creates the link that clears all filters. */
export function without(fields) {
  const address = state();
  return fields.some((field) => address.has(field)) ? h("a", { class: "clear", href: changed(Object.fromEntries(fields.map((field) => [field, ""]))) }, "clear filters") : null;
}


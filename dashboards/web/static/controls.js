// The controls above the figures: period, comparison, filters with chips, refresh interval.

import { TIME, changed, go, state } from "./address.js";
import { h } from "./dom.js";
import { day, label } from "./format.js";

const RANGES = [["1h", "Last hour"], ["6h", "Last 6 hours"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["90d", "Last 90 days"], ["180d", "Last 180 days"], ["365d", "Last 12 months"], ["730d", "Last 24 months"]];
const PERIODS = [["today", "Today"], ["yesterday", "Yesterday"], ["this_week", "This week"], ["last_week", "Last week"], ["this_month", "This month"], ["last_month", "Last month"], ["this_quarter", "This quarter"], ["last_quarter", "Last quarter"], ["this_year", "This year"], ["last_year", "Last year"], ["all", "All time"]];
const COMPARISONS = [["", "None"], ["previous", "Previous period"], ["year", "Same period last year"], ["custom", "Custom dates…"]];
const REFRESHES = [["2", "2 s"], ["5", "5 s"], ["15", "15 s"], ["60", "1 min"], ["0", "Off"]];

let present = { from: Date.now() - 7 * 86400e3, to: Date.now(), compare: null };

/** Takes the time range of the last response, with which custom dates open. */
export function presentIs({ from_ms, to_ms, compare }) {
  present = { from: from_ms, to: to_ms - 1, compare };
}

/** Creates a drop-down list; `change` receives the chosen value. */
export function choice(label, values, chosen, change, more = {}) {
  const options = values.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("label", {}, `${label} `, h("select", { "data-key": label, onchange: (event) => change(event.target.value), ...more }, options));
}

/** Creates a date; a typed one is taken when it is left, or by Enter, since each digit makes another valid date. */
function dated(text, name) {
  const value = state().get(name) ?? "";
  const take = ({ target }) => target.value && target.value !== (state().get(name) ?? "") && go(changed({ [name]: target.value }));
  let typed = false;
  return h("input", { type: "date", value, "aria-label": text, "data-key": name, max: "9999-12-31", onchange: (event) => typed || take(event), onblur: take,
    onkeydown: (event) => {
      typed = true;
      if (event.key === "Enter") take(event);
    } });
}

/** Returns a length such as 45d in words: Last 45 days. */
function lastOf(text) {
  const [, count, unit] = /^(\d+)([hd])$/.exec(text) ?? [null, text, ""];
  const name = { h: "hour", d: "day" }[unit];
  return name ? (count === "1" ? `Last ${name}` : `Last ${count} ${name}s`) : text;
}

/** Creates the period: one that ends at the newest document, one of the calendar, or days; and what it is compared with. */
export function range(board) {
  const address = state();
  const from = address.get("from");
  const last = (address.get("last") ?? board.last).replace(/^1d$/, "24h");
  const own = board.last === "1d" ? "24h" : board.last;
  const known = RANGES.some(([value]) => value === last) ? RANGES : [[last, lastOf(last)], ...RANGES];
  const picked = from ? "days" : address.get("period") || last;
  const set = (value) => {
    const none = { last: "", period: "", from: "", to: "" };
    if (value === "days") return go(changed({ ...none, from: day(present.from), to: day(present.to) }));
    if (PERIODS.some(([name]) => name === value)) return go(changed({ ...none, period: value }));
    return go(changed({ ...none, last: value === own ? "" : value }));
  };
  return [choice("Period", [...known, ...PERIODS, ["days", "Custom dates…"]], picked, set),
    ...(from ? [dated("Start date", "from"), dated("End date", "to")] : []), ...comparison(address)];
}

function comparison(address) {
  const kind = address.get("compare") ?? "";
  const length = present.to + 1 - present.from;
  const set = (value) => go(changed({ compare: value, compare_from: value === "custom" ? day(present.compare?.from_ms ?? present.from - length) : "", compare_to: value === "custom" ? day((present.compare?.to_ms ?? present.from) - 1) : "" }));
  return [choice("Compare", COMPARISONS, kind, set), ...(kind === "custom" ? [dated("Compare from", "compare_from"), dated("Compare to", "compare_to")] : [])];
}

/** Creates a filter with several values, opened by mouse or keyboard. */
export function filter(name, field, values) {
  const chosen = state().getAll(field);
  const all = [...values, ...chosen.filter((one) => !values.includes(one))];
  const summary = chosen.length ? (chosen.length > 2 ? `${chosen.length} selected` : chosen.map((one) => label(field, one)).join(", ")) : "All";
  // an open filter stays open when it is redrawn
  const open = document.querySelector(`details.filter[data-field="${CSS.escape(field)}"]`)?.open;
  return h("details", { class: "filter pop", "data-field": field, open },
    h("summary", { "data-key": field }, `${name}: ${summary}`),
    h("fieldset", {}, h("legend", { class: "unseen" }, name), all.length ? all.map((value) => h("label", {},
      h("input", { type: "checkbox", value, checked: chosen.includes(value), "data-key": `${field} ${value}`, onchange: (event) => {
        const left = state().getAll(field).filter((one) => one !== value);
        go(changed({ [field]: event.target.checked ? [...left, value] : left, first: "" }));
      } }), ` ${label(field, value)}`)) : h("p", {}, "Nothing to filter by in this period")));
}

/**
 * Creates a chip for each value of a filter, which removes it, and the link that clears all of them.
 *
 * names: field -> name of each filter; offered: fields of this view. The other ones are kept for other views.
 */
export function chips(names, offered) {
  const address = state();
  const made = Object.keys(names).flatMap((field) => address.getAll(field).map((value) => {
    const applies = offered.includes(field);
    return h("a", { class: applies ? "chip" : "chip idle", href: changed({ [field]: address.getAll(field).filter((one) => one !== value), first: "" }), "data-key": `chip ${field} ${value}`,
      title: applies ? null : "Doesn't apply on this page", "aria-label": `Remove filter ${names[field]}: ${label(field, value)}` }, `${names[field]}: `, h("bdi", {}, label(field, value)), applies ? "" : " (not on this page)", " ✕");
  }));
  if (made.length) made.push(h("a", { class: "clear", href: changed(Object.fromEntries([...Object.keys(names).map((field) => [field, ""]), ["first", ""]])) }, "Clear all filters"));
  return made;
}

/** Returns the seconds between two refreshes, 0 for none, and a hint if the address asks for an impossible interval. */
export function interval() {
  const text = state().get("refresh") ?? "5";
  const number = text.trim() === "" ? NaN : Number(text);
  const seconds = Number.isFinite(number) ? (number === 0 ? 0 : Math.min(3600, Math.max(2, number))) : 5;
  return { seconds, hint: seconds === number ? "" : `Auto-refresh is between 2 and 3600 seconds: ${seconds} s is used.` };
}

/** Creates the choice of the refresh interval. */
export function refresh() {
  const now = String(interval().seconds);
  const known = REFRESHES.some(([value]) => value === now) ? REFRESHES : [[now, `${now} s`], ...REFRESHES];
  return choice("Auto-refresh", known, now, (value) => go(changed({ refresh: value === "5" ? "" : value })));
}

/** Returns the parameters that hold on every view: period, comparison, filters and refresh interval. */
export function lasting(fields) {
  const address = state();
  return Object.fromEntries([...TIME, "refresh", ...fields].map((name) => [name, address.getAll(name)]));
}

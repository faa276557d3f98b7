// The customers to contact today: who, what can be saved, why, what to do. A click marks one as done or snoozed.

import { ask, changed, link, state } from "./address.js";
import { h, put } from "./dom.js";
import { label, moment, shown } from "./format.js";

let last = null; // the latest change: { text, undo } or { problem }

/** Loads the part of the list that the address names. */
export function load(signal) {
  return ask("worklist", new URLSearchParams({ first: state().get("first") ?? "0" }), signal);
}

/** Draws the view. */
export function draw(main, declared, data) {
  const send = async (id, version, body, text) => {
    try {
      const answer = await ask("contact", "", null, { customer_id: id, version, ...body });
      last = { text: `${id} ${text}. `, undo: body.state === "open" ? null : () => send(id, answer.version, { state: "open" }, "is back on the list") };
    } catch (error) {
      last = { problem: `${id}: ${error.message} ${error.remedy ?? ""}` };
    }
    dispatchEvent(new Event("moved"));
    main.focusUndo = true;
  };
  const act = (row, text, body, name, done) => h("button", { type: "button", "data-key": `${text} ${row.id}`, "aria-label": `${name}: ${row.id}`, onclick: () => send(row.id, row.version, body, done) }, text);
  const snooze = (days) => (row) => act(row, `${days} d`, { state: "snoozed", days }, `Snooze for ${days} day${days > 1 ? "s" : ""}`, `snoozed for ${days} day${days > 1 ? "s" : ""}`);
  const buttons = [(row) => act(row, "Done", { state: "done" }, "Done", "marked as done"), ...[1, 7, 30].map(snooze)];
  const who = (row) => h("a", { href: link({ view: "customer", id: row.id }), "data-key": row.id }, h("bdi", {}, row.id));
  const columns = [
    ["Customer", who],
    ["Savable revenue", (row) => shown(row.savable, "money"), true],
    [data.horizon ? `Churn probability (${data.horizon})` : "Churn probability", (row) => shown(row.churn_probability, "percent"), true],
    ["Why", (row) => row.why.map((text) => h("div", {}, text))],
    ["Recommended", (row) => [h("strong", {}, label("recommended_action", row.action)), row.action_text ? `: ${row.action_text}` : "", row.marketing_opt_in === false ? h("div", {}, "No marketing consent") : null]],
    ...(declared.writable ? [["Contacted / snooze", (row) => h("div", { class: "acts" }, buttons.map((one) => one(row)))]] : []),
  ];
  const end = data.first + data.rows.length;
  put(main,
    h("h1", { class: "lead" }, "Contact today", h("span", {}, "Customers at risk whose revenue can still be saved")),
    h("p", { class: "definition" }, `Savable revenue = churn probability × worth; worth = ${data.worth}. High or critical risk, seen within ${data.inactive_after_days} days.`),
    data.hold_out ? h("p", { class: "definition" }, `${data.hold_out}.`) : null,
    data.effect ? h("p", { class: "definition" }, data.effect) : null,
    declared.writable ? null : h("p", { class: "state" }, declared.read_only),
    h("p", { role: "status", class: last?.problem ? "wrong" : "state" }, last?.problem ?? last?.text ?? "", last?.undo ? h("button", { type: "button", "data-key": "undo", onclick: last.undo }, "Undo") : null),
    h("p", { class: "pages" }, `${data.rows.length ? data.first + 1 : 0}–${end} of ${shown(data.total, "count")} · `,
      data.first ? h("a", { href: changed({ first: Math.max(0, data.first - 20) || "" }) }, "Previous") : null, " ",
      data.rows.length && end < data.total ? (end > data.first_max ? `The list ends here; ${shown(data.total - end, "count")} more follow when some are done.` : h("a", { href: changed({ first: end }) }, "Next")) : null, " ",
      h("a", { class: "csv", download: true, href: "api/worklist.csv?size=500" }, "Download CSV (first 500)"), " · ",
      h("a", { href: link({ view: "customers", inactive: "1", sort: "days_since_visit", rising: "1" }) }, `${shown(data.inactive, "count")} already inactive`)),
    data.rows.length ? rowsOf("Customers to contact", columns, data.rows) : h("p", { class: "state" }, "Nobody to contact. ", h("span", {}, data.set_aside.length ? "All customers at risk are done or snoozed." : "Scores need a model: `shopstream train`.")),
    data.set_aside.length ? h("section", { class: "part" }, h("h2", {}, `Done and snoozed (${data.set_aside.length})`), rowsOf("Done and snoozed", [
      ["Customer", who],
      ["State", (row) => (row.state === "done" ? "Done" : "Snoozed")],
      ["Since", (row) => moment(row.at_ts)],
      ["Until", (row) => moment(row.until_ts)],
      ...(declared.writable ? [["", (row) => act(row, "Undo", { state: "open" }, "Open again", "is back on the list")]] : []),
    ], data.set_aside)) : null);
  if (main.focusUndo) main.querySelector("[data-key=undo]")?.focus();
  main.focusUndo = false;
}

function rowsOf(name, columns, rows) {
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": name }, h("table", { class: "cards" },
    h("thead", {}, h("tr", {}, columns.map(([text, , number]) => h("th", { scope: "col", class: number ? "number" : null }, text)))),
    h("tbody", {}, rows.map((row) => h("tr", { "data-version": row.version }, columns.map(([text, cell, number]) => h("td", { class: number ? "number" : null, "data-label": text }, cell(row))))))));
}

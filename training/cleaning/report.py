"""Reports a cleaning as a JSON document and as an HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from features.schema import RECORD_TYPES
from training.cleaning.change_log import ChangeLog
from training.cleaning.pipeline import Cleaned
from training.cleaning.plan import CleaningPlan
from training.html import document, table

REPORT_VERSION: Final = 1
_TITLE: Final = "Cleaning report"


def report(
    cleaned: Cleaned, plan: CleaningPlan, now: str, source: Mapping[str, Any], truth: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the report as JSON-compatible data.

    Args:
        cleaned: result of the cleaning.
        plan: plan of the cleaning.
        now: present time, ISO 8601; the only time in the report that does not come from the data.
        source: description of the input: name and, for a foreign file, what the import dropped.
        truth: see `accuracy.against_truth`; None for an archive without recorded truth.
    """
    ledger = cleaned.ledger
    return {
        "version": REPORT_VERSION,
        "source": dict(source),
        "now": now,
        "plan": plan.model_dump(mode="json"),
        "rows": {topic: _sums(ledger, topic) for topic in RECORD_TYPES if ledger.rows_in[topic]},
        "rules": [
            {
                "topic": topic, "rule": rule, "action": entry.action, "count": entry.count, "why": entry.why,
                "about": entry.about, "examples": entry.examples,
            }
            for (topic, rule), entry in sorted(ledger.entries.items(), key=lambda pair: _place(*pair[0]))
        ],
        "customer_ids": {"made_anew": len(cleaned.mapping)},
        "truth": None if truth is None else dict(truth),
    }  # fmt: skip


def _place(topic: str, rule: str) -> tuple[int, str]:
    return list(RECORD_TYPES).index(topic), rule


def _sums(ledger: ChangeLog, topic: str) -> dict[str, int]:
    return {
        "in": ledger.rows_in[topic],
        "out": ledger.rows_out[topic],
        "dropped": ledger.dropped_rows(topic),
        "unexplained": ledger.unexplained(topic),
    }


def render(said: Mapping[str, Any]) -> str:
    """Render the page of a report."""
    parts = [f"<h1>{_TITLE}</h1>", f"<p>{escape(said['source']['name'])}; {escape(said['now'])} is taken as now.</p>"]
    parts += [_read(said["source"]), _rows(said["rows"])]
    for action, title in _ACTIONS.items():
        rules = [rule for rule in said["rules"] if rule["action"] == action]
        if rules:
            parts += [f"<h2>{title}</h2>", _rules(rules), *(_examples(rule) for rule in rules if rule["examples"])]
    if made := said["customer_ids"]["made_anew"]:
        parts.append(f"<p>{made:,} customer ids were made anew: customer_ids.parquet.</p>")
    if said["truth"] is not None:
        parts += ["<h2>Against what was planted</h2>", _truth(said["truth"])]
    return document(_TITLE, parts)


_ACTIONS: Final = {
    "dropped": "Rows left out", "changed": "Values changed", "filled": "Values filled", "flagged": "Flagged and kept",
}  # fmt: skip


def _read(source: Mapping[str, Any]) -> str:
    if not source.get("files"):
        return ""
    rows = [
        [one["file"], f"{one['rows']:,}", f"{one['used']:,}", f"{one['records']:,}",
         "; ".join(f"{reason}: {count:,}" for reason, count in one["left_out"].items()) or "nothing"]
        for one in source["files"]
    ]  # fmt: skip
    examples = [
        f"<li>{escape(reason)}: <code>{escape(line)}</code></li>"
        for one in source["files"]
        for reason, lines in one["examples"].items()
        for line in lines
    ]
    notes = [
        f"<li>{escape(one['file'])}: {escape(_NOTES[name])}: {one[name]:,}</li>"
        for one in source["files"]
        for name in _NOTES
        if one[name]
    ]
    head = ["file", "rows", "used", "records", "left out"]
    return f"<h2>Files read</h2>{table(head, rows)}<ul>{''.join(notes + examples)}</ul>"


_NOTES: Final = {
    "respelt": "values spelt otherwise than the mapping says",
    "zoneless": "times without a zone, taken as the mapping says",
    "made_anew": "customer ids of several people, made anew",
}


def _rows(rows: Mapping[str, Mapping[str, int]]) -> str:
    return "<h2>Rows</h2>" + table(
        ["", "in", "out", "left out", "not explained"],
        [
            [topic, *(f"{one[name]:,}" for name in ("in", "out", "dropped", "unexplained"))]
            for topic, one in rows.items()
        ],
    )


def _rules(rules: list[dict[str, Any]]) -> str:
    return table(
        ["rule", "of", "count", "why"],
        [[rule["rule"], rule["topic"], f"{rule['count']:,}", rule["why"]] for rule in rules],
    )


def _examples(rule: Mapping[str, Any]) -> str:
    lines = "".join(f"<li><code>{escape(_told(example))}</code></li>" for example in rule["examples"])
    return f"<details><summary>{escape(rule['topic'])}: {escape(rule['rule'])}</summary><ul>{lines}</ul></details>"


def _told(example: Mapping[str, Any]) -> str:
    where = f"{example['file']} row {example['row']}: " if "file" in example else ""
    if "record" in example:
        return f"{where}{example['record']}"
    if "after" in example:
        return f"{where}{example['column']}: {example['before']!r} → {example['after']!r}"
    return f"{example['id']}: {example['column']} {example['value']} ({example['bound']})"


def _truth(truth: Mapping[str, Any]) -> str:
    groups = {name: one for name, one in truth.items() if name != "kinds"}
    rates = table(
        ["", "planted", "found", "precision", "recall"],
        [[name, f"{one['planted']:,}", f"{one['found']:,}", _rate(one["precision"]), _rate(one["recall"])]
         for name, one in groups.items()],
    )  # fmt: skip
    kinds = table(
        ["kind", "of", "planted", "left out"],
        [[one["kind"], one["topic"], f"{one['planted']:,}", f"{one['dropped']:,}"] for one in truth["kinds"]],
    )
    return rates + kinds


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

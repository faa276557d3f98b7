"""Reports a cleaning as a JSON document and as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from features.schema import RECORD_TYPES
from training.cleaning.change_log import ChangeLog
from training.cleaning.pipeline import Cleaned
from training.cleaning.plan import CleaningPlan
from training.html import Block, Bullets, Heading, Table, Text, page

REPORT_VERSION: Final = 1


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
    log = cleaned.log
    return {
        "version": REPORT_VERSION,
        "source": dict(source),
        "now": now,
        "plan": plan.model_dump(mode="json"),
        "rows": {topic: _sums(log, topic) for topic in RECORD_TYPES if log.rows_in[topic]},
        "rules": [
            {
                "topic": topic, "rule": rule, "action": entry.action, "count": entry.count, "why": entry.why,
                "about": entry.about, "examples": entry.examples,
            }
            for (topic, rule), entry in sorted(log.entries.items(), key=lambda pair: _sort_key(*pair[0]))
        ],
        "customer_ids": {"made_anew": len(cleaned.mapping)},
        "truth": None if truth is None else dict(truth),
    }  # fmt: skip


def _sort_key(topic: str, rule: str) -> tuple[int, str]:
    return list(RECORD_TYPES).index(topic), rule


def _sums(log: ChangeLog, topic: str) -> dict[str, int]:
    return {
        "in": log.rows_in[topic],
        "out": log.rows_out[topic],
        "dropped": log.dropped_rows(topic),
        "unexplained": log.unexplained(topic),
    }


def render(report: Mapping[str, Any]) -> str:
    """Render the page of a report."""
    return page("Cleaning report", _blocks(report))


_ACTIONS: Final = {
    "dropped": "Dropped rows", "changed": "Changed values", "filled": "Filled values", "flagged": "Flagged anomalies",
}  # fmt: skip


def _blocks(report: Mapping[str, Any]) -> Iterator[Block]:
    yield Text(f"{report['source']['name']}; present time: {report['now']}.")
    if files := report["source"].get("files"):
        yield from _files(files)
    yield Heading("Rows")
    columns = ("in", "out", "dropped", "unexplained")
    rows = [(topic, *(f"{counts[name]:,}" for name in columns)) for topic, counts in report["rows"].items()]
    yield Table(("", *columns), rows)
    for action, title in _ACTIONS.items():
        if rules := [rule for rule in report["rules"] if rule["action"] == action]:
            yield Heading(title)
            rows = [(rule["rule"], rule["topic"], f"{rule['count']:,}", rule["why"]) for rule in rules]
            yield Table(("rule", "topic", "count", "description"), rows)
            for rule in rules:
                if rule["examples"]:
                    yield Bullets([_example(one) for one in rule["examples"]], f"{rule['topic']}: {rule['rule']}")
    if renumbered := report["customer_ids"]["made_anew"]:
        yield Text(f"{renumbered:,} customers have a new id: customer_ids.parquet.")
    if report["truth"] is not None:
        yield Heading("Comparison with the planted errors")
        yield from _truth(report["truth"])


_NOTES: Final = {
    "respelt": "values with another spelling than the mapping",
    "zoneless": "times without a zone, read in the zone of the mapping",
    "made_anew": "new customer ids for ids that several people shared",
}


def _files(files: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    yield Heading("Files")
    rows = [
        (file["file"], f"{file['rows']:,}", f"{file['used']:,}",
         "; ".join(f"{reason}: {count:,}" for reason, count in file["left_out"].items()) or "nothing")
        for file in files
    ]  # fmt: skip
    yield Table(("file", "rows", "used", "dropped"), rows)
    notes = [f"{file['file']}: {text}: {file[name]:,}" for file in files for name, text in _NOTES.items() if file[name]]
    examples = [(reason, line) for file in files for reason, lines in file["examples"].items() for line in lines]
    yield Bullets([*notes, *examples])


def _example(example: Mapping[str, Any]) -> tuple[str, str]:
    """Return the position of an example and its contents."""
    position = f"{example['file']} row {example['row']}" if "file" in example else str(example["id"])
    if "record" in example:
        return position, str(example["record"])
    if "after" in example:
        return position, f"{example['column']}: {example['before']!r} → {example['after']!r}"
    return position, f"{example['column']} {example['value']} ({example['bound']})"


def _truth(truth: Mapping[str, Any]) -> Iterator[Block]:
    rates = [
        (name, f"{one['planted']:,}", f"{one['found']:,}", _rate(one["precision"]), _rate(one["recall"]))
        for name, one in truth.items()
        if name != "kinds"
    ]
    yield Table(("", "planted", "found", "precision", "recall"), rates)
    kinds = [(one["kind"], one["topic"], f"{one['planted']:,}", f"{one['dropped']:,}") for one in truth["kinds"]]
    yield Table(("kind", "topic", "planted", "dropped"), kinds)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

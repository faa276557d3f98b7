"""Records the changes of a cleaning by rule: rows dropped, values changed, filled and flagged, each with examples.

The rule of this file: a dropped row counts under exactly one rule, so rows in = rows out + rows dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import polars as pl
from polars import col

Action = Literal["dropped", "changed", "filled", "flagged"]
About = Literal["duplicate", "time", "key", "value"]
"""Subject of a rule: repeated rows, times, missing keys, or any other value."""

FILE: Final = "_file"
ROW: Final = "_row"
"""Origin of a row: its file, as named in the report, and its number there from 0."""
KEY: Final = {"events": "event_id", "orders": "order_id", "customers": "customer_id"}
DROPPED_SCHEMA: Final = {
    "topic": pl.String, "rule": pl.String, "about": pl.String, "id": pl.String, "file": pl.String, "row": pl.Int64,
    "record": pl.String,
}  # fmt: skip
FLAG_SCHEMA: Final = {
    "topic": pl.String, "rule": pl.String, "id": pl.String, "column": pl.String, "value": pl.String, "bound": pl.String,
}  # fmt: skip


@dataclass(slots=True)
class Change:
    """Changes by one rule in one topic.

    Attributes:
        action: kind of the change.
        why: description of the rule.
        about: subject of the rule.
        count: rows dropped or flagged, values changed or filled.
        examples: first examples, in the order of the archive.
    """

    action: Action
    why: str
    about: About
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class ChangeLog:
    """Account of all changes of a cleaning."""

    examples_max: int
    rows_in: Counter[str] = field(default_factory=Counter)
    rows_out: Counter[str] = field(default_factory=Counter)
    entries: dict[tuple[str, str], Change] = field(default_factory=dict)
    """Changes by topic and rule, in the order of the first occurrence."""
    dropped: list[pl.DataFrame] = field(default_factory=list)
    """Frames of DROPPED_SCHEMA; the caller that stores the rows removes them."""
    flags: list[pl.DataFrame] = field(default_factory=list)
    """Frames of FLAG_SCHEMA."""

    def dropped_rows(self, topic: str) -> int:
        """Return the number of rows of a topic that are not in the result."""
        return sum(e.count for (of, _), e in self.entries.items() if of == topic and e.action == "dropped")

    def unexplained(self, topic: str) -> int:
        """Return the number of rows neither in the result nor dropped by a rule; must be 0."""
        return self.rows_in[topic] - self.rows_out[topic] - self.dropped_rows(topic)

    def drop(self, topic: str, rule: str, why: str, about: About, rows: pl.DataFrame) -> None:
        """Record rows that a rule drops."""
        if rows.is_empty():
            return
        entry = self._entry(topic, rule, "dropped", why, about)
        entry.count += len(rows)
        self._examples(entry, rows, lambda row: {"record": record_text(row)})
        self.dropped.append(
            pl.DataFrame(
                {
                    "topic": [topic] * len(rows),
                    "rule": [rule] * len(rows),
                    "about": [about] * len(rows),
                    "id": rows[KEY[topic]],
                    "file": rows[FILE],
                    "row": rows[ROW],
                    "record": [record_text(row) for row in rows.iter_rows(named=True)],
                },
                schema=DROPPED_SCHEMA,
            )
        )

    def change(
        self, topic: str, rule: str, why: str, column: str, rows: pl.DataFrame, before: pl.Series, after: pl.Series,
        *, action: Action = "changed", about: About = "value",
    ) -> None:  # fmt: skip
        """Record values that a rule changed. `before` and `after` are the values of `rows`, of any type."""
        if rows.is_empty():
            return
        entry = self._entry(topic, rule, action, why, about)
        entry.count += len(rows)
        values = iter(zip(before.to_list()[: self.examples_max], after.to_list()[: self.examples_max], strict=True))

        def values_of(_: Mapping[str, Any]) -> dict[str, Any]:
            old, new = next(values)
            return {"column": column, "before": plain(old), "after": plain(new)}

        self._examples(entry, rows, values_of)

    def flag(self, topic: str, rule: str, why: str, anomalies: pl.DataFrame) -> None:
        """Record anomalies that remain in the data. `anomalies`: FLAG_SCHEMA without topic and rule."""
        if anomalies.is_empty():
            return
        entry = self._entry(topic, rule, "flagged", why, "value")
        entry.count += len(anomalies)
        room = self.examples_max - len(entry.examples)
        entry.examples += anomalies.head(max(room, 0)).to_dicts()
        flags = anomalies.with_columns(pl.lit(topic).alias("topic"), pl.lit(rule).alias("rule"))
        self.flags.append(flags.select(col(name).cast(dtype) for name, dtype in FLAG_SCHEMA.items()))

    def _entry(self, topic: str, rule: str, action: Action, why: str, about: About) -> Change:
        return self.entries.setdefault((topic, rule), Change(action, why, about))

    def _examples(self, entry: Change, rows: pl.DataFrame, values_of: Any) -> None:
        room = self.examples_max - len(entry.examples)
        for row in rows.head(max(room, 0)).iter_rows(named=True):
            entry.examples.append({"file": row[FILE], "row": row[ROW], **values_of(row)})


def record_text(row: Mapping[str, Any]) -> str:
    """Return a parsed row in one line, without the origin columns and without nulls."""
    values = ((name, value) for name, value in row.items() if not name.startswith("_") and value is not None)
    return ", ".join(f"{name}={value!r}" for name, value in values)


def plain(value: Any) -> Any:
    """Return a value as a JSON type."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def concatenated(parts: Iterable[pl.DataFrame], schema: dict[str, Any]) -> pl.DataFrame:
    """Concatenate frames of one schema; there may be none."""
    return pl.concat([pl.DataFrame(schema=schema), *parts])

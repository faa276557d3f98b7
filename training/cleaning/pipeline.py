"""Cleans an archive in two passes over its files, with one day in memory at a time.

1. Read each file as columns of one type and repair what a row alone determines. Gather what is known of the whole
   archive: spellings, categories of products, first purchases, keys that occur more than once.
2. Read again and repair by that knowledge. Drop invalid records and duplicates, and assign the ids of people.

The rule of this file: every row of every file is in the result or under the rule that dropped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import polars as pl
import pyarrow as pa
from polars import col

from features.errors import ShopstreamError
from features.records.archive_rows import event_rows, order_rows
from features.schema import DAY_COLUMN, RECORD_TYPES, arrow_schema
from training.cleaning import duplicates
from training.cleaning.change_log import DROPPED_SCHEMA, FILE, FLAG_SCHEMA, ROW, ChangeLog, concatenated
from training.cleaning.identity import (
    MAPPING_SCHEMA,
    IdAssignment,
    assign_ids,
    distinct_ids,
    one_profile_each,
    several_ids,
)
from training.cleaning.plan import CleaningPlan
from training.cleaning.profile import DataProfile
from training.cleaning.reading import UNREADABLE, ArchiveFile, read_file
from training.cleaning.rejections import Rejection, accepted, rejection_rules
from training.cleaning.repairs import ArchiveKnowledge, known_repairs, own_repairs, repaired

TOPICS = ("events", "orders")


@dataclass(frozen=True, slots=True)
class DirtyArchive:
    """Files to clean.

    Attributes:
        days: topic -> UTC day of the folder and its files, ascending.
        customers: file of the profiles, or None.
    """

    days: Mapping[str, Sequence[tuple[date, Sequence[ArchiveFile]]]]
    customers: ArchiveFile | None = None


class Sink(Protocol):
    """Receives the clean rows."""

    def write(self, topic: str, table: pa.Table) -> None:
        """Add rows to the folders of their days."""

    def write_customers(self, tables: Iterable[pa.Table]) -> None:
        """Write the profiles."""


@dataclass(slots=True)
class Cleaned:
    """Result of a cleaning.

    Attributes:
        log: log of the changes by rule.
        mapping: see `identity.MAPPING_SCHEMA`; empty if every id stayed.
        flags: see `change_log.FLAG_SCHEMA`.
        last_ms: latest `ts` of the clean rows, epoch ms; None without any.
    """

    log: ChangeLog
    mapping: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MAPPING_SCHEMA))
    flags: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FLAG_SCHEMA))
    last_ms: int | None = None


def clean(
    source: DirtyArchive,
    sink: Sink,
    plan: CleaningPlan,
    now_ms: int,
    keep_dropped: Callable[[pl.DataFrame], None] = lambda _: None,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> Cleaned:
    """Clean an archive.

    Args:
        source: files of the archive.
        sink: receiver of the clean rows.
        plan: plan of the cleaning.
        now_ms: present time, epoch ms; times may lie `plan.future_ms` ahead of it.
        keep_dropped: receiver of the dropped rows (`change_log.DROPPED_SCHEMA`), in parts.
        on_step: callback with the current step and the completed share.

    Raises:
        ShopstreamError: a file cannot be read.
    """
    cleaning = _Cleaning(plan, now_ms, ChangeLog(plan.examples_max), DataProfile(plan))
    cleaning.run_first_pass(source, on_step)
    cleaning.known = cleaning.profile.known()
    profiles = cleaning.profiles(source)
    assignment = assign_ids(profiles, cleaning.profile.purchases(), distinct_ids([cleaning.profile.customers(),
                                                                      profiles["customer_id"]]), plan)  # fmt: skip
    last_ms: int | None = None
    for topic in TOPICS:
        finder = duplicates.DuplicateFinder(topic, cleaning.profile.repeated(topic))
        days = source.days.get(topic, ())
        for position, (_, files) in enumerate(days):
            on_step(f"cleaning {topic}", position / len(days))
            rows = cleaning.clean_day(topic, files, finder, assignment)
            _check(topic, rows)
            cleaning.log.rows_out[topic] += len(rows)
            cleaning.flag(topic, rows)
            if len(rows):
                last_ms = max(last_ms or 0, int(rows["ts"].to_numpy().max()))
                sink.write(topic, _table(topic, rows))
            _flush_dropped(cleaning.log, keep_dropped)
    if source.customers is not None:
        profiles_out = one_profile_each(assignment.renamed("customers", profiles, cleaning.log), cleaning.log)
        cleaning.log.rows_out["customers"] += len(profiles_out)
        cleaning.log.flag("customers", "several ids", "one person has several customer ids; nothing is merged",
                             several_ids(profiles_out, plan))  # fmt: skip
        sink.write_customers([_table("customers", profiles_out.drop(FILE, ROW, UNREADABLE))])
        _flush_dropped(cleaning.log, keep_dropped)
    cleaning.flag_slips()
    _check_sums(cleaning.log)
    return Cleaned(cleaning.log, assignment.mapping, concatenated(cleaning.log.flags, FLAG_SCHEMA), last_ms)


@dataclass(slots=True)
class _Cleaning:
    plan: CleaningPlan
    now_ms: int
    log: ChangeLog
    profile: DataProfile
    known: ArchiveKnowledge = field(default_factory=ArchiveKnowledge)

    def run_first_pass(self, source: DirtyArchive, on_step: Callable[[str, float], None]) -> None:
        """Run the first pass."""
        discarded = ChangeLog(0)
        for topic in TOPICS:
            days = source.days.get(topic, ())
            for position, (_, files) in enumerate(days):
                on_step(f"reading {topic}", position / len(days))
                rows = self.own(topic, files, discarded)
                # before rejections: a repair by knowledge of the whole archive may still make a row valid
                self.profile.spellings(topic, rows)
                self.profile.records(topic, accepted(topic, rows, self.rules(topic), discarded))
                discarded.dropped.clear()
        if source.customers is not None:
            rows = self.own("customers", [source.customers], discarded)
            self.profile.spellings("customers", rows)
            self.profile.profiles(accepted("customers", rows, self.rules("customers"), discarded))

    def rules(self, topic: str) -> Iterator[Rejection]:
        return rejection_rules(topic, self.plan, self.now_ms)

    def own(self, topic: str, files: Sequence[ArchiveFile], log: ChangeLog) -> pl.DataFrame:
        rows = pl.concat([read_file(file, topic, self.plan.zone, log) for file in files])
        return repaired(topic, rows, own_repairs(topic, self.plan, self.now_ms), log)

    def valid(self, topic: str, files: Sequence[ArchiveFile]) -> pl.DataFrame:
        rows = self.own(topic, files, self.log)
        self.log.rows_in[topic] += len(rows)
        rows = repaired(topic, rows, known_repairs(topic, self.plan, self.known), self.log)
        return accepted(topic, rows, self.rules(topic), self.log)

    def clean_day(
        self, topic: str, files: Sequence[ArchiveFile], finder: duplicates.DuplicateFinder, assignment: IdAssignment
    ) -> pl.DataFrame:
        rows = self.valid(topic, files)
        if topic == "orders":
            rows = duplicates.of_one_order(rows, self.profile.foreign_records(), self.log)
        rows = finder.without(rows, self.log)
        return assignment.renamed(topic, rows, self.log)

    def profiles(self, source: DirtyArchive) -> pl.DataFrame:
        """Return the valid profiles; requires `known`."""
        if source.customers is None:
            return pl.DataFrame(schema={"customer_id": pl.String, "country": pl.String, "signup_ts": pl.Int64,
                                        "email": pl.String, "name": pl.String, ROW: pl.Int64})  # fmt: skip
        return self.valid("customers", [source.customers])

    def flag(self, topic: str, rows: pl.DataFrame) -> None:
        for rule, why, anomalies in self.profile.outliers(topic, rows):
            self.log.flag(topic, rule, why, anomalies)

    def flag_slips(self) -> None:
        why = "a rare word similar to a common one; if misspelt, add it to `spellings`"
        for topic, anomalies in self.profile.slips():
            self.log.flag(topic, "looks misspelt", why, anomalies)


def _table(topic: str, rows: pl.DataFrame) -> pa.Table:
    schema = arrow_schema(RECORD_TYPES[topic])
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    table = rows.select(
        col(name).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC") if name in times else col(name)
        for name in schema.names
    ).to_arrow()
    loose = pa.schema([field.with_nullable(True) for field in schema])
    return table.cast(loose)


def _check(topic: str, rows: pl.DataFrame) -> None:
    """Check the clean rows again, with the validation that every reader of an archive uses."""
    if rows.is_empty():
        return
    valid = event_rows(_table(topic, rows)) if topic == "events" else order_rows(_table(topic, rows))
    if valid.rejected:
        reason, count = valid.rejected.most_common(1)[0]
        raise ShopstreamError(f"{count:,} cleaned rows of {topic} are still invalid: {reason}.", "Report this.")


def _check_sums(log: ChangeLog) -> None:
    for topic in RECORD_TYPES:
        if lost := log.unexplained(topic):
            raise ShopstreamError(
                f"{lost:,} rows of {topic} are neither in the result nor dropped by a rule.", "Report this."
            )


def _flush_dropped(log: ChangeLog, keep_dropped: Callable[[pl.DataFrame], None]) -> None:
    if log.dropped:
        keep_dropped(concatenated(log.dropped, DROPPED_SCHEMA))
        log.dropped.clear()


assert set(DAY_COLUMN) == set(TOPICS)

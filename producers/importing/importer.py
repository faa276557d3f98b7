"""Imports foreign logs into an archive by mappings. Every row is used, left out by a rule, or refused with the reason.

All files of an import are one log: orders whose rows are in several files are joined, and sessions are cut over all
files. The records do not depend on the number of files or on the order of files and rows. Rows wait on disk until all
rows of their customer (orders: of their order) are read, so memory holds about ROWS_MAX rows.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from connectors.formats.money_format import DECIMALS_MAX
from connectors.formats.timestamps import MILLIS, times_of
from connectors.tables.batches import Batch, Refusal
from connectors.tables.log_files import LogFile, choice_of_members, log_files, named_twice
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError, UsageError
from features.records.money import to_cents
from features.schema import STATUSES, TS_MAX
from producers.archive.archive import ArchiveWriter
from producers.archive.known_until import KnownUntil
from producers.importing.columns import Columns
from producers.importing.conversion import Conversion
from producers.importing.events import event_records, event_rows, event_spill, settled_ids
from producers.importing.judge import Plan, judge, rows_to_judge
from producers.importing.lookups import MappingTables, TableReader
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.importing.orders import MADE_ID_END, Assembled, order_records
from producers.importing.refusals import REFUSAL_SCHEMA, FileReport, remedy
from producers.importing.rows import click_plan, order_plan
from producers.importing.spill import ROWS_PENDING_MAX, Spill
from producers.importing.unread_lines import unread_lines

ROWS_MAX: Final = 1_500_000
BATCH_ROWS: Final = 200_000
_REASONS_SHOWN: Final = 4
Log = tuple[str | Path, str, OrderMapping | ClickMapping]
"""File, folder or glob; name of its mapping; mapping."""
Refused = Callable[[FileReport, pl.DataFrame], None]


@dataclass(slots=True)
class ImportReport:
    """Result of an import.

    Attributes:
        files: rows of each file, and of each table the rows that no row of the log uses.
        records: topic -> records in the archive.
        customers: ids of all customers.
        first_ms: lowest ts of a record, epoch ms.
        last_ms: highest ts of a record.
        revenue_cents: sum of the totals of orders whose winning record is `placed`.
        dates_only: whether no time of the log has an hour.
    """

    files: list[FileReport] = field(default_factory=list)
    records: Counter[str] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    revenue_cents: int = 0
    dates_only: bool = True

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(file.rows for file in self.files)

    @property
    def left_out(self) -> Counter[str]:
        """Rule -> rows that it leaves out."""
        return sum((file.left_out for file in self.files), Counter())

    @property
    def refused(self) -> Counter[str]:
        """Reason -> rows that cannot be read right."""
        return sum((file.refused for file in self.files), Counter())

    @property
    def dropped(self) -> Counter[str]:
        """Reason -> optional values that records cannot hold."""
        return sum((file.dropped for file in self.files), Counter())

    @property
    def rows_used(self) -> int:
        """Rows that are in the archive."""
        return sum(file.rows_used for file in self.files)


def _check_envelope(name: str, mapping: OrderMapping | ClickMapping) -> None:
    """Raise UsageError if a mapping reads messages in an envelope or with a schema, which files do not have."""
    if mapping.topic is not None and mapping.topic.envelope is not None:
        raise UsageError(
            f"The mapping {name} reads messages in the envelope {mapping.topic.envelope}; import reads no envelopes.",
            "Write a mapping with `file` for files.",
        )
    no_file = "file" not in mapping.model_fields_set or mapping.schema_times()
    if mapping.topic is not None and mapping.topic.format != "json" and no_file:
        raise UsageError(
            f"The mapping {name} reads messages of the format {mapping.topic.format}, which files do not have.",
            "Write a mapping with `file` for files.",
        )


def import_logs(
    logs: Sequence[Log],
    out: Path,
    *,
    now_ms: int = TS_MAX,
    force: bool = False,
    rows_max: int = ROWS_MAX,
    guest_salt: bytes = b"",
    on_progress: Callable[[str, int], None] = lambda _file, _rows: None,
    on_refused: Refused = lambda _file, _rows: None,
) -> ImportReport:
    """Write the archive of one or more foreign logs, all or nothing.

    Args:
        logs: files, each with the name of its mapping and the mapping.
        out: folder of the archive.
        now_ms: current time, epoch ms. A row more than a day ahead of it is refused. Default: no row is.
        force: whether to replace an existing archive.
        rows_max: approximate number of rows in memory at a time.
        guest_salt: key of the hash that makes ids of guests.
        on_progress: callback that receives the file's name and the number of rows read from it.
        on_refused: callback that receives refused rows: columns of REFUSAL_SCHEMA.

    Raises:
        UsageError: a file lacks a column that its mapping needs, or is named twice.
        ShopstreamError: a file is unreadable, no row is a record, or `out` may not be written.
    """
    report = ImportReport()
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with (
        ArchiveWriter(out, force=force) as archive,
        tempfile.TemporaryDirectory(prefix=f".{out.name}.rows-", dir=out.absolute().parent) as folder,
    ):
        reading = _Reading(
            report, Path(folder), min(rows_max, ROWS_PENDING_MAX), now_ms, on_progress, on_refused, guest_salt
        )
        reading.conversions, reading.numbers = _conversions(logs)
        reading.makes_ids = any(isinstance(one, OrderMapping) and one.order.id is None for _, _, one in logs)
        for file, name, mapping in every_file(logs):
            _check_envelope(name, mapping)
            for sheet, how in mapping.file.by_sheet():
                shown = file.name if sheet is None else f"{file.name}, sheet {sheet}"
                file_report = FileReport(shown, name, "orders" if isinstance(mapping, OrderMapping) else "events")
                with _advised_by(file):
                    reading.read(file, file_report, mapping.model_copy(update={"file": how}))
        reading.count_tables()
        for topic, records in reading.assembled(rows_max):
            _note(report, topic, records)
            archive.write(topic, with_times(records).to_arrow())
        if not report.records:
            raise _no_record(report)
        refused = dict(sorted(report.refused.items()))
        archive.write_known_until(KnownUntil(reading.known_until_ms, report.dates_only, refused, _zone_of(logs)))
    return report


def _conversions(logs: Sequence[Log]) -> tuple[list[Conversion], dict[int, int]]:
    """Return the conversions of the mappings, all to the same decimals, and the position of each by its `id`.

    Raises:
        UsageError: mappings convert amounts into different currencies.
    """
    own = {id(mapping.conversion): mapping.conversion for _, _, mapping in logs}
    into = sorted({one.into for one in own.values() if one.into})
    if len(into) > 1:
        raise UsageError(
            f"The mappings convert amounts into {' and '.join(into)}.", "Write one currency.into, or set shop.currency."
        )
    decimals = min((one.decimals for one in own.values()), default=DECIMALS_MAX)
    return [replace(one, decimals=decimals) for one in own.values()], {key: number for number, key in enumerate(own)}


def _zone_of(logs: Sequence[Log]) -> str | None:
    """Return the zone of the local times of logs; None without one, or if they have several."""
    zones = {one.zone for _, _, mapping in logs for one in mapping.time if "zone" in one.model_fields_set}
    return zones.pop() if len(zones) == 1 else None


@contextmanager
def _advised_by(file: LogFile) -> Iterator[None]:
    """Add the choice of other members to the remedy of an error about a member of a zip file."""
    try:
        yield
    except ShopstreamError as error:
        error.remedy = " ".join(filter(None, [error.remedy, choice_of_members(file)]))
        raise


def every_file(logs: Sequence[Log]) -> Iterator[tuple[LogFile, str, OrderMapping | ClickMapping]]:
    """Yield each file of the logs with the name of its mapping and the mapping.

    Raises:
        UsageError: a path leads to no file, or a mapping reads a file twice: by two paths, a link or a folder.
    """
    logs_of: dict[str, list[LogFile]] = {}  # standard input is read once
    seen: dict[object, str] = {}
    for given, name, mapping in logs:
        if str(given) not in logs_of:
            logs_of[str(given)] = log_files([given])
        for file in logs_of[str(given)]:
            key = (file.inode or file.path, file.member, name)
            if key in seen:
                raise named_twice(file.name, seen[key])
            seen[key] = file.name
            yield file, name, mapping


class _Reading:
    """Reads files one after the other and keeps their typed rows until they can be assembled."""

    def __init__(
        self, report: ImportReport,
        folder: Path,
        pending_max: int,
        now_ms: int, on_progress: Callable[[str, int], None],
        on_refused: Refused, guest_salt: bytes,
    ) -> None:  # fmt: skip
        self._report = report
        self._guest_salt = guest_salt
        self._now_ms = now_ms
        self._on_progress = on_progress
        self._on_refused = on_refused
        self._orders = Spill(folder, "_key", pending_max)
        self._events = event_spill(folder, pending_max)
        self._folder = folder
        self._pending_max = pending_max
        self._known_until_ms = 0
        self.makes_ids = False
        self.conversions: list[Conversion] = []
        self.numbers: dict[int, int] = {}
        self._currencies: Counter[str] = Counter()
        self._tables = TableReader()

    def read(self, file: LogFile, file_report: FileReport, mapping: OrderMapping | ClickMapping) -> None:
        """Read the rows of a file, and count them in its report."""
        self._report.files.append(file_report)
        tables = self._tables.tables(mapping, file_report.mapping, file.folder)
        names, paths = None, sorted(mapping.paths())
        if mapping.file.format != "json":
            names = header(file, mapping.file)
            paths = [path for path in paths if path in names]
            names += [] if tables.lines is None else tables.lines.columns
        elif tables.lines is not None:
            paths = [path for path in paths if not path.startswith(".")]
        read = None
        for batch in read_batches(file, mapping.file, paths, each=mapping.list_path, rows_max=BATCH_ROWS):
            batch.rows = tables.with_lines(batch.rows)
            if read is None:
                read = self._plan(file_report, mapping, dict(batch.rows.schema), names, tables)
            plan, columns = read
            self._take(batch, plan, file_report, mapping, columns, tables)
            self._on_progress(file_report.file, file_report.rows)
        if read is None:  # a file without rows must have the columns, too
            schema = dict.fromkeys(paths, pl.String()) | (dict(tables.lines.schema) if tables.lines is not None else {})
            self._plan(file_report, mapping, schema, names, tables)

    def count_tables(self) -> None:
        """Count the rows of tables that no row of the log uses. All files of the log are read."""
        for report, refused in self._tables.reports():
            self._report.files.append(report)
            self._refused(report, refused)

    def _plan(
        self, file_report: FileReport, mapping: OrderMapping | ClickMapping, schema: dict[str, pl.DataType],
        names: Sequence[str] | None, tables: MappingTables,
    ) -> tuple[Plan, Columns]:  # fmt: skip
        how = mapping.file
        columns = Columns(
            file_report.file, schema, names, tables.lookups, how.decimal, how.grouping, self._guest_salt,
            formats=tables.formats, lines_table=tables.lines_table, positions=mapping.positions, keys=tables.keys,
        )  # fmt: skip
        number = self.numbers[id(mapping.conversion)]
        make = (
            order_plan(mapping, columns, self._now_ms, number)
            if isinstance(mapping, OrderMapping)
            else click_plan(mapping, columns, self._now_ms)
        )
        file_report.absent = tuple(columns.absent)
        return make, columns

    def _take(
        self, batch: Batch, plan: Plan, file_report: FileReport, mapping: OrderMapping | ClickMapping,
        columns: Columns, tables: MappingTables,
    ) -> None:  # fmt: skip
        number = len(self._report.files) - 1
        file_report.rows += len(batch.rows) + len(batch.refused)
        self._refuse(file_report, [one for one in batch.refused if not one.left_out])
        for one in batch.refused:
            if one.left_out:
                file_report.leave_out(one.reason, [one.line])
        rows = rows_to_judge(batch.rows, has_lines=mapping.fields.lines is not None)
        for table, key in columns.looked_up:
            tables.use(table, rows.select(key.alias("key"))["key"])
        judged = judge(rows, plan)
        for reason, lines in judged.left_out.items():
            file_report.leave_out(reason, lines)
        self._refused(file_report, judged.refused)
        for lost in judged.dropped:
            file_report.dropped[lost.reason] += len(lost.lines)
        used = judged.used
        if isinstance(mapping, OrderMapping) and mapping.order.rows == "line":
            unread, uncertain = unread_lines(batch, plan, used)
            file_report.orders_unknown += uncertain + used["order_id"].null_count()
            used = pl.concat([used, unread])
        used = used.with_columns(pl.lit(number, pl.Int32).alias("_file"))
        if used.is_empty():
            return
        good = used.filter(~pl.col("_bad"))
        self._note_times(good, mapping)
        if not mapping.currency.rates and mapping.conversion.rates is None:
            self._currencies.update(dict(good["_currency"].drop_nulls().value_counts().iter_rows()))
        if isinstance(mapping, OrderMapping):
            # an id of the file may equal one that is made of a customer, whose rows it must meet
            given = pl.col("order_id").str.replace(MADE_ID_END, "") if self.makes_ids else pl.col("order_id")
            key = pl.when("_own_id").then("customer_id").otherwise(given)
            keyed = used.drop("_currency").with_columns(key.alias("_key"))
            self._orders.add(keyed.filter(pl.col("_key").is_not_null()))
        else:
            self._events.add(event_rows(good, self.conversions[self.numbers[id(mapping.conversion)]]))

    def _refuse(self, file_report: FileReport, rows: Sequence[Refusal]) -> None:
        if rows:
            values = [(one.line, one.reason, one.column, one.value, None) for one in rows]
            self._refused(file_report, pl.DataFrame(values, schema=REFUSAL_SCHEMA, orient="row"))

    def _refused(self, file_report: FileReport, rows: pl.DataFrame) -> None:
        if len(rows):
            file_report.refuse(rows)
            self._on_refused(file_report, rows)

    def _note_times(self, rows: pl.DataFrame, mapping: OrderMapping | ClickMapping) -> None:
        """Remember until when the log is complete: a date stands for its whole day."""
        times = rows.filter(pl.col("ts").is_not_null())
        if times.is_empty():
            return
        dates = times.filter(pl.col("_is_date"))
        self._report.dates_only &= len(dates) == len(times)
        ends = [_int(times["ts"].max()) + 1]
        if len(dates):
            zone = mapping.time[0].zone
            last = pl.from_epoch(pl.Series([_int(dates["ts"].max())]), "ms").dt.replace_time_zone("UTC")
            next_day = last.dt.convert_time_zone(zone).dt.date().dt.offset_by("1d")
            ends.append(_int(pl.select(times_of(pl.lit(next_day), pl.Date(), zone).struct.field("ms")).item()))
        self._known_until_ms = max(self._known_until_ms, *ends)

    def assembled(self, rows_max: int) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield topic and records of each part.

        Raises:
            ShopstreamError: amounts are in several currencies without rates.
        """
        if len(self._currencies) > 1:
            currencies = ", ".join(f"{name} in {rows:,} rows" for name, rows in self._currencies.most_common(5))
            raise ShopstreamError(
                f"The log has several currencies: {currencies}.", "Give currency.rates in the mapping."
            )
        into = next((one.into for one in self.conversions if one.into), "")
        if into and (others := [name for name in self._currencies if name != into]):
            raise ShopstreamError(
                f"The log is in {others[0]}, but amounts are in {into}.",
                f"Give currency.rates or currency.rates_file in the mapping: rates: {{{others[0]}: …}}.",
            )
        # `map` holds no reference to the rows, so they are freed as soon as they are assembled
        for made in (order_records(part, self.conversions) for part in self._orders.parts(rows_max)):
            self._settle(made)
            yield "orders", made.records
        ids_apart = self._folder / "ids-apart"
        ids_apart.mkdir()
        events = settled_ids(self._events, ids_apart, self._pending_max, rows_max, self._settle)
        for made in map(event_records, events.parts(rows_max)):
            self._settle(made)
            yield "events", made.records

    def _settle(self, made: Assembled) -> None:
        for (number, reason), part in made.left_out.group_by("_file", "reason"):
            self._report.files[_int(number)].leave_out(str(reason), part["_line"].to_list())
        for (number,), part in made.refused.group_by("_file"):
            rows = part.select(
                pl.col("_line").alias("line"), "reason",
                *(pl.lit(None, pl.String).alias(name) for name in ("column", "value")),
                pl.col("detail") if "detail" in part.columns else pl.lit(None, pl.String).alias("detail"),
            )  # fmt: skip
            self._refused(self._report.files[_int(number)], rows)
        for number, reason, count in made.dropped.group_by("_file", "reason").len().iter_rows():
            self._report.files[number].dropped[reason] += count

    @property
    def known_until_ms(self) -> int:
        """Instant up to which the log is complete, exclusive, epoch ms."""
        return self._known_until_ms


def with_times(records: pl.DataFrame) -> pl.DataFrame:
    """Return records with times as the archive has them, instead of epoch ms."""
    return records.with_columns(pl.col("^(ts|updated_ts)$").cast(MILLIS))


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _no_record(report: ImportReport) -> ShopstreamError:
    """Return the error about a log without a record, with an example and the advice of each of the first reasons."""
    reasons = (report.refused + report.left_out).most_common(_REASONS_SHOWN)
    counts = "; ".join(f"{reason}: {rows:,}" for reason, rows in reasons)
    names = ", ".join(file.file for file in report.files[:3]) + (", …" if len(report.files) > 3 else "")
    lines = [""]
    for reason, _ in reasons:
        examples = ((file, one) for file in report.files for one in file.examples.get(reason, ()))
        lines += [f"  {file.file}, {example.position()}" for file, example in itertools.islice(examples, 1)]
        lines += [f"    {reason}: {remedy(reason)}"] if reason in report.refused else []
    return ShopstreamError(
        f"No row of {names} is a record{f' ({counts})' if counts else ''}." + "\n".join(lines),
        "Correct the mapping; `shopstream inspect` describes the file.",
    )


def _note(report: ImportReport, topic: str, records: pl.DataFrame) -> None:
    if records.is_empty():
        return
    report.records[topic] += len(records)
    report.customers.update(records["customer_id"].unique().to_list())
    first, last = _int(records["ts"].min()), _int(records["ts"].max())
    report.first_ms = first if report.first_ms is None else min(report.first_ms, first)
    report.last_ms = last if report.last_ms is None else max(report.last_ms, last)
    if topic == "orders":
        placed = _winning(records).filter(pl.col("status") == STATUSES[0])["total"]
        report.revenue_cents += int(to_cents(placed.to_numpy()).sum())


def _winning(records: pl.DataFrame) -> pl.DataFrame:
    """Return status and total of the winning record of each order. All records of an order are among the records."""
    several = pl.col("order_id").is_duplicated()
    totals = records.select(
        "order_id", "updated_ts", pl.col("status").cast(pl.Enum(STATUSES)), "total", several=several
    )
    changed = totals.filter("several").sort("updated_ts", "status", "total").unique("order_id", keep="last")
    return pl.concat([totals.filter(~pl.col("several")), changed]).select("status", "total")

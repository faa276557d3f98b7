"""Reads and writes the archive: Parquet files in folders by UTC day.

Invariant: a folder is a complete archive or does not exist. The writer fills a hidden sibling folder and renames it at
the end. The reader returns the columns of `features.schema`, whatever types a foreign writer chose.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from connectors.files import publish_folder
from features.errors import ShopstreamError
from features.schema import CUSTOMERS_FILE, DAY_COLUMN, DAY_MS, RECORD_TYPES, arrow_schema
from producers.archive.columns import read_columns, reading_schema
from producers.archive.known_until import KNOWN_UNTIL_FILE, KnownUntil, encode_known_until

TRUTH_FILE: Final = "truth.parquet"
TRUTH_DIRT_FILE: Final = "truth_dirt.parquet"
SHOP_FILE: Final = "shop.json"
CSV_FOLDER: Final = "csv"
MESSAGES_FOLDER: Final = "messages"
REPORT_FILE: Final = "cleaning_report.json"
REPORT_PAGE: Final = "cleaning_report.html"
DROPPED_FILE: Final = "cleaning_dropped.parquet"
FLAGS_FILE: Final = "cleaning_flags.parquet"
CUSTOMER_IDS_FILE: Final = "customer_ids.parquet"
CLEANING_FILES: Final = frozenset({REPORT_FILE, REPORT_PAGE, DROPPED_FILE, FLAGS_FILE, CUSTOMER_IDS_FILE})
_OWN_ENTRIES: Final = CLEANING_FILES | {
    *DAY_COLUMN, CUSTOMERS_FILE, TRUTH_FILE, TRUTH_DIRT_FILE, SHOP_FILE, CSV_FOLDER, MESSAGES_FOLDER, KNOWN_UNTIL_FILE,
}  # fmt: skip
_FOLDER: Final = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_SCHEMAS: Final = {topic: arrow_schema(record) for topic, record in RECORD_TYPES.items()}
_UNIQUE_COLUMNS: Final = frozenset({"event_id", "order_id"})


def utc_day(time_ms: int) -> date:
    """Return the UTC day of an epoch time in milliseconds."""
    return date(1970, 1, 1) + timedelta(days=time_ms // DAY_MS)


def day_start_ms(day: date) -> int:
    """Return the epoch milliseconds of the start of a UTC day."""
    return (day - date(1970, 1, 1)).days * DAY_MS


# --- reading ----------------------------------------------------------------------------------------------------------
def days(directory: Path, topic: str) -> list[date]:
    """Return the days that have a folder in the archive, ascending; empty if it has no such records.

    Args:
        directory: folder of the archive.
        topic: `events` or `orders`.

    Raises:
        ShopstreamError: the directory is missing or is not an archive, or a folder's name is not a day.
    """
    _check_archive(directory)
    folder = directory / topic
    if not folder.is_dir():
        return []
    dates = []
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_")) or not entry.is_dir():
            continue
        try:
            match = _FOLDER.fullmatch(entry.name)
            dates.append(date.fromisoformat(match[1] if match else entry.name))
        except ValueError:
            raise ShopstreamError(
                f"{entry} is not a day folder of an archive.", "Folders are named date=YYYY-MM-DD; move it elsewhere."
            ) from None
    return sorted(dates)


def read_day(directory: Path, topic: str, day: date, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all rows of one day, in no particular order.

    Nothing is dropped. A NaN in a float column is left to the decoder. A quantity that is not a whole number reads as
    0, which every decoder rejects.

    Args:
        directory: folder of the archive.
        topic: `events` or `orders`.
        day: UTC day. A day without a folder yields an empty table.
        columns: requested columns, all by default.

    Returns:
        A table of `reading_schema(topic)`. Optional columns that a file lacks are null.

    Raises:
        ShopstreamError: not an archive, an unreadable file, or a required column that is missing or of a foreign type.
    """
    _check_archive(directory)
    schema = reading_schema(topic)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    tables = [_read_file(file, topic, schema) for file in day_files(directory, topic, day)]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def day_files(directory: Path, topic: str, day: date) -> list[Path]:
    """Return the files of one day in reading order."""
    return sorted((directory / topic / f"date={day.isoformat()}").glob("*.parquet"))


def count_rows(directory: Path, topic: str, day: date) -> int:
    """Return the number of rows of one day from the file footers. Raises ShopstreamError for an unreadable file."""
    return sum(_footer(file).num_rows for file in day_files(directory, topic, day))


def read_day_parts(
    directory: Path, topic: str, day: date, rows_max: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of `read_day` in tables of about `rows_max` rows: as many row groups as fit, at least one."""
    schema = reading_schema(topic)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    for file in day_files(directory, topic, day):
        footer = _footer(file)
        groups: list[int] = []
        rows = 0
        for group in range(footer.num_row_groups):
            group_rows = footer.row_group(group).num_rows
            if groups and rows + group_rows > rows_max:
                yield _read_file(file, topic, schema, groups)
                groups, rows = [], 0
            groups.append(group)
            rows += group_rows
        if groups:
            yield _read_file(file, topic, schema, groups)


def iter_days(
    directory: Path,
    topic: str,
    start_ms: int | None = None,
    end_ms: int | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[tuple[date, pa.Table]]:
    """Yield the rows whose day time is in [start_ms, end_ms) by day, ascending, with one day in memory at a time.

    A row without a time is returned with its folder's day, so that a reader of the whole range can count it.
    """
    if columns is not None and DAY_COLUMN[topic] not in columns:
        columns = [*columns, DAY_COLUMN[topic]]
    for day in days(directory, topic):
        first_ms = day_start_ms(day)
        if (start_ms is not None and first_ms + DAY_MS <= start_ms) or (end_ms is not None and first_ms >= end_ms):
            continue
        table = read_day(directory, topic, day, columns)
        if start_ms is not None and start_ms > first_ms:
            table = _within(table, topic, pc.greater_equal, start_ms)
        if end_ms is not None and end_ms < first_ms + DAY_MS:
            table = _within(table, topic, pc.less, end_ms)
        yield day, table


def read_customers(directory: Path) -> pa.Table | None:
    """Return the profiles, or None if the archive has none. Raises ShopstreamError like `read_day`."""
    _check_archive(directory)
    file = directory / CUSTOMERS_FILE
    return _read_file(file, "customers", reading_schema("customers")) if file.is_file() else None


def _check_archive(directory: Path) -> None:
    remedy = "Give the folder that `shopstream generate` or `shopstream import` wrote."
    if not directory.is_dir():
        raise ShopstreamError(f"There is no archive at {directory}.", remedy)
    if not any((directory / topic).is_dir() for topic in DAY_COLUMN):
        raise ShopstreamError(f"{directory} is not an archive: it has no events and no orders folder.", remedy)


def _within(table: pa.Table, topic: str, compare: pc.Function, time_ms: int) -> pa.Table:
    border = pa.scalar(time_ms, pa.timestamp("ms", tz="UTC"))
    return table.filter(pc.fill_null(compare(table[DAY_COLUMN[topic]], border), True))


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> ShopstreamError:
    return ShopstreamError(f"{file} cannot be read: {error}", "Write the archive again, or remove the file.")


def _read_file(file: Path, topic: str, schema: pa.Schema, groups: Sequence[int] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(file) as source:
            return read_columns(source, str(file), topic, schema, groups)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


# --- writing ----------------------------------------------------------------------------------------------------------
class ArchiveWriter:
    """Writes an archive into a sibling folder and renames it when the `with` block succeeds.

    Args:
        directory: final folder of the archive. Missing parents are created.
        force: whether to replace an existing archive. Anything but an archive is never replaced.
        csv: whether to write every file as CSV below `csv/` too.

    Raises:
        ShopstreamError: the directory is not empty and may not be replaced.
    """

    def __init__(self, directory: Path, *, force: bool = False, csv: bool = False) -> None:
        self.directory = directory.absolute()
        self._csv = csv
        # the new archive is made inside, because the outer folder is closed to other users
        self._outer = self.directory.with_name(f".{self.directory.name}.partial-{uuid.uuid4().hex[:8]}")
        self._root = self._outer / "new"
        self._parts: dict[tuple[str, date], int] = {}
        entries = {entry.name for entry in self.directory.iterdir()} if self.directory.is_dir() else set()
        if self.directory.exists() and not self.directory.is_dir():
            raise ShopstreamError(f"{directory} is a file.", "Name a folder.")
        if entries and not force:
            raise ShopstreamError(f"{directory} is not empty.", "Name another folder, or add --force to replace it.")
        if foreign := sorted(entries - _OWN_ENTRIES):
            raise ShopstreamError(
                f"{directory} contains {foreign[0]}, which is not part of an archive, so it is not replaced.",
                "Name another folder.",
            )

    def __enter__(self) -> Self:
        parent = self.directory.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._outer.mkdir(mode=0o700)
            self._root.mkdir()
            for topic in DAY_COLUMN:
                (self._root / topic).mkdir()
        except BaseException as error:
            shutil.rmtree(self._outer, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise ShopstreamError(f"{parent} cannot be written: {error.strerror}.", "Name another folder.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        old = self._outer / "old"
        try:
            if kind is None:
                self._publish(old)
        except OSError as failed:
            where = f" The old one is in {old}." if old.exists() else ""
            raise ShopstreamError(
                f"The archive {self.directory} cannot be moved to its final name: {failed}.{where}",
                "Name another folder.",
            ) from failed
        finally:
            # the old archive is deleted only when the new one is in place
            if self.directory.exists() or not old.exists():
                shutil.rmtree(self._outer, ignore_errors=True)

    def _publish(self, old: Path) -> None:
        if not self.directory.exists():
            publish_folder(self._root, self.directory)
            return
        self.directory.rename(old)
        try:
            publish_folder(self._root, self.directory)
        except BaseException:
            if not self.directory.exists():
                old.rename(self.directory)
            raise

    def write(self, topic: str, table: pa.Table) -> None:
        """Add rows to the folders of their days. Every row needs a time. The columns are those of its record."""
        if table.num_rows == 0:
            return
        day_numbers = pc.floor_temporal(table[DAY_COLUMN[topic]], unit="day")
        bounds = pc.min_max(day_numbers)
        if bounds["min"].as_py() == bounds["max"].as_py():
            self.write_day(topic, _date_of(bounds["min"]), table)
            return
        days = day_numbers.cast(pa.int64()).to_numpy()
        order = np.argsort(days, kind="stable")
        table, days = table.take(order), days[order]
        starts = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))
        for start, stop in pairwise([*starts.tolist(), len(days)]):
            day = _date_of(day_numbers[int(order[start])])
            self.write_day(topic, day, table.slice(start, stop - start))

    def write_day(self, topic: str, day: date, table: pa.Table) -> None:
        """Add rows to the folder of `day` as one file. The caller guarantees that they belong there."""
        part = self._parts.get((topic, day), 0)
        self._parts[topic, day] = part + 1
        self._write_file(f"{topic}/date={day.isoformat()}/part-{part:05d}", topic, table)

    def write_customers(self, tables: Iterable[pa.Table]) -> None:
        """Write the profiles, block by block."""
        schema = _SCHEMAS["customers"]
        with pq.ParquetWriter(self._root / CUSTOMERS_FILE, _loosened(schema), compression="zstd") as sink:
            for table in tables:
                sink.write_table(table.cast(_loosened(schema)))
        if self._csv:
            self._write_csv("customers", pq.read_table(self._root / CUSTOMERS_FILE))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table that is not a record, such as the truth, next to the records."""
        pq.write_table(table, self._root / name, compression="zstd")
        if self._csv:
            self._write_csv(Path(name).stem, table)

    @property
    def folder(self) -> Path:
        """Folder in which the archive is made. Its files are complete as soon as they are written."""
        return self._root

    def path_of(self, name: str) -> Path:
        """Return the path for a file that is not a record, next to the records."""
        return self._root / name

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file next to the records."""
        (self._root / name).write_text(text, encoding="utf-8")

    def write_known_until(self, known: KnownUntil) -> None:
        """Write the end of the known history."""
        self.write_text(KNOWN_UNTIL_FILE, encode_known_until(known))

    def _write_file(self, stem: str, topic: str, table: pa.Table) -> None:
        schema = _SCHEMAS[topic]
        if any(table[field.name].null_count for field in schema if not field.nullable):
            schema = _loosened(schema)
        table = table.select(schema.names).cast(schema)
        path = self._root / f"{stem}.parquet"
        path.parent.mkdir(exist_ok=True)
        # a dictionary of values that never repeat costs time and saves nothing
        repeating = [f.name for f in schema if f.name not in _UNIQUE_COLUMNS and not pa.types.is_nested(f.type)]
        pq.write_table(table, path, compression="zstd", use_dictionary=repeating)
        if self._csv:
            self._write_csv(stem, table)

    def _write_csv(self, stem: str, table: pa.Table) -> None:
        path = self._root / CSV_FOLDER / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        for index, field in enumerate(table.schema):
            if pa.types.is_nested(field.type):
                encoded = [
                    None if v is None else msgspec.json.encode(v).decode() for v in table[field.name].to_pylist()
                ]
                table = table.set_column(index, field.name, pa.array(encoded, pa.string()))
        pyarrow.csv.write_csv(table, path)


def _loosened(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _date_of(time: pa.Scalar) -> date:
    moment = time.as_py()
    assert isinstance(moment, datetime)
    return moment.astimezone(UTC).date()

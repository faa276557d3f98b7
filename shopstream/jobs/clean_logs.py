"""Cleans foreign logs: checks the files themselves, imports them and cleans the resulting archive.

The checks of a file find three faults. Rows can repeat another row in every column; this needs a record id, since
without one both may be purchases. Several people can share a customer id. Words can differ from the mapping in spelling
alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq
from polars import col

from connectors.formats.timestamps import OFFSET
from connectors.tables.batches import LINE
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from connectors.tables.reader import header, read_batches
from features.errors import UsageError
from features.schema import DEVICES, EVENT_TYPES, STATUSES
from producers.importing.columns import Columns
from producers.importing.importer import BATCH_ROWS, Log, every_file, import_logs
from producers.importing.mapping import ClickMapping, OrderMapping
from producers.importing.refusals import FileReport
from producers.importing.sources import alternatives
from shopstream.jobs.clean import clean_archive
from training.cleaning.change_log import record_text
from training.cleaning.plan import CleaningPlan
from training.cleaning.spelling import folded

SOURCE_ROW: Final = " source line"
"""Column with the line of a row in the original file. No file has it, because names have no blanks at their ends."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file prepared for import, with the results of the checks."""

    log: Log
    checks: dict[str, Any]
    ids: pl.DataFrame
    unreadable: FileReport
    """Rows that the reader refuses."""


def clean_logs(
    logs: Sequence[Log],
    out: Path,
    plan: CleaningPlan,
    now_ms: int,
    *,
    person: Sequence[str] = (),
    force: bool = False,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> dict[str, Any]:
    """Write the clean archive of foreign logs, completely or not at all, with its report.

    Args:
        logs: files, names of mappings, mappings.
        out: folder of the clean archive.
        plan: cleaning settings.
        now_ms: current time for the cleaning rules, epoch ms.
        person: columns that, besides the customer's, distinguish people who share a customer id.
        force: replace an existing archive at `out`.
        on_step: called with the name of the current step, and the share that is done.

    Returns:
        The report; `source.files` lists for each file the rows that reading left out.

    Raises:
        UsageError: a file lacks a column, or is named twice.
        ShopstreamError: a file is unreadable, or no row of it is a record.
    """
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.reading-", dir=out.absolute().parent) as folder:
        prepared = []
        files = list(every_file(logs))
        for number, (file, name, mapping) in enumerate(files):
            on_step(f"reading {file.name}", number / len(files))
            prepared.append(_prepared(file, name, mapping, Path(folder) / f"{number}.parquet", plan, person))
        dirty = Path(folder) / "archive"
        # without a limit: the cleaning rules decide about times in the future
        report = import_logs([one.log for one in prepared], dirty)
        entries = [_report_entry(one, file) for one, file in zip(prepared, report.files, strict=True)]
        name = ", ".join(file.name for file, _, _ in files)
        ids = pl.concat([one.ids for one in prepared])
        return clean_archive(
            dirty, out, plan, now_ms, force=force, source={"name": name, "files": entries}, ids=ids, on_step=on_step
        )


def _prepared(
    file: LogFile, name: str, mapping: OrderMapping | ClickMapping, to: Path, plan: CleaningPlan, person: Sequence[str]
) -> _Prepared:
    if mapping.fields.lines is not None:
        raise UsageError(f"{file.name}: clean does not read lists of lines.", "Import the log, then clean the archive.")
    how = mapping.file
    raw = to.with_suffix(".raw.parquet")
    unreadable = _spooled(file, name, mapping, raw, person)
    rows = pl.scan_parquet(raw)
    columns = Columns(file.name, rows.collect_schema(), None, {}, how.decimal, how.grouping)
    customer = _customer_column(mapping)
    repeated = _repeated(rows, columns, mapping)
    rows = rows.join(repeated.lazy(), on=SOURCE_ROW, how="anti", maintain_order="left")
    ids = _shared(rows, columns, mapping, customer, person)
    if len(ids):
        keys = [customer, *person]
        named = ids.select(*keys, "new_id").lazy()
        rows = rows.join(named, on=keys, how="left", nulls_equal=True, maintain_order="left")
        rows = rows.with_columns(pl.coalesce("new_id", col(customer).cast(pl.String)).alias(customer)).drop("new_id")
    rows.sink_parquet(to, maintain_order=True)
    words, respelt = _with_spellings(mapping, to, plan)
    read = words.model_copy(update={"file": FileFormat(format="parquet", decimal=how.decimal, thousands=how.thousands)})
    checks = {
        "rows": int(pl.scan_parquet(raw).select(pl.len()).collect().item()) + unreadable.rows,
        "repeated": repeated[SOURCE_ROW].head(plan.examples_max).to_list(),
        "repeated_rows": len(repeated),
        "respelt": respelt,
        "zoneless": _zoneless(to, columns, mapping),
        "made_anew": len(ids),
    }
    known = ids.select(
        col(customer).cast(pl.String).alias("old_id"), "new_id", col("first").alias("first_purchase_ts")
    ) if len(ids) else pl.DataFrame(schema=_IDS)  # fmt: skip
    return _Prepared((to, name, read), {**checks, "file": file.name}, known.cast(_IDS), unreadable)  # type: ignore[arg-type]


def _spooled(
    file: LogFile, name: str, mapping: OrderMapping | ClickMapping, to: Path, person: Sequence[str]
) -> FileReport:
    """Write all columns of a file as Parquet with the lines of its rows, and return the rows that are unreadable.

    Raises:
        UsageError: the file lacks a column of `person`.
    """
    unreadable = FileReport(file.name, name, mapping.kind)
    columns = None
    if mapping.file.format == "json":
        columns = sorted({*mapping.paths(), *person})
    elif absent := [column for column in person if column not in header(file, mapping.file)]:
        raise UsageError(f"{file.name} has no column {absent[0]}.", "Correct --identity-column.")
    sink: pq.ParquetWriter | None = None
    for batch in read_batches(file, mapping.file, columns, rows_max=BATCH_ROWS):
        for one in batch.refused:
            unreadable.rows += 1
            (unreadable.leave_out if one.left_out else unreadable.count_refused)(one.reason, [one.line])
        names = {name: name.replace("\0", " ") for name in batch.rows.columns}  # Parquet has no NUL in names
        table = batch.rows.rename({**names, LINE: SOURCE_ROW}).to_arrow(compat_level=pl.CompatLevel.oldest())
        if sink is None:
            sink = pq.ParquetWriter(to, table.schema, compression="zstd")
        sink.write_table(table)
    if sink is None:
        raise UsageError(f"{file.name} has no rows.", "Name a log with rows.")
    sink.close()
    return unreadable


def _customer_column(mapping: OrderMapping | ClickMapping) -> str:
    """Return the column of the customer's id. Raises UsageError if it is not one column."""
    customer = mapping.fields.customer
    if not isinstance(customer, str):
        raise UsageError("clean needs the customer's id in one column.", "Import the log, then clean the archive.")
    return customer


_IDS: Final = {"old_id": pl.String, "new_id": pl.String, "first_purchase_ts": pl.Int64}


def _repeated(rows: pl.LazyFrame, columns: Columns, mapping: OrderMapping | ClickMapping) -> pl.DataFrame:
    """Return the rows that repeat an earlier row in every column, if the mapping names a record id."""
    is_line = isinstance(mapping, OrderMapping) and mapping.order.rows == "line"
    id_columns = () if mapping.fields.id is None else alternatives(mapping.fields.id)
    nothing = pl.DataFrame(schema={SOURCE_ROW: pl.Int64})
    if is_line or not any(isinstance(one, str) and one in columns.schema for one in id_columns):
        return nothing  # an order id is no id of a line: two equal lines are two pieces
    whole = pl.struct(pl.exclude(SOURCE_ROW))
    hashes = rows.select(whole.hash(seed=0).alias("hash")).collect(engine="streaming")["hash"]
    suspects = hashes.filter(hashes.is_duplicated()).unique()
    if suspects.is_empty():
        return nothing
    # a shared hash alone must not drop a row: rows are compared in full
    alike = rows.filter(whole.hash(seed=0).is_in(suspects.implode())).collect().sort(SOURCE_ROW)
    distinct = alike.unique(pl.exclude(SOURCE_ROW), keep="first", maintain_order=True)
    return alike.join(distinct, on=SOURCE_ROW, how="anti").select(SOURCE_ROW).cast(nothing.schema)


def _shared(
    rows: pl.LazyFrame, columns: Columns, mapping: OrderMapping | ClickMapping, customer: str, person: Sequence[str]
) -> pl.DataFrame:
    """Return customer, person columns, first (epoch ms) and new_id of the people who share an id."""
    if not person:
        return pl.DataFrame()
    _, time = columns.time(mapping.time)
    people = (
        rows.with_columns(**columns.moments)
        .filter(pl.all_horizontal(col(name).is_not_null() for name in (customer, *person)))
        .group_by(customer, *person)
        .agg(time.struct.field("ms").min().alias("first"))
        .collect(engine="streaming")
    )
    people = people.filter(pl.len().over(customer) > 1).sort(customer, "first", *person, nulls_last=True)
    taken = set(rows.select(col(customer).cast(pl.String).unique()).collect()[customer].to_list())
    names = []
    for old in people[customer].cast(pl.String).to_list():
        number = 1
        while f"{old}-{number}" in taken:
            number += 1
        taken.add(f"{old}-{number}")
        names.append(f"{old}-{number}")
    return people.with_columns(pl.Series("new_id", names, dtype=pl.String))


def _with_spellings(
    mapping: OrderMapping | ClickMapping, file: Path, plan: CleaningPlan
) -> tuple[OrderMapping | ClickMapping, int]:
    """Add the file's spellings to the mapping's words, and count the values with these spellings."""
    part = mapping.fields
    closed = {"status": ("statuses", STATUSES), "type": ("types", EVENT_TYPES), "device": ("devices", DEVICES)}
    vocabulary = {"status": "status", "type": "event_type", "device": "device"}
    changes: dict[str, dict[str, str]] = {}
    count = 0
    for name, (words, known) in closed.items():
        column = getattr(part, name, None)
        if not isinstance(column, str) or column not in pl.read_parquet_schema(file):
            continue
        declared = dict(getattr(part, words))
        meant = {folded(word): word for word in known}
        meant |= {folded(word): meaning for word, meaning in declared.items()}
        meant |= {folded(word): meaning for word, meaning in plan.spellings.get(vocabulary[name], {}).items()}  # type: ignore[call-overload]
        text = pl.scan_parquet(file).select(col(column).cast(pl.String).str.strip_chars().alias("word"))
        for word, rows in text.drop_nulls().group_by("word").len().collect().iter_rows():
            if word not in declared and word not in known and folded(word) in meant:
                declared[word] = meant[folded(word)]
                count += rows
        changes[words] = declared
    key = "order" if isinstance(mapping, OrderMapping) else "click"
    return mapping.model_copy(update={key: part.model_copy(update=changes)}), count


def _zoneless(file: Path, columns: Columns, mapping: OrderMapping | ClickMapping) -> int:
    """Count the times without a zone; the import reads them in the mapping's zone."""
    time = mapping.time[0]
    if time.path[0] not in columns.schema:
        return 0
    kind = columns.schema[time.path[0]]
    times = pl.scan_parquet(file).select(col(time.path[0]).alias("t")).drop_nulls()
    if kind == pl.String and time.format == "iso":
        times = times.filter(~col("t").str.strip_chars().str.contains(OFFSET))
    elif kind == pl.String or kind.is_numeric() or getattr(kind, "time_zone", None):
        return 0
    return int(times.select(pl.len()).collect().item())


def _report_entry(one: _Prepared, report: FileReport) -> dict[str, Any]:
    """Build the report entry of a file: rows = used + left out, by reason, with examples."""
    left_out = dict(report.left_out + report.refused + one.unreadable.left_out + one.unreadable.refused)
    examples = {
        reason: _lines(one.log[0], [example.line for example in of_reason])
        for reason, of_reason in report.examples.items()
    }
    for reason, of_reason in one.unreadable.examples.items():
        examples[reason] = [example.position() for example in of_reason]
    checks = dict(one.checks)
    repeated = checks.pop("repeated_rows")
    rows = checks.pop("repeated")
    if repeated:
        left_out["repeats another row"] = repeated
        examples["repeats another row"] = [f"line {row}" for row in rows]
    return {**checks, "used": report.rows_used, "left_out": left_out, "examples": examples}


def _lines(file: str | Path, numbers: Sequence[int]) -> list[str]:
    rows = pl.scan_parquet(file, row_index_name="\0row", row_index_offset=1)
    rows = rows.filter(col("\0row").is_in(sorted(numbers)[:3])).drop("\0row")
    return [f"line {row[SOURCE_ROW]}: {record_text(row)}" for row in rows.collect().iter_rows(named=True)]

"""Cleans foreign logs: checks the files themselves, imports them and cleans the resulting archive.

The checks of a file find three faults. Rows can repeat another row in every column; this needs an id of the row, since
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
from polars import col

from connectors.formats.timestamps import OFFSET
from features.errors import UsageError
from features.schema import DEVICES, EVENT_TYPES, STATUSES
from producers.importing.columns import ROW, Columns, scan
from producers.importing.importer import ImportReport, import_logs
from producers.importing.mapping import ClickMapping, FileFormat, OrderMapping
from shopstream.jobs.clean import clean_archive
from training.cleaning.change_log import record_text
from training.cleaning.plan import CleaningPlan
from training.cleaning.spelling import folded

Log = tuple[Path, str, OrderMapping | ClickMapping]
SOURCE_ROW: Final = "_source_row"
"""Column with a row's number in the original file; no mapping uses this name."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file prepared for import, with the results of the checks."""

    log: Log
    checks: dict[str, Any]
    ids: pl.DataFrame


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
        UsageError: a file lacks a column.
        ShopstreamError: a file is unreadable, or no row of it is a record.
    """
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.reading-", dir=out.absolute().parent) as folder:
        prepared = []
        for number, log in enumerate(logs):
            on_step(f"reading {log[0].name}", number / len(logs))
            prepared.append(_prepared(log, Path(folder) / f"{number}.parquet", plan, person))
        dirty = Path(folder) / "archive"
        reports = import_logs([one.log for one in prepared], dirty)
        files = [_report_entry(one, report) for one, report in zip(prepared, reports, strict=True)]
        name = ", ".join(log[0].name for log in logs)
        ids = pl.concat([one.ids for one in prepared])
        return clean_archive(
            dirty, out, plan, now_ms, force=force, source={"name": name, "files": files}, ids=ids, on_step=on_step
        )


def _prepared(log: Log, to: Path, plan: CleaningPlan, person: Sequence[str]) -> _Prepared:
    file, name, mapping = log
    frame = scan(file, mapping.file)
    columns = Columns(str(file), frame.collect_schema(), mapping.file.decimal)
    rows = frame.rename({ROW: SOURCE_ROW})
    customer = (mapping.order if isinstance(mapping, OrderMapping) else mapping.click).customer
    columns.raw(customer)
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
    read = words.model_copy(update={"file": FileFormat(format="parquet", decimal=mapping.file.decimal)})
    checks = {
        "rows": int(frame.select(pl.len()).collect().item()),
        "repeated": repeated[SOURCE_ROW].head(plan.examples_max).to_list(),
        "repeated_rows": len(repeated),
        "respelt": respelt,
        "zoneless": _zoneless(to, columns, mapping),
        "made_anew": len(ids),
    }
    known = ids.select(
        col(customer).cast(pl.String).alias("old_id"), "new_id", col("first").alias("first_purchase_ts")
    ) if len(ids) else pl.DataFrame(schema=_IDS)  # fmt: skip
    return _Prepared((to, name, read), {**checks, "file": file.name}, known.cast(_IDS))  # type: ignore[arg-type]


_IDS: Final = {"old_id": pl.String, "new_id": pl.String, "first_purchase_ts": pl.Int64}


def _repeated(rows: pl.LazyFrame, columns: Columns, mapping: OrderMapping | ClickMapping) -> pl.DataFrame:
    """Return the rows that repeat an earlier row in every column, if the mapping names an id of its rows."""
    if isinstance(mapping, OrderMapping):
        # the id of an order does not identify its lines: two equal ones are two pieces
        ids = None if mapping.order.rows == "line" else mapping.order.id
    else:
        ids = mapping.click.id
    nothing = pl.DataFrame(schema={SOURCE_ROW: pl.get_index_type()})
    if ids is None or ids not in columns.schema:
        return nothing
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
    for name in person:
        columns.raw(name)
    people = (
        rows.filter(pl.all_horizontal(col(name).is_not_null() for name in (customer, *person)))
        .group_by(customer, *person)
        .agg(columns.time(mapping.time).dt.epoch("ms").min().alias("first"))
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
    part = mapping.order if isinstance(mapping, OrderMapping) else mapping.click
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
    kind = columns.schema[mapping.time.column]
    times = pl.scan_parquet(file).select(col(mapping.time.column).alias("t")).drop_nulls()
    if kind == pl.String and mapping.time.format == "iso":
        times = times.filter(~col("t").str.strip_chars().str.contains(OFFSET))
    elif kind == pl.String or kind.is_numeric() or getattr(kind, "time_zone", None):
        return 0
    return int(times.select(pl.len()).collect().item())


def _report_entry(one: _Prepared, report: ImportReport) -> dict[str, Any]:
    """Build the report entry of a file: rows = used + left out, by reason, with examples."""
    left_out = dict(report.left_out)
    examples = {reason: _lines(one.log[0], numbers) for reason, numbers in report.examples.items()}
    checks = dict(one.checks)
    repeated = checks.pop("repeated_rows")
    rows = checks.pop("repeated")
    if repeated:
        left_out["repeats another row"] = repeated
        examples["repeats another row"] = [f"row {row}" for row in rows]
    if checks["rows"] != report.rows_used + sum(left_out.values()):
        raise UsageError(f"{checks['file']} changed while it was read.", "Try again.")
    return {**checks, "used": report.rows_used, "records": report.records, "left_out": left_out, "examples": examples}


def _lines(file: Path, numbers: Sequence[int]) -> list[str]:
    rows = pl.scan_parquet(file, row_index_name=ROW).filter(col(ROW).is_in(sorted(numbers)[:3])).collect()
    return [f"row {row[SOURCE_ROW]}: {record_text(row)}" for row in rows.iter_rows(named=True)]

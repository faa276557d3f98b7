"""Imports foreign logs into an archive by a mapping. Rows that are not records are omitted and counted by reason.

Invariant: rows read = rows used + rows left out, and the same file yields the same records and ids. A file is processed
in parts of about ROWS_MAX rows, split by customer (lines: by order), with one part in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Final

import polars as pl

from features.errors import ShopstreamError
from features.records.rejections import form_of
from features.schema import (
    AMOUNT_MAX,
    DEVICES,
    EVENT_TYPES,
    ORDER_CHANGE_MS_MAX,
    ORDER_LINES_MAX,
    STATUSES,
    TS_MAX,
    Event,
    Item,
    Order,
)
from producers.archive.archive import ArchiveWriter
from producers.importing.columns import ROW, Columns, parts_of, scan
from producers.importing.mapping import ClickMapping, LeftOut, OrderMapping
from producers.importing.sessionise import with_sessions

ROWS_MAX: Final = 2_000_000
EXAMPLES: Final = 3
_OUT: Final = "_out"
_CENTS: Final = 2
_ITEM: Final = pl.Struct(
    {"product_id": pl.String, "category": pl.String, "quantity": pl.Int64, "unit_price": pl.Float64}
)


@dataclass(slots=True)
class ImportReport:
    """Result of importing one file."""

    file: Path
    mapping: str
    topic: str
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows by reason."""
    examples: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> numbers of the first rows, from each part of the file."""
    records: int = 0
    """Events, or order records."""
    customers: set[str] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    day_end_ms: int = 0
    """End of the day of the last record in the mapping's zone, exclusive, epoch ms."""
    dates_only: bool = True
    """Whether every time is the start of a day in the mapping's zone."""
    revenue_cents: int = 0
    """Sum of the totals of order records with status `placed`."""
    absent: tuple[str, ...] = ()
    """Columns that the mapping names, the file lacks and records do not need."""

    @property
    def known_until_ms(self) -> int:
        """End of the complete history, exclusive, epoch ms."""
        return self.day_end_ms if self.dates_only else (self.last_ms or 0) + 1

    @property
    def rows_used(self) -> int:
        """Rows that are in the archive."""
        return self.rows - self.left_out.total()


def import_logs(
    logs: Sequence[tuple[Path, str, OrderMapping | ClickMapping]],
    out: Path,
    *,
    force: bool = False,
    rows_max: int = ROWS_MAX,
    on_progress: Callable[[Path, int, int], None] = lambda _file, _part, _parts: None,
) -> list[ImportReport]:
    """Write the archive of one or more foreign logs, all or nothing.

    Args:
        logs: files, each with the name of its mapping and the mapping.
        out: folder of the archive.
        force: whether to replace an existing archive.
        rows_max: approximate number of rows in memory at a time.
        on_progress: callback that receives the file, the finished parts and the number of parts.

    Raises:
        UsageError: a file lacks a column that the mapping needs.
        ShopstreamError: a file is unreadable, none of its rows is a record, or `out` may not be written.
    """
    reports = []
    with ArchiveWriter(out, force=force) as archive:
        for file, name, mapping in logs:
            report = ImportReport(file, name, mapping.kind if isinstance(mapping, OrderMapping) else "events")
            frame = scan(file, mapping.file)
            parts = parts_of(file, mapping.file, rows_max)
            for number, records in enumerate(_records(frame, mapping, parts, report), start=1):
                if len(records):
                    archive.write(report.topic, records.to_arrow())
                    _note(report, records, mapping.time.zone)
                on_progress(file, number, parts)
            if not report.records:
                reasons = "; ".join(f"{reason}: {rows:,}" for reason, rows in report.left_out.most_common(4))
                raise ShopstreamError(
                    f"No row of {file} is a record{f' ({reasons})' if reasons else ''}.", "Correct the mapping."
                )
            reports.append(report)
        dates_only = all(report.dates_only for report in reports)
        archive.write_known_until(max(report.known_until_ms for report in reports), dates_only=dates_only)
    return reports


def _records(
    frame: pl.LazyFrame, mapping: OrderMapping | ClickMapping, parts: int, report: ImportReport
) -> Iterator[pl.DataFrame]:
    columns = Columns(str(report.file), frame.collect_schema(), mapping.file.decimal)
    plan = _plan_orders(mapping, columns) if isinstance(mapping, OrderMapping) else _plan_clicks(mapping, columns)
    report.absent = tuple(columns.absent)
    typed = frame.select(ROW, **plan.fields, **{f"_rule{n}": rule for n, (_, rule) in enumerate(plan.rules)})
    reasons = pl.coalesce(
        *(pl.when(pl.col(f"_rule{n}")).then(pl.lit(reason)) for n, (reason, _) in enumerate(plan.rules)),
        pl.lit(None, pl.String),
    )
    typed = typed.with_columns(reasons.alias(_OUT)).drop(f"_rule{n}" for n in range(len(plan.rules)))
    for part in range(parts):
        rows = typed if parts == 1 else typed.filter(pl.col(plan.together).hash(0) % parts == part)
        try:
            drawn = rows.collect(engine="streaming").sort(ROW)
        except pl.exceptions.PolarsError as error:
            raise ShopstreamError(
                f"{report.file} cannot be read as {mapping.file.format}: {str(error).splitlines()[0]}.",
                "Correct the file, or `file` in the mapping.",
            ) from error
        report.rows += len(drawn)
        drawn = _judged(drawn, plan.checks, report)
        if isinstance(mapping, OrderMapping):
            yield _orders(drawn, mapping, report)
        else:
            yield _events(drawn, report)


@dataclass(frozen=True, slots=True)
class _Plan:
    fields: Mapping[str, pl.Expr]
    """Field of the record -> its expression over the file."""
    rules: Sequence[tuple[str, pl.Expr]]
    """Reason -> condition on the rows of the file that are left out. The first matching reason is counted."""
    checks: Sequence[tuple[str, pl.Expr]]
    """Reason -> condition, over the record's fields, that the contract rejects."""
    together: str
    """Column whose equal values keep rows in the same part."""


def _plan_orders(mapping: OrderMapping, columns: Columns) -> _Plan:
    order = mapping.order
    together = "order_id" if order.rows == "line" else "customer_id"
    rate = _rate(mapping, columns)
    fields = {
        "order_id": columns.text(order.id, required=order.id is not None),
        "customer_id": columns.text(order.customer, required=True),
        "session_id": columns.text(order.session),
        "ts": columns.time(mapping.time, required=True),
        "updated_ts": columns.time(order.updated),
        "status": _word(columns.text(order.status), order.statuses, "placed"),
        "total": columns.number(order.total, required=order.total is not None) * rate,
        "product_id": columns.text(order.product),
        "category": columns.text(order.category),
        "quantity": columns.number(order.quantity, required=order.total is None),
        "unit_price": columns.number(order.unit_price, required=order.total is None) * rate,
        "channel": columns.text(order.channel),
        "country": _country(columns.text(order.country), mapping.countries),
        "payment_method": columns.text(order.payment_method),
        "_rate": rate,
    }
    ahead_ms = pl.col("updated_ts").to_physical() - pl.col("ts").to_physical()
    money = "total" if order.total is not None else "unit_price"
    checks = [
        *([("no order id", pl.col("order_id").is_null())] if order.id else []),
        *_CHECKS,
        *_too_long(fields, _ORDER_BYTES_MAX),
        ("unknown status", ~pl.col("status").is_in(STATUSES)),
        (f"no readable {money}", pl.col(money).is_null()),
        ("amount below 0 or above 1e12", _bad_amount("total") | _bad_amount("unit_price")),
        ("quantity not a whole number above 0", _bad_quantity(needed=order.total is None)),
        (
            "changed before it was placed, or more than 400 days after",
            (ahead_ms < 0) | (ahead_ms > ORDER_CHANGE_MS_MAX),
        ),
    ]
    return _Plan(fields, _rules(mapping, columns), checks, together)


def _plan_clicks(mapping: ClickMapping, columns: Columns) -> _Plan:
    click = mapping.click
    rate = _rate(mapping, columns)
    fields = {
        "event_id": columns.text(click.id),
        "event_type": _word(columns.text(click.type, required=True), click.types, None),
        "customer_id": columns.text(click.customer, required=True),
        "session_id": columns.text(click.session),
        "ts": columns.time(mapping.time, required=True),
        "device": _word(columns.text(click.device), click.devices, click.device_default),
        "product_id": columns.text(click.product),
        "category": columns.text(click.category),
        "price": columns.number(click.price) * rate,
        "quantity": columns.number(click.quantity),
        "channel": columns.text(click.channel),
        "country": _country(columns.text(click.country), mapping.countries),
        "_rate": rate,
    }
    checks = [
        *_CHECKS,
        *_too_long(fields, _EVENT_BYTES_MAX),
        ("unknown event type", ~pl.col("event_type").is_in(EVENT_TYPES) | pl.col("event_type").is_null()),
        ("unknown device", ~pl.col("device").is_in(DEVICES)),
        ("amount below 0 or above 1e12", _bad_amount("price")),
        ("quantity not a whole number above 0", _bad_quantity(needed=False)),
    ]
    return _Plan(fields, _rules(mapping, columns), checks, "customer_id")


_CHECKS: Final[tuple[tuple[str, pl.Expr], ...]] = (
    ("no customer", pl.col("customer_id").is_null()),
    ("no readable time", pl.col("ts").is_null()),
    ("time before 1970 or after 9999", ~pl.col("ts").to_physical().is_between(1, TS_MAX)),
    ("currency without a rate", pl.col("_rate").is_null()),
)


_EVENT_BYTES_MAX, _ORDER_BYTES_MAX = (
    {text.name: text.bytes_max for record in records for text in form_of(record).texts if text.bytes_max}
    for records in ((Event,), (Order, Item))
)
"""Maximum bytes of each text of a record and its lines."""


def _too_long(names: Iterable[str], bytes_max: Mapping[str, int]) -> list[tuple[str, pl.Expr]]:
    return [
        (f"{name} longer than {bytes_max[name]} bytes", pl.col(name).str.len_bytes() > bytes_max[name])
        for name in names
        if name in bytes_max
    ]


def _bad_amount(name: str) -> pl.Expr:
    return ~pl.col(name).is_between(0, AMOUNT_MAX)


def _bad_quantity(*, needed: bool) -> pl.Expr:
    quantity = pl.col("quantity")
    bad = (quantity < 1) | (quantity != quantity.floor()) | (quantity >= 2**53)
    return (bad | quantity.is_null()) if needed else bad


def _rate(mapping: OrderMapping | ClickMapping, columns: Columns) -> pl.Expr:
    currency = mapping.currency
    if currency.column is None:
        return pl.lit(currency.rate)
    return columns.text(currency.column, required=True).replace_strict(
        currency.rates, default=None, return_dtype=pl.Float64
    )


def _word(text: pl.Expr, words: Mapping[str, str], default: str | None) -> pl.Expr:
    text = text.replace(dict(words)) if words else text
    return text if default is None else text.fill_null(default)


def _country(text: pl.Expr, countries: Mapping[str, str | None]) -> pl.Expr:
    if countries:
        text = text.replace_strict(
            pl.Series(list(countries), dtype=pl.String),
            pl.Series(list(countries.values()), dtype=pl.String),
            default=text,
        )
    return pl.when(text.str.contains("^[A-Z]{2}$")).then(text)


def _rules(mapping: OrderMapping | ClickMapping, columns: Columns) -> list[tuple[str, pl.Expr]]:
    return [(rule.reason, _rule(rule, columns)) for rule in mapping.left_out]


def _rule(rule: LeftOut, columns: Columns) -> pl.Expr:
    columns.raw(rule.column)
    text = columns.text(rule.column)
    if rule.missing:
        return text.is_null()
    if rule.starts_with is not None:
        return text.str.starts_with(rule.starts_with)
    if rule.equals is not None:
        return text == rule.equals
    return columns.number(rule.column) <= rule.at_most


def _judged(rows: pl.DataFrame, checks: Sequence[tuple[str, pl.Expr]], report: ImportReport) -> pl.DataFrame:
    reasons = pl.coalesce(pl.col(_OUT), *(pl.when(bad).then(pl.lit(reason)) for reason, bad in checks))
    rows = rows.with_columns(reasons.alias(_OUT))
    counts = rows.filter(pl.col(_OUT).is_not_null()).group_by(_OUT).agg(pl.len(), pl.col(ROW).head(EXAMPLES))
    for reason, count, numbers in counts.iter_rows():
        report.left_out[reason] += count
        report.examples.setdefault(reason, []).extend(numbers)
    return rows.filter(pl.col(_OUT).is_null()).drop(_OUT, "_rate")


def _within_bounds(
    rows: pl.DataFrame, names: Sequence[str], bytes_max: Mapping[str, int], report: ImportReport
) -> pl.DataFrame:
    """Remove the rows with a generated id that is too long, because it is made of other ids."""
    for reason, is_long in _too_long(names, bytes_max):
        count = int(rows.select(is_long.sum()).item() or 0)
        if count:
            report.left_out[reason] += count
            rows = rows.filter(~is_long)
    return rows


# --- orders -----------------------------------------------------------------------------------------------------------
def _orders(rows: pl.DataFrame, mapping: OrderMapping, report: ImportReport) -> pl.DataFrame:
    rows = rows.with_columns(pl.col("quantity").cast(pl.Int64))
    if mapping.order.rows == "line":
        orders = _grouped(rows, mapping, report)
    else:
        no_line = pl.all_horizontal(pl.col("product_id", "category", "quantity", "unit_price").is_null())
        lines = pl.when(~no_line).then(pl.concat_list(_line()))
        orders = rows.with_columns(items=lines)
        if mapping.order.id is None:
            number = pl.int_range(pl.len()).over("customer_id", "ts")
            orders = orders.with_columns(
                order_id=pl.format("{}-{}-{}-{}", pl.lit(report.mapping), "customer_id", _ts(), number)
            )
            orders = _within_bounds(orders, ("order_id",), _ORDER_BYTES_MAX, report)
    return orders.with_columns(pl.col("updated_ts").fill_null(pl.col("ts"))).select(
        "order_id", "customer_id", "ts", "updated_ts", "status", "total", "session_id", "items", "channel", "country",
        "payment_method",
    )  # fmt: skip


def _line() -> pl.Expr:
    return pl.struct("product_id", "category", "quantity", "unit_price").cast(_ITEM)


def _ts() -> pl.Expr:
    return pl.col("ts").to_physical()


def _grouped(rows: pl.DataFrame, mapping: OrderMapping, report: ImportReport) -> pl.DataFrame:
    """Return one row per order: earliest time, first value of other columns, lines in the order of the file."""
    amount = (
        (pl.col("quantity") * pl.col("unit_price")).sum() if mapping.order.total is None else pl.col("total").first()
    )
    orders = rows.group_by("order_id", maintain_order=True).agg(
        pl.col("customer_id", "status", "session_id", "channel", "country", "payment_method").drop_nulls().first(),
        pl.col("ts").min(),
        pl.col("updated_ts").max(),
        total=amount.round(_CENTS),
        items=_line(),
        _customers=pl.col("customer_id").n_unique(),
        _rows=pl.len(),
    )
    mixed = orders.filter(pl.col("_customers") > 1)
    if len(mixed):
        report.left_out["order with lines of several customers"] += int(mixed["_rows"].sum())
    long = orders.filter((pl.col("_customers") == 1) & (pl.col("items").list.len() > ORDER_LINES_MAX))
    if len(long):
        report.left_out[f"order of more than {ORDER_LINES_MAX} lines"] += int(long["_rows"].sum())
    return orders.filter((pl.col("_customers") == 1) & (pl.col("items").list.len() <= ORDER_LINES_MAX))


# --- clicks -----------------------------------------------------------------------------------------------------------
def _events(rows: pl.DataFrame, report: ImportReport) -> pl.DataFrame:
    clicks = _within_bounds(with_sessions(rows), ("session_id", "event_id"), _EVENT_BYTES_MAX, report)
    return clicks.select(
        "event_id", "event_type", "customer_id", "session_id", "ts", "device", "product_id", "category", "price",
        pl.col("quantity").cast(pl.Int64), "channel", "country",
    )  # fmt: skip


# --- the report -------------------------------------------------------------------------------------------------------
def _note(report: ImportReport, records: pl.DataFrame, zone: str) -> None:
    report.records += len(records)
    report.customers.update(records["customer_id"].unique().to_list())
    times = records["ts"].to_physical()
    first, last = times.min(), times.max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    report.first_ms = first if report.first_ms is None else min(report.first_ms, first)
    report.last_ms = last if report.last_ms is None else max(report.last_ms, last)
    local = records["ts"].dt.convert_time_zone(zone)
    report.dates_only = report.dates_only and bool((local.dt.time() == time(0)).all())
    day_end = local.sort().tail(1).dt.offset_by("1d").dt.epoch("ms").item()
    report.day_end_ms = max(report.day_end_ms, day_end)
    if report.topic == "orders":
        placed = records.filter(pl.col("status") == STATUSES[0])["total"]
        report.revenue_cents += int((placed * 100).round().cast(pl.Int64).sum())

"""Reads the data of an exploration in one pass: sessions from events, valid orders, profiles and feature rows.

The rule of this file: a record counts as everywhere (`features.records.archive_rows`, the winning record of an order).
Memory grows with sessions, orders and customers, and holds the event ids of three days.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl
import pyarrow as pa
from polars import col

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.backfill import ReadDay, rows_at
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError
from features.records.archive_rows import event_rows
from features.schema import (
    DEVICES,
    EVENT_LATENESS_MS,
    EVENT_TYPES,
    HOUR_MS,
    SECOND_MS,
    STAGE_EVENT,
    STAGES,
)
from training.archive_period import ArchivePeriod
from training.sales import valid_orders
from training.segments.cohorts import cohorts, first_orders, markets

OnStep = Callable[[str, float], None]
_COUNTS: Final = tuple(f"n_{name}" for name in EVENT_TYPES)
_SESSION: Final = {
    "session": pl.UInt64, "customer": pl.UInt64, "start_ts": pl.Int64, "last_ts": pl.Int64, "device": pl.UInt8,
    "events": pl.Int32, **dict.fromkeys(_COUNTS, pl.Int32),
}  # fmt: skip
_PRODUCT: Final = {"product_id": pl.String, "category": pl.String, "views": pl.Int64, "carts": pl.Int64}
_REMEMBERED: Final = {"event_id": pl.String, "hour": pl.Int64}
PARTS_MAX: Final = 64
"""Number of partial product tables that are merged into one."""


@dataclass(frozen=True, slots=True)
class ExplorationData:
    """Data of an archive for exploration.

    Attributes:
        span: known period of the archive.
        sessions: session, customer (hashes), start_ts, last_ts (epoch ms), device (its name), events, n_TYPE of each
            event type, stage (its name), duration_s.
        orders: see `sales.valid_orders`.
        products: product_id, category, views, carts of each product with a view or an add-to-cart.
        cohorts: rows of COHORT_FIELDS.
        profiles: customer profiles; None if the archive has none.
        features: a row per customer at the end of the archive, ROW_SCHEMA.
        dates_only: whether the records have no time of day.
        money: format of amounts of money.
    """

    span: ArchivePeriod
    sessions: pl.DataFrame
    orders: pl.DataFrame
    products: pl.DataFrame
    cohorts: pl.DataFrame
    profiles: pl.DataFrame | None
    features: pl.DataFrame
    dates_only: bool = False
    money: MoneyFormat = PLAIN_MONEY

    @property
    def whole_days(self) -> range:
        """Return the numbers of the complete local days, since 1970-01-01."""
        return self.span.whole_days


def read_data(
    days: Sequence[int],
    read_day: ReadDay,
    profiles: pl.DataFrame | None,
    on_step: OnStep = lambda *_: None,
    known: ArchivePeriod | None = None,
    calendar: Calendar = UTC_CALENDAR,
) -> ExplorationData:
    """Read an archive.

    Args:
        days: numbers of the UTC days in the archive, ascending.
        read_day: function that reads the rows of one topic and day.
        profiles: customer profiles, or None.
        on_step: callback with the current step and the completed share.
        known: known period, which may exceed that of the visits and valid orders; None: their period.
        calendar: calendar of the days, if `known` is None.

    Raises:
        ShopstreamError: the archive is empty.
    """
    position = {day: number / len(days) for number, day in enumerate(days)}
    counts = _EventCounts()
    for day in days:
        on_step("reading the clicks", position[day])
        for table in _joined(read_day, day):
            counts.add(table)
    orders = valid_orders(days, read_day, lambda day: on_step("reading the orders", position[day]))
    visits = counts.sessions()
    span = _span(visits, orders, known, calendar)
    firsts = first_orders(orders, profiles, markets(profiles, orders), span)
    ((_, features),) = rows_at(
        days, read_day, [span.end_ms], on_day=lambda day: on_step("computing features", position[day])
    )
    return ExplorationData(
        span, visits, orders, counts.products(), cohorts(orders, firsts, span), profiles,
        features,
    )  # fmt: skip


def _span(
    sessions: pl.DataFrame, orders: pl.DataFrame, known: ArchivePeriod | None, calendar: Calendar
) -> ArchivePeriod:
    """Return the known span, or that from the first to the last valid record."""
    first = pl.concat([sessions["start_ts"], orders["ts"]])
    last = pl.concat([sessions["last_ts"], orders["ts"]])
    if known is not None:
        return known if last.is_empty() else replace(known, end_ms=max(int(last.to_numpy().max()), known.end_ms))
    if first.is_empty():
        raise ShopstreamError("The archive has no events and no orders.", "Name the folder of an archive.")
    return ArchivePeriod(int(first.to_numpy().min()), int(last.to_numpy().max()), calendar)


def _joined(read_day: ReadDay, day: int) -> list[pa.Table]:
    """Return the events of a day as one table, so that duplicates are detected."""
    required = ["event_id", "event_type", "customer_id", "session_id", "ts", "device", "product_id", "category"]
    tables = [table for table in read_day("events", day) if table.num_rows]
    if not tables:
        return []
    optional = ["price", "quantity", "channel", "country"]  # an invalid value makes the row invalid
    return [pa.concat_tables([table.select([*required, *optional]) for table in tables])]


@dataclass(slots=True)
class _EventCounts:
    """Accumulates sessions and products from events, day by day."""

    _sessions: list[pl.DataFrame] = field(default_factory=lambda: [pl.DataFrame(schema=_SESSION)])
    _products: list[pl.DataFrame] = field(default_factory=lambda: [pl.DataFrame(schema=_PRODUCT)])
    _remembered: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_REMEMBERED))
    """Ids of the events of the last days that count, with the hour of their ts."""

    def add(self, table: pa.Table) -> None:
        valid = event_rows(table)
        columns = valid.columns
        products = table.select(["product_id", "category"]).take(pa.array(valid.keep)).combine_chunks()
        frame = pl.DataFrame(
            {
                "event_id": pl.Series(pl.from_arrow(columns.event_id)),
                "customer_id": pl.Series(pl.from_arrow(columns.customer_id)),
                "session_id": pl.Series(pl.from_arrow(columns.session_id)),
                "ts": columns.ts,
                "type": columns.event_type,
                "device": columns.device,
                "product_id": pl.Series(pl.from_arrow(products.column("product_id"))),
                "category": pl.Series(pl.from_arrow(products.column("category"))),
            },
            schema_overrides={"product_id": pl.String, "category": pl.String},
        )
        frame = self._once(frame)
        self._sessions.append(_partial_sessions(frame))
        self._products.append(_of_products(frame))
        if len(self._products) > PARTS_MAX:
            self._products = [_summed(self._products)]

    def _once(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the events of the next day without repeated ones: of those with one id the earliest counts."""
        if frame.is_empty():
            return frame
        hours = EVENT_LATENESS_MS // HOUR_MS
        known = frame.with_columns(hour=col("ts") // HOUR_MS).join(
            self._remembered, on="event_id", how="left", suffix="_known"
        )
        is_new = col("hour_known").is_null() | (col("hour") - col("hour_known") > hours)
        counting = known.filter(is_new).sort("ts").unique("event_id", keep="first", maintain_order=True)
        remembered = pl.concat([self._remembered, counting.select(list(_REMEMBERED))])
        last_hour = int(frame["ts"].to_numpy().max()) // HOUR_MS
        self._remembered = remembered.filter(col("hour") >= last_hour - hours)
        return counting.drop("hour", "hour_known")

    def sessions(self) -> pl.DataFrame:
        """Return a row per session, in the order of their start."""
        sessions = (
            pl.concat(self._sessions)
            .sort("session", "start_ts")
            .group_by("session", maintain_order=True)
            .agg(
                col("customer", "start_ts", "device").first(),
                col("last_ts").max(),
                col("events", *_COUNTS).sum().cast(pl.Int32),
            )
        )
        stage = pl.lit(STAGES[0])
        for name in STAGES[1:]:
            stage = pl.when(col(f"n_{STAGE_EVENT[name]}") > 0).then(pl.lit(name)).otherwise(stage)
        return sessions.with_columns(
            col("device").cast(pl.Int64).replace_strict(dict(enumerate(DEVICES)), return_dtype=pl.String),
            stage.alias("stage"),
            ((col("last_ts") - col("start_ts")) / SECOND_MS).alias("duration_s"),
        ).sort("start_ts", "session")

    def products(self) -> pl.DataFrame:
        """Return a row per product, ordered by name."""
        return _summed(self._products).sort("product_id")


def _partial_sessions(frame: pl.DataFrame) -> pl.DataFrame:
    keys = frame.with_columns(
        pl.struct("customer_id", "session_id").hash(seed=0).alias("session"),
        col("customer_id").hash(seed=0).alias("customer"),
    ).sort("ts", "event_id")
    return (
        keys.group_by("session", maintain_order=True)
        .agg(
            col("customer").first(),
            col("ts").first().alias("start_ts"),
            col("ts").last().alias("last_ts"),
            col("device").first(),
            pl.len().alias("events"),
            *((col("type") == number).sum().alias(f"n_{name}") for number, name in enumerate(EVENT_TYPES)),
        )
        .select(col(name).cast(dtype) for name, dtype in _SESSION.items())
    )


def _of_products(frame: pl.DataFrame) -> pl.DataFrame:
    view, cart = (EVENT_TYPES.index(STAGE_EVENT[stage]) for stage in ("view", "cart"))
    counts = frame.filter(col("product_id").is_not_null()).group_by("product_id").agg(
        col("category").min(), (col("type") == view).sum().alias("views"), (col("type") == cart).sum().alias("carts")
    )  # fmt: skip
    return counts.select(col(name).cast(dtype) for name, dtype in _PRODUCT.items())


def _summed(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("product_id").agg(col("category").min(), col("views", "carts").sum())

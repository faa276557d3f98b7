"""Declares every feature once and evaluates the features over a state at a time.

A feature of `orders` or `sessions` aggregates the customer's rows of that table, which have ages instead of times
(`age_ms` = as_of - ts, never negative). A window of W days, (as_of - W, as_of], is therefore `age_ms < W`, and the
declarations are independent of any clock. A feature of `row` is an expression over the features declared before it.
Stream, batch and training evaluate exactly these features.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from polars import col

from features.schema import ABANDONED_AFTER_MS, DAY_MS, DEVICES, Field
from features.state.int48 import read_int48
from features.state.session_counts import gather, session_counts, top_categories
from features.state.state import NOTHING_YET, PLACED, RETURNED, State
from features.state.tables import Int32, Rows, take

Source = Literal["orders", "sessions", "row"]
SESSION_WINDOW_MS: Final = 90 * DAY_MS
"""The longest window over sessions."""

Kind = Literal["string", "int", "float", "time"]
DTYPES: Final[dict[Kind, type[pl.DataType]]] = {
    "string": pl.String, "int": pl.Int64, "float": pl.Float64, "time": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a customer's row.

    Attributes:
        kind: type of the column: `time` is int64 epoch ms, `int` int64, `float` float64.
        source: table that `expression` aggregates, or `row`.
        help: definition of the feature in words.
        hidden: whether only other features use it, so that it is not part of the row.
    """

    name: str
    kind: Kind
    source: Source
    expression: pl.Expr
    help: str
    hidden: bool = False


# --- expressions ------------------------------------------------------------------------------------------------------
def within(days: int) -> pl.Expr:
    """Select rows whose time lies in the window of `days` days, exact to the millisecond."""
    return col("age_ms") < days * DAY_MS


def count_where(condition: pl.Expr) -> pl.Expr:
    """Return the number of rows that meet the condition, int64."""
    return condition.cast(pl.Int64).sum()


def sum_where(value: str, condition: pl.Expr) -> pl.Expr:
    """Return the sum of an integer column over the rows that meet the condition, int64."""
    return (col(value) * condition.cast(pl.Int64)).sum()


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return the quotient as float64; null if the denominator is 0 or either side is null."""
    return pl.when(denominator != 0).then(numerator.cast(pl.Float64) / denominator.cast(pl.Float64))


def days(milliseconds: pl.Expr) -> pl.Expr:
    """Return milliseconds as days, float64."""
    return divided(milliseconds, DAY_MS)


def divided(number: pl.Expr, divisor: int) -> pl.Expr:
    """Return the quotient of an int64 column and a constant, the nearest float64 for any number of rows.

    Polars multiplies a column by the reciprocal of a constant, but divides a single row by it. The last bit of a
    customer's row would therefore depend on the other rows. Dividing by a constant column avoids this.
    """
    return number.cast(pl.Float64) / (number * 0 + divisor).cast(pl.Float64)


def money(cents: pl.Expr) -> pl.Expr:
    """Return integer cents as a decimal amount, float64."""
    # Polars multiplies by the reciprocal; rounding yields the float64 nearest to the decimal
    return (cents.cast(pl.Float64) / 100).round(2)


# --- declarations -----------------------------------------------------------------------------------------------------
_PLACED = col("placed")
_RETURNED = col("returned")
_CART = col("n_add_to_cart") > 0
_CONVERTED = col("n_purchase") > 0
_ABANDONED = _CART & ~_CONVERTED & (col("idle_ms") >= ABANDONED_AFTER_MS)
_MOBILE = col("device") == DEVICES.index("mobile")


def _time(name: str, source: Source, expression: pl.Expr, text: str, *, hidden: bool = False) -> Feature:
    return Feature(name, "time", source, expression, text, hidden)


def _int(name: str, source: Source, expression: pl.Expr, text: str, *, hidden: bool = False) -> Feature:
    return Feature(name, "int", source, expression, text, hidden)


def _float(name: str, expression: pl.Expr, text: str) -> Feature:
    return Feature(name, "float", "row", expression, text)


def _orders(window: int) -> Feature:
    return _int(
        f"orders_{window}d",
        "orders",
        count_where(_PLACED & within(window)),
        f"number of orders with ts in the last {window} days",
    )


def _cents(window: int) -> Feature:
    text = f"cents of the orders of the last {window} days"
    return _int(f"cents_{window}d", "orders", sum_where("cents", _PLACED & within(window)), text, hidden=True)


def _revenue(window: int) -> Feature:
    return _float(f"revenue_{window}d", money(col(f"cents_{window}d")), f"sum of the totals of orders_{window}d")


def _sessions(window: int) -> Feature:
    text = f"number of sessions with start_ts in the last {window} days"
    return _int(f"sessions_{window}d", "sessions", count_where(within(window)), text)


def _session_sum(name: str, column: str, text: str, *, hidden: bool = False) -> Feature:
    return _int(name, "sessions", sum_where(column, within(30)), text, hidden=hidden)


def _session_count(name: str, condition: pl.Expr, text: str, *, hidden: bool = False) -> Feature:
    return _int(name, "sessions", count_where(within(30) & condition), text, hidden=hidden)


DECLARED: Final[tuple[Feature, ...]] = (
    _time("first_seen_ts", "row", col("first_seen"), "earliest ts of the customer's events and order records"),
    _float("tenure_days", days(col("as_of") - col("first_seen_ts")), "(as_of - first_seen_ts) / 86,400,000"),
    _time(
        "kept_first_ts", "orders", col("ts").filter(_PLACED).min(), "ts of the first order in the table", hidden=True
    ),
    _time("kept_last_ts", "orders", col("ts").filter(_PLACED).max(), "ts of the last order in the table", hidden=True),
    _time(
        "first_order_ts",
        "row",
        pl.min_horizontal("kept_first_ts", "settled_first"),
        "ts of the first order",
        hidden=True,
    ),
    _time(
        "last_order_ts",
        "row",
        pl.max_horizontal("kept_last_ts", "settled_last"),
        "latest ts of the orders; null if none",
    ),
    _float(
        "recency_days",
        days(col("as_of") - col("last_order_ts")),
        "(as_of - last_order_ts) / 86,400,000; null without an order",
    ),
    _int("kept_orders", "orders", count_where(_PLACED), "number of orders in the table", hidden=True),
    _int("kept_cents", "orders", sum_where("cents", _PLACED), "cents of the orders in the table", hidden=True),
    _int("orders_total", "row", col("kept_orders") + col("settled_orders"), "number of orders"),
    _float("revenue_total", money(col("kept_cents") + col("settled_cents")), "sum of the totals of all orders"),
    *(_orders(window) for window in (7, 30, 90, 365)),
    *(_cents(window) for window in (7, 30, 90, 365)),
    *(_revenue(window) for window in (7, 30, 90, 365)),
    _float("avg_order_value_365d", ratio(col("revenue_365d"), col("orders_365d")), "revenue_365d / orders_365d"),
    _float(
        "order_gap_mean_days",
        ratio(days(col("last_order_ts") - col("first_order_ts")), col("orders_total") - 1),
        "(last_order_ts - ts of the first order) / 86,400,000 / (orders_total - 1); null below 2 orders",
    ),
    _float(
        "recency_ratio",
        ratio(col("recency_days"), col("order_gap_mean_days")),
        "recency_days / order_gap_mean_days; null where either is null or the mean is 0",
    ),
    _int(
        "returns_365d",
        "orders",
        count_where(_RETURNED & within(365)),
        "number of orders of any status with ts in the last 365 days whose winning status is cancelled or refunded",
    ),
    _time("last_seen_ts", "row", col("last_seen"), "latest ts of the customer's events; null if none"),
    _float(
        "days_since_visit",
        days(col("as_of") - col("last_seen_ts")),
        "(as_of - last_seen_ts) / 86,400,000; null without an event",
    ),
    *(_sessions(window) for window in (7, 30, 90)),
    _session_sum("events_30d", "events", "number of events in sessions_30d"),
    _float("events_per_session_30d", ratio(col("events_30d"), col("sessions_30d")), "events_30d / sessions_30d"),
    _session_sum("duration_ms_30d", "duration_ms", "sum of the durations of sessions_30d, ms", hidden=True),
    _float(
        "session_duration_mean_30d",
        ratio(divided(col("duration_ms_30d"), 1000), col("sessions_30d")),
        "mean duration_s over sessions_30d",
    ),
    _session_sum("product_views_30d", "n_product_view", "sum of n_product_view over sessions_30d"),
    _session_sum("searches_30d", "n_search", "sum of n_search over sessions_30d"),
    _session_sum("add_to_carts_30d", "n_add_to_cart", "sum of n_add_to_cart over sessions_30d"),
    _session_count("cart_sessions_30d", _CART, "number of sessions_30d with an add_to_cart"),
    _session_count("abandoned_carts_30d", _ABANDONED, "number of sessions_30d that are abandoned at as_of"),
    _float(
        "cart_abandon_rate_30d",
        ratio(col("abandoned_carts_30d"), col("cart_sessions_30d")),
        "abandoned_carts_30d / cart_sessions_30d",
    ),
    _session_count("converted_sessions_30d", _CONVERTED, "number of sessions_30d that are converted"),
    _float(
        "conversion_rate_30d",
        ratio(col("converted_sessions_30d"), col("sessions_30d")),
        "converted_sessions_30d / sessions_30d",
    ),
    _session_count("mobile_sessions_30d", _MOBILE, "number of sessions_30d on a mobile", hidden=True),
    _float(
        "mobile_share_30d",
        ratio(col("mobile_sessions_30d"), col("sessions_30d")),
        "share of sessions_30d whose device is mobile",
    ),
    _float(
        "visit_trend",
        ratio(col("sessions_7d"), divided(col("sessions_30d") * 7, 30)),
        "sessions_7d / (sessions_30d * 7/30)",
    ),
    Feature(
        "top_category_90d",
        "string",
        "row",
        col("top_category"),
        "category with the most product_view events in sessions_90d; a tie: the smallest in byte order; null if none",
    ),
    Feature(
        "top_category_share_90d",
        "float",
        "row",
        col("top_category_share"),
        "share of top_category_90d among the product_view events of sessions_90d with a category",
    ),
)

FEATURES: Final[tuple[Feature, ...]] = tuple(feature for feature in DECLARED if not feature.hidden)
MONEY_FIELDS: Final = frozenset({
    "revenue_total", "revenue_7d", "revenue_30d", "revenue_90d", "revenue_365d", "avg_order_value_365d",
    "expected_revenue_90d",
})  # fmt: skip
"""Features and scores that are amounts of money."""
"""Columns of a row after customer_id and as_of, in order."""

ROW_FIELDS: Final[tuple[Field, ...]] = (
    Field("customer_id", "string", required=True),
    Field("as_of", "time", required=True),
    *(Field(feature.name, feature.kind) for feature in FEATURES),
)
ROW_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "customer_id": pl.String,
    "as_of": pl.Int64,
    **{feature.name: DTYPES[feature.kind] for feature in FEATURES},
}


def evaluate(state: State, codes: Int32, as_of: int) -> pl.DataFrame:
    """Return the feature rows of customers at a time.

    Args:
        state: state with all records known at as_of and no later ones.
        codes: customer numbers, each once.
        as_of: epoch ms, not before the state's max event time (`max_event_time`).

    Returns:
        One row per customer in the order of `codes`, with the schema ROW_SCHEMA.
    """
    group, rows = _session_rows(state, codes, as_of)
    top, share = top_categories(state, group, rows, len(codes))
    frame = _customers(state, codes, as_of).with_columns(
        pl.Series("top_category", state.words.take(top), dtype=pl.String),
        pl.Series("top_category_share", share).fill_nan(None),
    )
    tables: dict[Source, pl.DataFrame] = {
        "orders": _order_rows(state, codes, as_of),
        "sessions": _session_frame(state, group, rows, as_of),
    }
    for source, table in tables.items():
        measures = table.group_by("group").agg(_aggregates(source))
        frame = frame.join(measures, on="group", how="left", maintain_order="left")
    counts = [f.name for f in DECLARED if f.source in ("orders", "sessions") and f.kind == "int"]
    frame = frame.with_columns(col(counts).fill_null(0))
    for level in _row_levels():
        frame = frame.with_columns(level)
    return frame.select(list(ROW_SCHEMA))


def _customers(state: State, codes: Int32, as_of: int) -> pl.DataFrame:
    rows = take(state.customers, codes)
    ids = pl.Series("customer_id", state.customer_ids.take(codes), dtype=pl.String)
    frame = pl.DataFrame(
        {
            "group": np.arange(len(codes), dtype=np.int32),
            "customer_id": ids,
            "as_of": np.full(len(codes), as_of, np.int64),
            **{name: read_int48(rows, name) for name in NOTHING_YET},
            "settled_cents": np.ascontiguousarray(rows["settled_cents"]),
            "settled_orders": rows["settled_orders"].astype(np.int64),
        }
    )
    return frame.with_columns(
        *(pl.when(col(name) != never).then(col(name)).alias(name) for name, never in NOTHING_YET.items()),
    )


def _order_rows(state: State, codes: Int32, as_of: int) -> pl.DataFrame:
    group, index = gather(np.ascontiguousarray(state.customers["order"][codes]), state.next_order)
    rows = take(state.orders, index)
    ts = read_int48(rows, "ts")
    return pl.DataFrame(
        {
            "group": group,
            "ts": ts,
            "age_ms": as_of - ts,
            "cents": read_int48(rows, "cents"),
            "placed": rows["status"] == PLACED,
            "returned": np.isin(rows["status"], RETURNED),
        }
    )


def _session_rows(state: State, codes: Int32, as_of: int) -> tuple[Int32, Rows]:
    """Return group and row of each session within the longest window. Older sessions would only add zeros."""
    group, index = gather(np.ascontiguousarray(state.customers["session"][codes]), state.next_session)
    rows = take(state.sessions, index)
    fresh = as_of - read_int48(rows, "start") < SESSION_WINDOW_MS
    return group[fresh], rows[fresh]


def _session_frame(state: State, group: Int32, rows: Rows, as_of: int) -> pl.DataFrame:
    counts = session_counts(state, rows)
    start, last = read_int48(rows, "start"), read_int48(rows, "last")
    return pl.DataFrame(
        {
            "group": group,
            "age_ms": as_of - start,
            "idle_ms": as_of - last,
            "duration_ms": last - start,
            "events": sum(counts.values()),
            "device": np.ascontiguousarray(rows["device"]),
            **counts,
        }
    )


@functools.cache
def _aggregates(source: Source) -> list[pl.Expr]:
    return [feature.expression.alias(feature.name) for feature in DECLARED if feature.source == source]


@functools.cache
def _row_levels() -> tuple[list[pl.Expr], ...]:
    """Return the expressions over the row in as few passes as their dependencies allow."""
    level_of: dict[str, int] = {}
    levels: list[list[pl.Expr]] = []
    for feature in DECLARED:
        if feature.source in ("orders", "sessions"):
            continue
        level = max((level_of.get(root, -1) for root in feature.expression.meta.root_names()), default=-1) + 1
        level_of[feature.name] = level
        while len(levels) <= level:
            levels.append([])
        levels[level].append(feature.expression.alias(feature.name))
    return tuple(levels)

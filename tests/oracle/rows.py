"""What a feature row looks like, copied by hand from the contract, and how two sets of rows are compared.

The rule of this folder: nothing here imports from `features`, except the archive's Arrow schemas to write Parquet with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, TypeAlias

import polars as pl

Record: TypeAlias = Mapping[str, Any]
Row: TypeAlias = dict[str, Any]

FEATURE_DTYPES: Final[dict[str, pl.DataType]] = {
    "customer_id": pl.String(),
    "as_of": pl.Int64(),
    "first_seen_ts": pl.Int64(),
    "tenure_days": pl.Float64(),
    "last_order_ts": pl.Int64(),
    "recency_days": pl.Float64(),
    "orders_total": pl.Int64(),
    "revenue_total": pl.Float64(),
    "orders_7d": pl.Int64(),
    "orders_30d": pl.Int64(),
    "orders_90d": pl.Int64(),
    "orders_365d": pl.Int64(),
    "revenue_7d": pl.Float64(),
    "revenue_30d": pl.Float64(),
    "revenue_90d": pl.Float64(),
    "revenue_365d": pl.Float64(),
    "avg_order_value_365d": pl.Float64(),
    "order_gap_mean_days": pl.Float64(),
    "recency_ratio": pl.Float64(),
    "returns_365d": pl.Int64(),
    "last_seen_ts": pl.Int64(),
    "days_since_visit": pl.Float64(),
    "sessions_7d": pl.Int64(),
    "sessions_30d": pl.Int64(),
    "sessions_90d": pl.Int64(),
    "events_30d": pl.Int64(),
    "events_per_session_30d": pl.Float64(),
    "session_duration_mean_30d": pl.Float64(),
    "product_views_30d": pl.Int64(),
    "searches_30d": pl.Int64(),
    "add_to_carts_30d": pl.Int64(),
    "cart_sessions_30d": pl.Int64(),
    "abandoned_carts_30d": pl.Int64(),
    "cart_abandon_rate_30d": pl.Float64(),
    "converted_sessions_30d": pl.Int64(),
    "conversion_rate_30d": pl.Float64(),
    "mobile_share_30d": pl.Float64(),
    "visit_trend": pl.Float64(),
    "top_category_90d": pl.String(),
    "top_category_share_90d": pl.Float64(),
}
"""Every column of the contract's feature table, in its order. Counts are integers, money and ratios are floats."""

REL_TOLERANCE: Final = 1e-9
"""How far two floats of the same row may lie apart; everything else must be equal."""


def cents(amount: float) -> int:
    """Money as integer cents: the shortest decimal that reads as this float64, rounded half-even to 2 decimals."""
    return int(Decimal(repr(float(amount))).quantize(Decimal("0.01"), ROUND_HALF_EVEN).scaleb(2))


def feature_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows of features as a frame of the contract's columns and types."""
    return pl.DataFrame(rows, schema=FEATURE_DTYPES, orient="row", strict=True)


def same_value(got: object, expected: object) -> bool:
    """Equal by the contract: floats within a relative 1e-9, all else exactly, and of the same type."""
    if isinstance(got, float) and isinstance(expected, float):
        return math.isclose(got, expected, rel_tol=REL_TOLERANCE, abs_tol=0.0)
    return type(got) is type(expected) and got == expected


def differences(got: pl.DataFrame, expected: pl.DataFrame, key: Sequence[str] = ("customer_id",)) -> list[str]:
    """What differs between two tables whose rows are told apart by `key`, one line a difference; rows in any order."""
    if list(got.schema.items()) != list(expected.schema.items()):
        pairs = itertools.zip_longest(got.schema.items(), expected.schema.items())
        return [f"column {n}: got {g}, expected {e}" for n, (g, e) in enumerate(pairs) if g != e]
    got_rows = {tuple(row[k] for k in key): row for row in got.iter_rows(named=True)}
    expected_rows = {tuple(row[k] for k in key): row for row in expected.iter_rows(named=True)}
    lines = [f"{name}: missing" for name in expected_rows.keys() - got_rows.keys()]
    lines += [f"{name}: not expected" for name in got_rows.keys() - expected_rows.keys()]
    if got.height != len(got_rows):
        lines.append(f"{got.height - len(got_rows)} rows repeat a key")
    lines += [
        f"{name}: {column}: got {row[column]!r}, expected {expected_rows[name][column]!r}"
        for name, row in got_rows.items()
        if name in expected_rows
        for column in row
        if not same_value(row[column], expected_rows[name][column])
    ]
    return lines


def assert_same_rows(
    got: pl.DataFrame, expected: pl.DataFrame, key: Sequence[str] = ("customer_id",), note: str = ""
) -> None:
    """Fails with the customers, columns and both values that differ, the first forty of them."""
    lines = differences(got, expected, key)
    shown = "\n".join(line if len(line) < 400 else line[:400] + "…" for line in lines[:40])
    assert not lines, f"{len(lines)} differences {note}\n{shown}"

"""Provides the segment explorer: customer groups, their figures, the spread of one figure. Pure but for its sources.

Groups come from the customer table that `shopstream segment` writes, or from the live index if there is no table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars import col

from connectors.formats.money_format import MoneyFormat
from dashboards.boards.data import CHURN_LABEL
from dashboards.panels import Unit
from dashboards.queries import TIMEOUT
from dashboards.web.boards import Json, Searches, complete
from dashboards.web.csv import csv_text
from dashboards.web.parameters import single_value
from features.errors import ShopstreamError, UsageError
from features.labels import column_label
from features.schema import CONTACT_FIELDS, NOT_KNOWN
from features.scores.horizon import churn_label

CUSTOMER_TABLE: Final = "customer_segments.parquet"
GROUPS_MAX: Final = 30
NAME_CHARS_MAX: Final = 200
PERCENTS: Final = (10, 25, 50, 75, 90)
_FIRST: Final = "segment"


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a column over the customers that have a value.

    Attributes:
        column: column of the customer table, and field of the index.
        label: label of the figure.
        unit: unit that defines the format.
    """

    column: str
    label: str
    unit: Unit


FIGURES: Final = (
    Figure("revenue_365d", "Revenue per customer (12 mo)", "money"),
    Figure("orders_365d", "Orders (12 mo)", "number"),
    Figure("avg_order_value_365d", "Avg. order value (12 mo)", "money"),
    Figure("recency_days", "Days since last order", "days"),
    Figure("order_gap_mean_days", "Typical order gap", "days"),
    Figure("sessions_90d", "Visits (90 d)", "number"),
    Figure("conversion_rate_30d", "Conversion rate (30 d)", "percent"),
    Figure("cart_abandon_rate_30d", "Cart abandonment (30 d)", "percent"),
    Figure("mobile_share_30d", "Mobile share (30 d)", "percent"),
    Figure("returns_365d", "Cancelled & refunded orders (12 mo)", "number"),
    Figure("churn_probability", CHURN_LABEL, "percent"),
    Figure("purchase_probability_30d", "P(order in 30 days)", "percent"),
    Figure("expected_revenue_90d", "Expected revenue (90 days)", "money"),
)
BY_INDEX: Final = {
    _FIRST: "Segment",
    "churn_risk": "Risk",
    "rfm_code": "RFM code",
    "recommended_action": "Action",
    "country": "Country",
    "acquisition_channel": "Channel",
    "top_category_90d": "Category",
}
"""Fields that can group the index."""
_SUMMED: Final = "revenue_365d"


def groups(
    parameters: Mapping[str, Sequence[str]], search: Searches, folder: Path, money: MoneyFormat, horizon: str = ""
) -> Json:
    """Return groups of customers with their figures.

    Args:
        parameters: `by`, the grouping column; `figure`, whose spread is returned; `of`, `table` or `index`.
        search: function that queries Elasticsearch.
        folder: folder of the customer table.
        money: format of amounts.
        horizon: horizon of the scores of the index, in words. That of the table is not known.

    Returns:
        `groups`, the largest first, and `complete`: name, customers, revenue, `means` in the order of `figures`, and
        `spread`, the percentiles of PERCENTS; also the available choices.

    Raises:
        UsageError: a parameter has no such value.
        ShopstreamError: the source cannot be read.
    """
    by, figure = single_value(parameters, "by") or _FIRST, single_value(parameters, "figure") or _SUMMED
    if figure not in {one.column for one in FIGURES}:
        raise UsageError(f"Unknown metric {figure[:100]!r}.", "Choose one that the page offers.")
    file = folder / CUSTOMER_TABLE
    exists = file.is_file()
    source = single_value(parameters, "of") or ("table" if exists else "index")
    if source not in ("table", "index"):
        raise UsageError("The data source must be table or index.", "Choose one that the page offers.")
    if source == "table" and not exists:
        raise UsageError(f"The segment table {file} does not exist.", "Run `shopstream segment`, or choose Live.")
    data = _of_table(file, by, figure) if source == "table" else _of_index(search, by, figure)
    return {
        "of": source,
        "sources": ["table", "index"] if exists else ["index"],
        "by": by,
        "figure": figure,
        "figures": [
            {
                "column": one.column,
                "label": churn_label(horizon) if one.label == CHURN_LABEL and source == "index" else one.label,
                "unit": one.unit,
            }
            for one in FIGURES
        ],
        "percents": list(PERCENTS),
        **data,
        "groups": [_rounded(group, figure, money) for group in data["groups"]],
        "whole": _rounded(data["whole"], figure, money),
    }


def _rounded(group: Json, figure: str, money: MoneyFormat) -> Json:
    """Return a group with rounded amounts."""
    units = {one.column: one.unit for one in FIGURES}
    means = zip(FIGURES, group["means"], strict=True)
    return group | {
        "revenue": money.number(group["revenue"]),
        "means": [money.number(mean) if one.unit == "money" else mean for one, mean in means],
        "spread": [money.number(value) if units[figure] == "money" else value for value in group["spread"]],
    }


def groups_csv(data: Json, money: MoneyFormat) -> str:
    """Return the groups as CSV."""
    labels = ["Group", "Customers", "Share", "Total revenue (12 mo)", *(one["label"] for one in data["figures"])]
    customers = data["whole"]["customers"] or 1
    rows = [
        [group["name"], group["customers"], group["customers"] / customers, group["revenue"], *group["means"]]
        for group in (*data["groups"], data["whole"])
    ]
    units = ["text", "count", "percent", "money", *(one.unit for one in FIGURES)]
    return csv_text(labels, rows, units, money)


# --- the live index ---------------------------------------------------------------------------------------------------


def _of_index(search: Searches, by: str, figure: str) -> Json:
    if by not in BY_INDEX:
        raise UsageError(f"The index cannot be grouped by {by[:100]!r}.", "Choose one that the page offers.")
    means: Json = {f"f{n}": {"avg": {"field": one.column}} for n, one in enumerate(FIGURES)}
    spread = {"percentiles": {"field": figure, "percents": list(PERCENTS), "keyed": False}}
    inner = {**means, "spread": spread, "revenue": {"sum": {"field": _SUMMED}}}
    grouped = {"terms": {"field": by, "size": GROUPS_MAX, "missing": NOT_KNOWN}, "aggs": inner}
    requested = {"groups": grouped, **inner, "as_of": {"max": {"field": "as_of"}}}
    body = {"size": 0, "timeout": TIMEOUT, "track_total_hits": True, "aggs": requested}
    (response,) = complete(search.many([("customers", body)]))
    aggregations = response.get("aggregations", {})
    total = int(response.get("hits", {}).get("total", {}).get("value", 0))
    return {
        "as_of": aggregations.get("as_of", {}).get("value"),
        "choices": [{"column": name, "label": label} for name, label in BY_INDEX.items()],
        "groups": [
            _bucket(str(bucket["key"]), int(bucket["doc_count"]), bucket)
            for bucket in aggregations.get("groups", {}).get("buckets", ())
        ],
        "whole": _bucket("All customers", total, aggregations),
    }


def _bucket(name: str, customers: int, aggregations: Mapping[str, Any]) -> Json:
    values = aggregations.get("spread", {}).get("values", ())
    return {
        "name": name,
        "customers": customers,
        "revenue": aggregations.get("revenue", {}).get("value") or 0.0,
        "means": [aggregations.get(f"f{n}", {}).get("value") for n in range(len(FIGURES))],
        "spread": [one["value"] for one in values] or [None] * len(PERCENTS),
    }


# --- the customer table -----------------------------------------------------------------------------------------------


def _of_table(file: Path, by: str, figure: str) -> Json:
    try:
        lazy = pl.scan_parquet(file)
        schema = lazy.collect_schema()
        available = [one for one in FIGURES if one.column in schema]
        text_columns = [
            name
            for name, dtype in schema.items()
            if dtype == pl.String and name not in ("customer_id", *CONTACT_FIELDS)
        ]
        columns = {*text_columns, *(one.column for one in available), "as_of"} & set(schema.names())
        frame = lazy.select(sorted(columns)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ShopstreamError(f"{file} cannot be read: {error}.", "Run `shopstream segment` again.") from error
    counts = frame.select(col(text_columns).n_unique()).row(0) if text_columns else ()
    choices = [name for name, n in zip(text_columns, counts, strict=True) if n <= GROUPS_MAX]
    if by not in choices:
        raise UsageError(
            f"The table of customers cannot be grouped by {by[:100]!r}.", "Choose one that the page offers."
        )
    parts = frame.with_columns(col(by).fill_null(NOT_KNOWN)).group_by(by).agg(*_figures(frame, available, figure))
    all_customers = frame.select(*_figures(frame, available, figure))
    as_of = frame["as_of"].max() if "as_of" in frame.columns else None
    return {
        "as_of": int(as_of.timestamp() * 1_000) if as_of is not None else None,  # type: ignore[union-attr]
        "choices": [{"column": name, "label": BY_INDEX.get(name, column_label(name))} for name in choices],
        "groups": [_row(row[by], row) for row in parts.sort("customers", by, descending=[True, False]).to_dicts()],
        "whole": _row("All customers", all_customers.to_dicts()[0]),
    }


def _figures(frame: pl.DataFrame, available: Sequence[Figure], figure: str) -> list[pl.Expr]:
    summed = col(_SUMMED).sum() if _SUMMED in frame.columns else pl.lit(0.0)
    known = {one.column for one in available}
    return [
        pl.len().alias("customers"),
        summed.alias("revenue"),
        *(
            (col(one.column).mean() if one.column in known else pl.lit(None, pl.Float64)).alias(f"f{n}")
            for n, one in enumerate(FIGURES)
        ),
        *(
            (col(figure).quantile(p / 100, "linear") if figure in known else pl.lit(None, pl.Float64)).alias(f"p{p}")
            for p in PERCENTS
        ),
    ]


def _row(name: str, row: Mapping[str, Any]) -> Json:
    return {
        "name": name,
        "customers": row["customers"],
        "revenue": row["revenue"],
        "means": [row[f"f{n}"] for n in range(len(FIGURES))],
        "spread": [row[f"p{p}"] for p in PERCENTS],
    }

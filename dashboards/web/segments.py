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

from dashboards.panels import Unit
from dashboards.queries import TIMEOUT
from dashboards.web.boards import Json, Searches, whole
from dashboards.web.csv import csv_text
from dashboards.web.parameters import one_of
from features.errors import ShopstreamError, UsageError
from features.schema import CONTACT_FIELDS, NOT_KNOWN

MART: Final = "customer_segments.parquet"
GROUPS_MAX: Final = 30
NAME_CHARS_MAX: Final = 200
PERCENTS: Final = (10, 25, 50, 75, 90)
_FIRST: Final = "segment"


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a column over the customers that have a value.

    Attributes:
        column: column of the mart, and field of the index.
        label: label of the figure.
        unit: unit that defines the format.
    """

    column: str
    label: str
    unit: Unit


FIGURES: Final = (
    Figure("revenue_365d", "Revenue of a year", "money"),
    Figure("orders_365d", "Orders of a year", "number"),
    Figure("avg_order_value_365d", "Order value", "money"),
    Figure("recency_days", "Days since order", "days"),
    Figure("order_gap_mean_days", "Days between orders", "days"),
    Figure("sessions_90d", "Visits of 90 days", "number"),
    Figure("conversion_rate_30d", "Conversion of 30 days", "percent"),
    Figure("cart_abandon_rate_30d", "Carts left of 30 days", "percent"),
    Figure("mobile_share_30d", "Mobile visits", "percent"),
    Figure("returns_365d", "Orders given back", "number"),
    Figure("churn_probability", "Churn probability", "percent"),
    Figure("purchase_probability_30d", "Buys within 30 days", "percent"),
    Figure("expected_revenue_90d", "Expected revenue, 90 days", "money"),
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


def groups(parameters: Mapping[str, Sequence[str]], search: Searches, mart: Path) -> Json:
    """Return groups of customers with their figures.

    Args:
        parameters: `by`, the grouping column; `figure`, whose spread is returned; `of`, `mart` or `index`.
        search: function that queries Elasticsearch.
        mart: folder of the customer table.

    Returns:
        `groups`, the largest first, and `whole`: name, customers, revenue, `means` in the order of `figures`, and
        `spread`, the percentiles of PERCENTS; also the available choices.

    Raises:
        UsageError: a parameter has no such value.
        ShopstreamError: the source cannot be read.
    """
    by, figure = one_of(parameters, "by") or _FIRST, one_of(parameters, "figure") or _SUMMED
    if figure not in {one.column for one in FIGURES}:
        raise UsageError(f"There is no figure {figure[:100]!r}.", "Choose one of the page.")
    file = mart / MART
    there = file.is_file()
    of = one_of(parameters, "of") or ("mart" if there else "index")
    if of not in ("mart", "index"):
        raise UsageError("Groups are those `of` the mart or the index.", "Choose one of the page.")
    if of == "mart" and not there:
        raise UsageError(f"There is no table of customers, {file}.", "Run `shopstream segment`, or choose the index.")
    told = _of_mart(file, by, figure) if of == "mart" else _of_index(search, by, figure)
    return {
        "of": of,
        "sources": ["mart", "index"] if there else ["index"],
        "by": by,
        "figure": figure,
        "figures": [{"column": one.column, "label": one.label, "unit": one.unit} for one in FIGURES],
        "percents": list(PERCENTS),
        **told,
    }


def groups_csv(told: Json) -> str:
    """Return the groups as CSV."""
    labels = ["Group", "Customers", "Share", "Revenue of a year, sum", *(one.label for one in FIGURES)]
    customers = told["whole"]["customers"] or 1
    rows = [
        [one["name"], one["customers"], one["customers"] / customers, one["revenue"], *one["means"]]
        for one in (*told["groups"], told["whole"])
    ]
    return csv_text(labels, rows, [False] * len(labels))


# --- the live index ---------------------------------------------------------------------------------------------------


def _of_index(search: Searches, by: str, figure: str) -> Json:
    if by not in BY_INDEX:
        raise UsageError(f"The index is not grouped by {by[:100]!r}.", "Choose one of the page.")
    means: Json = {f"f{n}": {"avg": {"field": one.column}} for n, one in enumerate(FIGURES)}
    spread = {"percentiles": {"field": figure, "percents": list(PERCENTS), "keyed": False}}
    inner = {**means, "spread": spread, "revenue": {"sum": {"field": _SUMMED}}}
    grouped = {"terms": {"field": by, "size": GROUPS_MAX, "missing": NOT_KNOWN}, "aggs": inner}
    aggregations = {"groups": grouped, **inner, "as_of": {"max": {"field": "as_of"}}}
    body = {"size": 0, "timeout": TIMEOUT, "track_total_hits": True, "aggs": aggregations}
    (answer,) = whole(search.many([("customers", body)]))
    found = answer.get("aggregations", {})
    total = int(answer.get("hits", {}).get("total", {}).get("value", 0))
    return {
        "as_of": found.get("as_of", {}).get("value"),
        "choices": [{"column": name, "label": label} for name, label in BY_INDEX.items()],
        "groups": [
            _bucket(str(bucket["key"]), int(bucket["doc_count"]), bucket)
            for bucket in found.get("groups", {}).get("buckets", ())
        ],
        "whole": _bucket("all customers", total, found),
    }


def _bucket(name: str, customers: int, found: Mapping[str, Any]) -> Json:
    values = found.get("spread", {}).get("values", ())
    return {
        "name": name,
        "customers": customers,
        "revenue": found.get("revenue", {}).get("value") or 0.0,
        "means": [found.get(f"f{n}", {}).get("value") for n in range(len(FIGURES))],
        "spread": [one["value"] for one in values] or [None] * len(PERCENTS),
    }


# --- the mart ---------------------------------------------------------------------------------------------------------


def _of_mart(file: Path, by: str, figure: str) -> Json:
    try:
        lazy = pl.scan_parquet(file)
        schema = lazy.collect_schema()
        there = [one for one in FIGURES if one.column in schema]
        words = [
            name
            for name, dtype in schema.items()
            if dtype == pl.String and name not in ("customer_id", *CONTACT_FIELDS)
        ]
        wanted = {*words, *(one.column for one in there), "as_of"} & set(schema.names())
        frame = lazy.select(sorted(wanted)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ShopstreamError(f"{file} cannot be read: {error}.", "Run `shopstream segment` again.") from error
    counts = frame.select(col(words).n_unique()).row(0) if words else ()
    choices = [name for name, n in zip(words, counts, strict=True) if n <= GROUPS_MAX]
    if by not in choices:
        raise UsageError(f"The table of customers is not grouped by {by[:100]!r}.", "Choose one of the page.")
    parts = frame.with_columns(col(by).fill_null(NOT_KNOWN)).group_by(by).agg(*_figures(frame, there, figure))
    everybody = frame.select(*_figures(frame, there, figure))
    as_of = frame["as_of"].max() if "as_of" in frame.columns else None
    return {
        "as_of": int(as_of.timestamp() * 1_000) if as_of is not None else None,  # type: ignore[union-attr]
        "choices": [{"column": name, "label": BY_INDEX.get(name, name.replace("_", " "))} for name in choices],
        "groups": [_row(row[by], row) for row in parts.sort("customers", by, descending=[True, False]).to_dicts()],
        "whole": _row("all customers", everybody.to_dicts()[0]),
    }


def _figures(frame: pl.DataFrame, there: Sequence[Figure], figure: str) -> list[pl.Expr]:
    summed = col(_SUMMED).sum() if _SUMMED in frame.columns else pl.lit(0.0)
    known = {one.column for one in there}
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

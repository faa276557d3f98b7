"""Builds the customer table: profile, features and scores, one row per customer, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from polars import col

from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from features.rules.segments import PROFILE_SCHEMA, Rules
from features.scores.score import SCORE_SCHEMA, Scorer

CUSTOMER_TABLE_FILE: Final = "customer_segments.parquet"
ROW_GROUP: Final = 50_000


def build_customer_table(
    rows: pl.DataFrame, scorer: Scorer, rules: Rules, further: Mapping[str, Rules]
) -> pl.DataFrame:
    """Build the customer table.

    Args:
        rows: feature rows joined with the columns of PROFILE_SCHEMA, null where a profile is unknown.
        scorer: scorer of the rows, by `rules`.
        rules: rules of `segment`, `recommended_action` and `modifiers`.
        further: name -> other rules; each adds the columns NAME_segment and NAME_action.

    Returns:
        One row per customer in the byte order of their ids: customer_id, as_of, profile, features, scores, modifiers,
        the further schemes.

    Raises:
        ShopstreamError: there are no customers.
    """
    if rows.is_empty():
        raise ShopstreamError(
            "There are no customers at that time.", "Give a later --as-of, or an archive with events."
        )
    frame = rows.sort("customer_id")
    scored = frame.hstack(scorer.score(frame))
    unsegmented = scored.drop("segment", "recommended_action")
    columns = [rules.modifiers(unsegmented).alias("modifiers")]
    for name, other in further.items():
        assigned = other.assign(unsegmented)
        columns += [
            assigned["segment"].alias(f"{name}_segment"),
            assigned["recommended_action"].alias(f"{name}_action"),
        ]
    features = [name for name in ROW_SCHEMA if name not in ("customer_id", "as_of")]
    order = ["customer_id", "as_of", *PROFILE_SCHEMA, *features, *SCORE_SCHEMA]
    return scored.select(order).hstack(columns)


def order_of_segments(rules: Rules, customers: pl.DataFrame) -> list[str]:
    """Return the segments with customers: those of the rules in their order, then those from modifiers, by name."""
    present = set(customers["segment"].unique().to_list())
    first = [name for name in rules.names if name in present]
    return first + sorted(present - set(first))


def whole_profiles(rows: pl.DataFrame, profiles: Sequence[str] = tuple(PROFILE_SCHEMA)) -> pl.DataFrame:
    """Return rows with every profile column; missing columns are null."""
    return rows.with_columns(
        pl.lit(None, PROFILE_SCHEMA[name]).alias(name) for name in profiles if name not in rows.columns
    )


def with_time(customers: pl.DataFrame) -> pl.DataFrame:
    """Return the table as written: times as timestamp[ms, UTC], so that every reader recognises them."""
    times = [name for name in customers.columns if name == "as_of" or name.endswith("_ts")]
    return customers.with_columns(col(times).cast(pl.Datetime("ms", "UTC")))

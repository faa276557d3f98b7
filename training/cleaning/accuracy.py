"""Measures a cleaning against the planted errors of a synthetic shop: precision and recall."""

from __future__ import annotations

from typing import Any, Final

import polars as pl
from polars import col

DUPLICATE: Final = "duplicate"
GROUPS: Final = ("duplicate", "time", "other")
"""Exact duplicates; missing, impossible or inconsistent times; all other errors."""


def against_truth(planted: pl.DataFrame, dropped: pl.DataFrame) -> dict[str, Any]:
    """Return precision and recall by group, and the outcome of each planted kind.

    A planted row is found if a rule of its group dropped a row of its topic and id. Rows without an id are matched by
    count.

    Args:
        planted: topic, id, kind of each dirty row.
        dropped: topic, id, about of each dropped row.
    """
    kind = col("kind")
    time = kind.str.contains(r"^(?:updated_)?ts ")
    group = (
        pl.when(kind == DUPLICATE).then(pl.lit("duplicate")).when(time).then(pl.lit("time")).otherwise(pl.lit("other"))
    )
    about = pl.when(col("about").is_in(["duplicate", "time"])).then(col("about")).otherwise(pl.lit("other"))
    planted_counts = _counted(planted.with_columns(group.alias("group")), "planted")
    dropped_counts = _counted(dropped.with_columns(about.alias("group")), "found")
    both = planted_counts.join(dropped_counts, on=["topic", "id", "group"], how="full", coalesce=True).with_columns(
        col("planted", "found").fill_null(0)
    )
    both = both.with_columns(pl.min_horizontal("planted", "found").alias("right"))
    sums = {row["group"]: row for row in both.group_by("group").agg(col("planted", "found", "right").sum()).to_dicts()}
    return {name: _rates(sums.get(name, {})) for name in GROUPS} | {"kinds": _kinds(planted, dropped)}


def _counted(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.group_by("topic", col("id").fill_null(""), "group").agg(pl.len().cast(pl.Int64).alias(name))


def _rates(row: dict[str, int]) -> dict[str, Any]:
    planted, dropped, right = (row.get(name, 0) for name in ("planted", "found", "right"))
    return {
        "planted": planted,
        "found": dropped,
        "precision": right / dropped if dropped else None,
        "recall": right / planted if planted else None,
    }


def _kinds(planted: pl.DataFrame, dropped: pl.DataFrame) -> list[dict[str, Any]]:
    """Return, for each kind, the number of planted rows and of rows of their ids dropped by any rule."""
    ids = dropped.group_by("topic", col("id").fill_null("")).agg(pl.len().cast(pl.Int64).alias("gone"))
    kinds = planted.group_by("topic", "kind", col("id").fill_null("")).agg(pl.len().cast(pl.Int64).alias("planted"))
    joined = kinds.join(ids, on=["topic", "id"], how="left").with_columns(
        pl.min_horizontal("planted", col("gone").fill_null(0)).alias("gone")
    )
    sums = joined.group_by("topic", "kind").agg(col("planted", "gone").sum()).sort("topic", "kind")
    return [
        {"topic": r["topic"], "kind": r["kind"], "planted": r["planted"], "dropped": r["gone"]} for r in sums.to_dicts()
    ]

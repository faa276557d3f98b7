"""Compares the last rows, from checkpoints or Elasticsearch, with the rows of the whole archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import elasticsearch
import elasticsearch.helpers
import polars as pl

from connectors.elasticsearch.mappings import alias
from consumers.checkpoints.recovery import restore
from consumers.checkpoints.store import CheckpointStore
from features.backfill import evaluate_all
from features.definitions import ROW_SCHEMA
from shopstream.jobs.archive_features import batch_features

TOLERANCE = 1e-9


def batch_rows(archive: Path, as_of: int) -> pl.DataFrame:
    """Return the rows of all customers of an archive, ordered by customer_id."""
    return batch_features(archive, as_of)


def checkpoint_rows(state: Path, run: str, partitions: int, as_of: int) -> pl.DataFrame:
    """Return the rows of all customers in the newest checkpoints of a run, ordered by customer_id."""
    store = CheckpointStore(str(state), run)
    frames = []
    for number in range(partitions):
        partition = restore(store.read(number, store.names(number)[0]), ["elastic"])
        frames.append(evaluate_all(partition.state, as_of))
    return pl.concat(frames).sort("customer_id")


def elastic_rows(client: elasticsearch.Elasticsearch, run: str) -> pl.DataFrame:
    """Return the documents of a run's customers as rows, ordered by customer_id."""
    name = alias(run, "customers")
    client.indices.refresh(index=name)
    hits = elasticsearch.helpers.scan(client, index=name, size=5_000, _source=list(ROW_SCHEMA))
    rows: list[Mapping[str, Any]] = [hit["_source"] for hit in hits]
    return pl.DataFrame(rows, schema=dict(ROW_SCHEMA)).sort("customer_id")


def differences(rows: pl.DataFrame, expected: pl.DataFrame) -> list[str]:
    """Describe the differences of rows; empty if they are equal (floats within a relative 1e-9)."""
    if not rows["customer_id"].equals(expected["customer_id"]):
        return [f"customers: {rows.height:,} rows, {expected.height:,} expected, or other ids"]
    messages = []
    for name, kind in expected.schema.items():
        actual_column, expected_column = rows[name], expected[name]
        if kind == pl.Float64:
            near = ((actual_column - expected_column).abs() <= TOLERANCE * expected_column.abs()).fill_null(False)
            equal = near | actual_column.eq_missing(expected_column)
        else:
            equal = actual_column.eq_missing(expected_column)
        wrong = int((~equal).sum())
        if wrong:
            at = int((~equal).arg_max() or 0)
            messages.append(f"{name}: {wrong:,} of {len(equal):,} differ, first {rows['customer_id'][at]}: "
                        f"{actual_column[at]!r}, expected {expected_column[at]!r}")  # fmt: skip
    return messages

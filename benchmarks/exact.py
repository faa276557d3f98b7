"""Are the last rows right? Those in the last checkpoint, or in Elasticsearch, against the rows of the whole archive."""

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
    """Rows of every customer of an archive, ordered by customer_id."""
    return batch_features(archive, as_of)


def checkpoint_rows(state: Path, run: str, partitions: int, as_of: int) -> pl.DataFrame:
    """Rows of every customer in the newest checkpoints of a run, ordered by customer_id."""
    store = CheckpointStore(str(state), run)
    frames = []
    for number in range(partitions):
        partition = restore(store.read(number, store.names(number)[0]), ["elastic"])
        frames.append(evaluate_all(partition.state, as_of))
    return pl.concat(frames).sort("customer_id")


def elastic_rows(client: elasticsearch.Elasticsearch, run: str) -> pl.DataFrame:
    """The documents of a run's customers as rows, ordered by customer_id."""
    name = alias(run, "customers")
    client.indices.refresh(index=name)
    hits = elasticsearch.helpers.scan(client, index=name, size=5_000, _source=list(ROW_SCHEMA))
    rows: list[Mapping[str, Any]] = [hit["_source"] for hit in hits]
    return pl.DataFrame(rows, schema=dict(ROW_SCHEMA)).sort("customer_id")


def differences(found: pl.DataFrame, wanted: pl.DataFrame) -> list[str]:
    """Where rows differ, in words; empty when they are equal (floats within a relative 1e-9)."""
    if not found["customer_id"].equals(wanted["customer_id"]):
        return [f"customers: {found.height:,} rows, {wanted.height:,} wanted, or other ids"]
    said = []
    for name, kind in wanted.schema.items():
        ours, theirs = found[name], wanted[name]
        if kind == pl.Float64:
            near = ((ours - theirs).abs() <= TOLERANCE * theirs.abs()).fill_null(False)
            equal = near | ours.eq_missing(theirs)
        else:
            equal = ours.eq_missing(theirs)
        wrong = int((~equal).sum())
        if wrong:
            at = int((~equal).arg_max() or 0)
            said.append(f"{name}: {wrong:,} of {len(equal):,} differ, first {found['customer_id'][at]}: "
                        f"{ours[at]!r}, wanted {theirs[at]!r}")  # fmt: skip
    return said

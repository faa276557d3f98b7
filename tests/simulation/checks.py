"""Whether a checkpoint holds exactly the records before its offsets: no more, no fewer, none twice."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import polars as pl
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame
from pyarrow import fs
from simulation.boundary import Bystander
from simulation.disk import Disk, Files
from simulation.index import Index
from stream.scene import Scene

from consumers.checkpoint import CheckpointStore
from consumers.elastic import document_id
from consumers.emission import EPOCH_SHIFT
from consumers.mappings import write_index
from consumers.outlets import ELASTIC, TOPIC
from consumers.partition import Partition as Restored
from consumers.recovery import restore
from consumers.source import Partition
from features.definitions import evaluate

RUN = "w"
LASTING = ("first_seen_ts", "last_seen_ts", "last_order_ts", "orders_total", "revenue_total")
"""Columns that hang on the records alone, whatever the time of the row."""


def check_prefix(
    files: Files, run: str, number: int, name: str, offsets: Mapping[Partition, int], scene: Scene, index: Index
) -> None:
    """Restores a checkpoint that was just committed and asks the oracle about the records before its offsets.

    Raises:
        AssertionError: they are not what the state counts.
    """
    store = CheckpointStore("state", run)
    store._files = fs.PyFileSystem(Disk(files, Bystander()))
    checkpoint = store.read(number, name)
    partition = restore(checkpoint, [ELASTIC, TOPIC])
    read = {where.topic: [row for row in scene.counting[where][:stop] if row] for where, stop in offsets.items()}
    as_of = max([row["ts"] for row in read["events"]] + [row["updated_ts"] for row in read["orders"]], default=0)
    assert partition.state.stream_time == as_of
    if as_of:
        everyone = np.arange(partition.state.customer_count, dtype=np.int32)
        got = evaluate(partition.state, everyone, as_of)
        expected = feature_frame(loop_rows(read["events"], read["orders"], as_of))
        assert_same_rows(got.select(expected.columns), expected, note=f"in checkpoint {name}")
        to_come = {row["customer_id"] for where, stop in offsets.items() for row in scene.counting[where][stop:] if row}
        _check_clean(partition, got, index, to_come)


def _check_clean(partition: Restored, rows: pl.DataFrame, index: Index, to_come: set[str]) -> None:
    """Whoever the checkpoint does not keep as dirty stands in the index as the checkpoint has it, or newer.

    Newer is also what a former owner wrote who had read further: of customers with records `to_come`, which make them
    dirty again.
    """
    newest = (partition.epoch << EPOCH_SHIFT) + partition.counter
    dirty = set(partition.customers_dirty[ELASTIC].unwritten().tolist())
    held = {key: found for (name, key), found in index.documents.items() if name == write_index(RUN, "customers")}
    for code, row in enumerate(rows.iter_rows(named=True)):
        if code in dirty:
            continue
        version, body = held[document_id(row["customer_id"])]
        document = json.loads(body)
        if version > newest or (version >> EPOCH_SHIFT < partition.epoch and row["customer_id"] in to_come):
            continue
        wrong = [name for name in LASTING if document[name] != row[name]]
        assert not wrong, f"{row['customer_id']!r} is not dirty, but its document has other {wrong}"

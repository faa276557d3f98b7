"""Whether a checkpoint holds exactly the records before its offsets, and alerts lead from one band to the next."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from oracle.loops import in_log, loop_rows
from oracle.rows import assert_same_rows, feature_frame
from pyarrow import fs
from simulation.boundary import Bystander
from simulation.broker import RUN
from simulation.disk import STATE, Disk, Store
from simulation.index import Index
from stream.scene import Scene

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.mappings import write_index
from connectors.kafka.source import Partition
from consumers.checkpoints.recovery import restore
from consumers.checkpoints.store import CheckpointStore
from consumers.features.documents import EPOCH_SHIFT
from consumers.features.sinks import ELASTIC, TOPIC
from consumers.state.partition import PartitionState as Restored
from features.definitions import evaluate
from features.scores.score import RISKS

LASTING = ("first_seen_ts", "last_seen_ts", "last_order_ts", "orders_total", "revenue_total")
"""Columns that hang on the records alone, whatever the time of the row."""


def check_prefix(
    disk: Store, run: str, number: int, name: str, offsets: Mapping[Partition, int], scene: Scene, index: Index | None
) -> None:
    """Restores a checkpoint that was just committed and asks the oracle about the records before its offsets.

    Raises:
        AssertionError: they are not what the state counts.
    """
    store = CheckpointStore(STATE, run, files=fs.PyFileSystem(Disk(disk, Bystander())))
    checkpoint = store.read(number, name)
    partition = restore(checkpoint, [ELASTIC, TOPIC])
    read = {where.topic: [row for row in scene.counting[where][:stop] if row] for where, stop in offsets.items()}
    as_of = max([row["ts"] for row in read["events"]] + [row["updated_ts"] for row in read["orders"]], default=0)
    assert partition.state.max_event_time == as_of
    if as_of:
        everyone = np.arange(partition.state.customer_count, dtype=np.int32)
        got = evaluate(partition.state, everyone, as_of)
        expected = feature_frame(loop_rows(read["events"], read["orders"], as_of, in_log))
        assert_same_rows(got.select(expected.columns), expected, note=f"in checkpoint {name}")
        to_come = {row["customer_id"] for where, stop in offsets.items() for row in scene.counting[where][stop:] if row}
        if index is not None:
            _check_clean(partition, got, index, to_come)


def _check_clean(partition: Restored, rows: pl.DataFrame, index: Index, to_come: set[str]) -> None:
    """Whoever the checkpoint does not keep as dirty stands in the index as the checkpoint has it, or newer.

    Newer is also what a former owner wrote who had read further: of customers with records `to_come`, which make them
    dirty again.
    """
    newest = (partition.epoch << EPOCH_SHIFT) + partition.counter
    dirty = set(partition.customers_dirty[ELASTIC].unwritten().tolist())
    held = {key: one for (name, key), one in index.documents.items() if name == write_index(RUN, "customers")}
    for code, row in enumerate(rows.iter_rows(named=True)):
        if code in dirty:
            continue
        version, body = held[document_id(row["customer_id"])]
        document = json.loads(body)
        if version > newest or (version >> EPOCH_SHIFT < partition.epoch and row["customer_id"] in to_come):
            continue
        wrong = [name for name in LASTING if document[name] != row[name]]
        assert not wrong, f"{row['customer_id']!r} is not dirty, but its document has other {wrong}"


def check_alerts(
    sent: Sequence[Mapping[str, Any]], indexed: Sequence[Mapping[str, Any]], risks: Mapping[str, str | None]
) -> dict[str, list[tuple[str, str]]]:
    """None is lost, and one id is one content. Risks only rise, so each alert begins where the one before ended.

    Args:
        sent: the messages on the topic.
        indexed: the documents.
        risks: customer -> the risk of the newest row.

    Returns:
        Customer -> the risk before and after each alert, in order.

    Raises:
        AssertionError: it is not so.
    """
    by_id: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for alert in sent:
        key = alert["customer_id"], alert["churn_risk"], alert["day"]
        assert by_id.setdefault(key, alert) == alert, "one id, two contents"
    documents = {(d["customer_id"], d["churn_risk"], d["day"]): d for d in indexed}
    assert documents == by_id
    steps = defaultdict(list)
    for alert in sorted(by_id.values(), key=lambda a: (a["ts"], RISKS.index(a["churn_risk"]))):
        steps[alert["customer_id"]].append((alert["churn_risk_before"], alert["churn_risk"]))
    for customer, path in steps.items():
        assert [b for _, b in path[:-1]] == [a for a, _ in path[1:]], (customer, path)
        assert path[-1][1] == risks[customer], (customer, path)
    return dict(steps)

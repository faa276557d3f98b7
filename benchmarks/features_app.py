"""Measures the features consumer with de-duplication, features, dead letters and checkpoints.

Started by benchmarks/stream.py. The task defines whether rows go to Elasticsearch or are discarded after evaluation.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from unittest.mock import patch

from benchmarks.client import Client, cpu_s
from benchmarks.held_start import HeldStart
from benchmarks.steps import Steps
from connectors.elasticsearch.client import ElasticConnection
from connectors.kafka.source import Batch
from connectors.kafka.source import Partition as SourcePartition
from consumers.checkpoints.recovery import empty, restore, snapshot
from consumers.features import build as features_build
from consumers.features.documents import customer_rows
from consumers.state.partition import PartitionState
from features.schema import DAY_MS

WARM_EVENT = (
    b'{"event_id":"e%d","event_type":"%b","customer_id":"c%d","session_id":"s%d","ts":%d,"device":"mobile",'
    b'"category":"home","country":"DE"}'
)
WARM_ORDER = (
    b'{"order_id":"o%d","customer_id":"c%d","ts":%d,"updated_ts":%d,"status":"placed","total":9.5,'
    b'"items":[{"product_id":"p","quantity":1,"unit_price":9.5}]}'
)


def warm() -> None:
    """Load compiled code into this process, as in the first seconds of a worker."""
    partition = empty(0, ["elastic"], contact=False)
    kinds = (b"page_view", b"search", b"product_view", b"add_to_cart", b"remove_from_cart", b"checkout", b"purchase")
    events = [WARM_EVENT % (i, kinds[i % 7], i % 50, i % 70, DAY_MS * 100 + i * 1000) for i in range(500)]
    orders = [WARM_ORDER % (i, i % 50, DAY_MS * 100 + i, DAY_MS * 100 + i) for i in range(100)]
    for topic, values in (("events", events), ("orders", orders)):
        keys: list[bytes | None] = [b"c%d" % (i % 50) for i in range(len(values))]
        times = [DAY_MS * 100] * len(values)
        partition.receive(Batch(SourcePartition(topic, 0), list(range(len(values))), list(values), keys, times))
        partition.reached_end(topic)
    partition.advance()
    _query(partition)
    # growth, a new day and renumbering have their own kernels
    partition.mark_all()
    partition.expire()
    _query(restore(snapshot(partition, "warm", 1, []), ["elastic"]))


def _query(partition: PartitionState) -> None:
    dirty = partition.customers_dirty["elastic"]
    batch_id, codes = dirty.take_batch(1_000)
    customer_rows(partition, codes, DAY_MS * 101)
    dirty.acknowledge(batch_id)


def main() -> None:
    client = Client()
    task = client.task
    warm()
    steps = Steps() if task["steps"] else None
    if steps is not None:
        steps.install()
    elastic = ElasticConnection(**task["elastic"]) if task["elastic"] else None
    options = features_build.FeaturesOptions(
        task["run"],
        task["kafka"],
        elastic,
        task["state"],
        instance_id=task["instance"],
        feature_topic=False,
        checkpoint_interval_s=task["checkpoint_interval_s"],
    )
    # every measurement has its own group, so that none waits for the end of an earlier session
    with patch.object(features_build, "group_name", lambda _run, _role: task["group"]):
        consumer = features_build.open_features(options)
    source = consumer._source  # noqa: SLF001 - only a measurement delays the start of a worker
    held = HeldStart(client, source, task["partitions"])

    def stop() -> bool:
        if held.check(len(consumer.owned() or ()), lambda: consumer.progress().consumed > 0) and steps is not None:
            steps.reset()
        return False

    def final_as_of(_: int) -> int | None:
        if not held.is_started:
            return None  # no partition is assigned yet
        client.read()
        return task["as_of"] if task["workers"] == 1 or client.finish.is_set() else None

    settled: list[tuple[float, float]] = []
    close = source.close

    def closing() -> None:
        settled.append((time.monotonic(), cpu_s()))
        close()

    until = {(topic, number): offset for topic, number, offset in task["ends"]}
    with patch.object(source, "close", closing):
        progress = consumer.run(stop, until, final_as_of, lambda _: None)
    step_rows = steps.table() if steps is not None else []
    client.done_at(*settled[0], progress=asdict(progress), steps=step_rows)


if __name__ == "__main__":
    main()

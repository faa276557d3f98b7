"""Values of stored state and stored models as plain JSON: recorded by `write.py`, compared by the tests."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from connectors.kafka.source import Batch, Partition
from consumers.checkpoints.recovery import DIRTY, snapshot
from consumers.features.documents import customer_docs, customer_rows, order_docs, session_docs
from consumers.state.partition import PartitionState
from features.schema import SOURCE_TOPICS
from shopstream.jobs.archive_features import batch_features
from training.bundle import load_bundle
from training.clusters.bundle import load_clusters

RUN = "shop"
SINKS = ["elastic", "topic"]
APPEND_MS = 4_000_000_000_000
"""Append time of every message; no record is ahead of it."""

Wire = dict[str, list[tuple[str | None, str | None]]]
"""Source topic -> key and value of each message, as text."""


def feed(partition: PartitionState, wire: Wire, *, start: dict[str, int], at_end: bool) -> None:
    """Read messages of all topics into a partition, and apply what their times allow."""
    for topic in SOURCE_TOPICS:
        keys, values = zip(*wire[topic], strict=True)
        first = start[topic]
        batch = Batch(
            Partition(topic, partition.number),
            list(range(first, first + len(keys))),
            [value if value is None else value.encode() for value in values],
            [key if key is None else key.encode() for key in keys],
            [APPEND_MS] * len(keys),
        )
        partition.receive(batch)
    for topic in SOURCE_TOPICS if at_end else ():
        partition.reached_end(topic)
    partition.advance()


def state_of(partition: PartitionState) -> dict[str, Any]:
    """Everything that a partition would write next: its documents, dirty rows, alerts and offsets.

    Writing the documents raises the version counter of the partition.
    """
    checkpoint = snapshot(partition, RUN, 1, [])
    manifest = checkpoint.manifest
    as_of = partition.state.max_event_time
    everyone = np.arange(partition.state.customer_count, dtype=np.int32)
    rows = customer_rows(partition, everyone, as_of)
    sessions = np.arange(partition.state.session_count, dtype=np.int32)
    orders = checkpoint.arrays[f"{DIRTY}orders"]
    documents = [
        *customer_docs(partition, rows, RUN),
        *session_docs(partition, sessions, as_of, RUN),
        *order_docs(partition, orders, RUN),
    ]
    return {
        "as_of": as_of,
        "documents": [[d.index, d.id, d.version, json.loads(d.body)] for d in documents],
        "pending": {n: a.tolist() for n, a in checkpoint.arrays.items() if n.startswith(DIRTY) or n == "bands"},
        "alerts": [[number, json.loads(body)] for number, body in manifest.alerts],
        "event_ids": partition.state.id_count,
        **{
            name: getattr(manifest, name)
            for name in ("epoch", "counter", "offsets", "profiles_read", "contact", "bundle", "topic_ids", "index_ids")
        },
        "profiles": {name: json.loads(b"{" + body + b"}") for name, body in sorted(manifest.profiles.items())},
    }


def features_of(archive: Path, as_of: int) -> list[dict[str, Any]]:
    """Feature rows of an archive."""
    return batch_features(archive, as_of).to_dicts()


def scores_of(bundle: Path, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Scores of a bundle: churn, RFM, segment and next purchase."""
    return load_bundle(bundle).scorer().score(rows).to_dicts()


def clusters_of(clusters: Path, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Cluster, persona and action of customers."""
    return load_clusters(clusters).assign(rows).to_dicts()


def as_message(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> dict[str, Any]:
    """A Kafka message as JSON."""
    return {"key": _text(key), "value": _text(value), "headers": [[name, _text(body)] for name, body in headers]}


def as_plain(value: object) -> Any:
    """A structure as JSON has it: tuples are lists, bytes are text."""
    return json.loads(msgspec.json.encode(value))


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()

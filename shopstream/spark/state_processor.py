"""Runs a bucket in Spark's state store by `transformWithStateInPandas`: source rows in, writes out.

One key is one bucket, and one bucket is one partition of the topics. Its records are validated in the order of their
offsets, as the contract requires. Only the cells of a batch's customers are read from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from connectors.kafka.source import Batch, Partition
from consumers.state.partition import Counts
from features.schema import SOURCE_TOPICS
from shopstream.spark.bucket import Bucket
from shopstream.spark.kafka_source import TICK
from shopstream.spark.state_schema import Write

if TYPE_CHECKING:
    from features.scores.score import Scoring

WRITE_BATCH_SIZE: Final = 5_000
WRITES_DDL: Final = (
    "kind string, target string, id string, version bigint, key binary, body binary, at bigint, "
    "error string, bucket int"
)
"""A `Write` and its bucket as a Spark DDL; `at` is its offset."""
RESULT: Final = "result"
"""Kind of a bucket's last row in a batch: not a write, but a `BucketResult` as JSON."""


class BucketResult(msgspec.Struct, frozen=True):
    """Result of a bucket's batch.

    Attributes:
        max_event_time: max event time after the batch, epoch ms.
        customers: number of customers seen so far.
        counts: counts of the batch's records.
    """

    max_event_time: int
    customers: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Settings of the tasks.

    Attributes:
        run: name of the run.
        partition_keys: shuffle key of each partition.
        epoch: epoch of this query.
        cells: number of cells of a new bucket.
        contact: keep name and e-mail of profiles.
        bundle: folder of the bundle that scores rows, present on every machine; None: no scores.
    """

    run: str
    partition_keys: tuple[int, ...]
    epoch: int
    cells: int
    contact: bool = False
    bundle: str | None = None


def processor(settings: TaskSettings) -> Any:
    """Create the stateful processor (pyspark.sql.streaming.StatefulProcessor) of a query."""
    from pyspark.sql.streaming import StatefulProcessor  # noqa: PLC0415

    class Buckets(StatefulProcessor):  # type: ignore[misc]
        def init(self, handle: Any) -> None:
            self._store = StateStore(
                handle.getValueState("bucket", "value binary"),
                handle.getMapState("cells", "cell int", "value binary"),
                handle.getMapState("ids", "hour int", "value binary"),
            )
            self._scoring = _scoring(settings.bundle)

        def handleInputRows(  # noqa: N802 - Spark's name
            self,
            key: Any,
            rows: Iterable[Any],
            timerValues: Any,  # noqa: ARG002, N803 - of the interface
        ) -> Iterator[Any]:
            number = settings.partition_keys.index(int(key[0]))
            batches, as_of = batches_of(number, rows)
            bucket = Bucket(
                number, settings.run, self._store, settings.epoch, settings.cells, settings.contact, self._scoring
            )
            yield from frames(number, bucket.process(batches, as_of))
            result = BucketResult(bucket.max_event_time, bucket.customers, bucket.counts)
            yield from frames(number, [Write(RESULT, "", "", msgspec.json.encode(result))])

        def close(self) -> None:
            pass

    return Buckets()


class StateStore:
    """Store of a bucket in Spark's state variables.

    Args:
        bucket: value state of one binary column.
        cells: map state from a number to a binary column.
        ids: map state like `cells`.
    """

    def __init__(self, bucket: Any, cells: Any, ids: Any) -> None:
        self._bucket = bucket
        self._cells = cells
        self._ids = ids

    def bucket(self) -> bytes | None:
        """Return the last stored bucket; None if there is none."""
        value = self._bucket.get()
        return None if value is None else bytes(value[0])

    def put_bucket(self, value: bytes) -> None:
        """Store the bucket."""
        self._bucket.update((value,))

    def cell(self, number: int) -> bytes:
        """Return a stored cell."""
        return bytes(self._cells.getValue((number,))[0])

    def put_cell(self, number: int, value: bytes) -> None:
        """Store a cell."""
        self._cells.updateValue((number,), (value,))

    def ids(self, hour: int) -> bytes:
        """Return the stored event ids of an hour."""
        return bytes(self._ids.getValue((hour,))[0])

    def put_ids(self, hour: int, value: bytes) -> None:
        """Store the event ids of an hour."""
        self._ids.updateValue((hour,), (value,))

    def drop_ids(self, hour: int) -> None:
        """Delete the event ids of an hour."""
        self._ids.removeKey((hour,))


def batches_of(number: int, frames_in: Iterable[Any]) -> tuple[dict[str, Batch], int | None]:
    """Convert rows of `kafka_source.ROWS`, in any order, to a batch per topic, and the time of a tick among them."""
    parts: dict[int, list[Any]] = {}
    for frame in frames_in:
        for topic, part in frame.groupby("topic", sort=False):
            parts.setdefault(int(topic), []).append(part)
    as_of = max((int(part["append_ms"].max()) for part in parts.pop(TICK, [])), default=None)
    return {
        topic: _batch(Partition(topic, number), parts[topic_number])
        for topic_number, topic in enumerate(SOURCE_TOPICS)
        if topic_number in parts
    }, as_of


def _batch(partition: Partition, parts: Sequence[Any]) -> Batch:
    offsets = np.concatenate([part["at"].to_numpy(np.int64) for part in parts])
    append_ms = np.concatenate([part["append_ms"].to_numpy(np.int64) for part in parts])
    keys = [key for part in parts for key in part["key"].tolist()]
    values = [value for part in parts for value in part["value"].tolist()]
    # a shuffle keeps no order
    order = np.argsort(offsets, kind="stable")
    positions = order.tolist()
    return Batch(
        partition,
        offsets[order].tolist(),
        [values[i] for i in positions],
        [keys[i] for i in positions],
        append_ms[order],
    )


def frames(number: int, writes: Iterable[Write]) -> Iterator[Any]:
    """Yield the writes as frames of WRITES_DDL."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415

    rest = iter(writes)
    while group := list(islice(rest, WRITE_BATCH_SIZE)):
        yield pd.DataFrame(
            {
                "kind": [write.kind for write in group],
                "target": [write.target for write in group],
                "id": [write.id for write in group],
                "version": pd.array([write.version for write in group], dtype="Int64"),
                "key": [write.key for write in group],
                "body": [write.body for write in group],
                "at": [write.offset for write in group],
                "error": [write.error for write in group],
                "bucket": np.full(len(group), number, np.int32),
            }
        )


def _scoring(bundle: str | None) -> Scoring | None:
    if bundle is None:
        return None
    from training.bundle import load_bundle  # noqa: PLC0415

    return load_bundle(Path(bundle)).scoring()

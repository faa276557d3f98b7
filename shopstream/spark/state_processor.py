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

WRITES_AT_ONCE: Final = 5_000
WRITES_DDL: Final = (
    "kind string, place string, id string, version bigint, key binary, body binary, at bigint, error string, bucket int"
)
"""A `Write` and its bucket as a Spark DDL; `at` is its offset."""
MARK: Final = "mark"
"""Kind of a bucket's last row in a batch: not a write, but a `Mark` as JSON."""


class Mark(msgspec.Struct, frozen=True):
    """Result of a bucket's batch.

    Attributes:
        stream_time: max event time after the batch, epoch ms.
        customers: number of customers seen so far.
        counts: counts of the batch's records.
    """

    stream_time: int
    customers: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Work:
    """Settings of the tasks.

    Attributes:
        run: name of the run.
        lanes: lane of each partition.
        epoch: epoch of this query.
        cells: number of cells of a new bucket.
        contact: keep name and e-mail of profiles.
        bundle: folder of the bundle that scores rows, present on every machine; None: no scores.
    """

    run: str
    lanes: tuple[int, ...]
    epoch: int
    cells: int
    contact: bool = False
    bundle: str | None = None


def processor(work: Work) -> Any:
    """Create the stateful processor (pyspark.sql.streaming.StatefulProcessor) of a query."""
    from pyspark.sql.streaming import StatefulProcessor  # noqa: PLC0415

    class Buckets(StatefulProcessor):  # type: ignore[misc]
        def init(self, handle: Any) -> None:
            self._store = StateStore(
                handle.getValueState("bucket", "value binary"),
                handle.getMapState("cells", "cell int", "value binary"),
                handle.getMapState("ids", "hour int", "value binary"),
            )
            self._scoring = _scoring(work.bundle)

        def handleInputRows(  # noqa: N802 - Spark's name
            self,
            key: Any,
            rows: Iterable[Any],
            timerValues: Any,  # noqa: ARG002, N803 - of the interface
        ) -> Iterator[Any]:
            number = work.lanes.index(int(key[0]))
            batches, as_of = batches_of(number, rows)
            bucket = Bucket(number, work.run, self._store, work.epoch, work.cells, work.contact, self._scoring)
            yield from frames(number, bucket.take(batches, as_of))
            mark = Mark(bucket.stream_time, bucket.customers, bucket.counts)
            yield from frames(number, [Write(MARK, "", "", msgspec.json.encode(mark))])

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
        found = self._bucket.get()
        return None if found is None else bytes(found[0])

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
        topic: _batch(Partition(topic, number), parts[place])
        for place, topic in enumerate(SOURCE_TOPICS)
        if place in parts
    }, as_of


def _batch(where: Partition, parts: Sequence[Any]) -> Batch:
    offsets = np.concatenate([part["at"].to_numpy(np.int64) for part in parts])
    append_ms = np.concatenate([part["append_ms"].to_numpy(np.int64) for part in parts])
    keys = [key for part in parts for key in part["key"].tolist()]
    values = [value for part in parts for value in part["value"].tolist()]
    # a shuffle keeps no order
    order = np.argsort(offsets, kind="stable")
    places = order.tolist()
    return Batch(
        where, offsets[order].tolist(), [values[i] for i in places], [keys[i] for i in places], append_ms[order]
    )


def frames(number: int, writes: Iterable[Write]) -> Iterator[Any]:
    """Yield the writes as frames of WRITES_DDL."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415

    rest = iter(writes)
    while some := list(islice(rest, WRITES_AT_ONCE)):
        yield pd.DataFrame(
            {
                "kind": [write.kind for write in some],
                "place": [write.place for write in some],
                "id": [write.id for write in some],
                "version": pd.array([write.version for write in some], dtype="Int64"),
                "key": [write.key for write in some],
                "body": [write.body for write in some],
                "at": [write.offset for write in some],
                "error": [write.error for write in some],
                "bucket": np.full(len(some), number, np.int32),
            }
        )


def _scoring(bundle: str | None) -> Scoring | None:
    if bundle is None:
        return None
    from training.bundle import load_bundle  # noqa: PLC0415

    return load_bundle(Path(bundle)).scoring()

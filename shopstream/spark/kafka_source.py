"""Provides a run's topics as a source of Spark's Structured Streaming.

Spark's own Kafka source is a Java library that has to be fetched besides PySpark and takes other settings. This source
reads with the client, the settings and the checks of the consumers. Offsets are kept in Spark's checkpoint. Records
reach Spark unchanged: the bucket validates them.

A `tick` among the offsets is a time at which every customer's row is written: it makes one row for each bucket.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from connectors.kafka.reader import OffsetRange, Ranges, Watermarks, read_offset_range
from connectors.kafka.source import Partition, gap
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS

NAME: Final = "shopstream-topics"
TICK: Final = -1
"""Topic number of a row that is a tick, not a record; `append_ms` is then the time of the tick."""
ROWS: Final = pa.schema(
    [
        ("lane", pa.int32()),
        ("topic", pa.int8()),
        ("at", pa.int64()),
        ("append_ms", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
"""`lane` is the shuffle key of a partition, `topic` the position in SOURCE_TOPICS, `at` the offset.

Checkpoints store the name `lane`.
"""
ROWS_DDL: Final = "lane int, topic tinyint, at bigint, append_ms bigint, key binary, value binary"
"""ROWS as a Spark DDL."""

Offsets = dict[str, Any]
"""Topic -> partition number as text -> next offset; and `tick`, epoch ms, 0 for none."""


def initial(marks: Mapping[Partition, Watermarks]) -> Offsets:
    """Return the start of a query without a checkpoint: the first retained records."""
    return _offsets({partition: mark.low for partition, mark in marks.items()}, tick=0)


def latest(start: Offsets, marks: Mapping[Partition, Watermarks], records_max: int | None, tick: int) -> Offsets:
    """Return the end of the next batch.

    A batch takes the same share of the lag of each partition. This keeps the topics in step while a query catches up on
    records written in the order of time.

    Args:
        start: start of the batch.
        marks: low and high offsets of every partition.
        records_max: maximum number of records over all partitions; None: no limit.
        tick: 0, or a time in epoch ms: read no more records, and request rows at this time.

    Raises:
        ShopstreamError: records from `start` on are gone, or the partitions have changed.
    """
    starts = _next_offsets(start)
    if set(starts) != set(marks):
        raise ShopstreamError(
            f"The checkpoint has {len(starts)} partitions, the topics have {len(marks)}.",
            "The partitions of a run never change: read the topics into a new run (`--run NAME`).",
        )
    lags = {}
    for partition, offset in starts.items():
        low, high = marks[partition].low, marks[partition].high
        if not low <= offset <= high:
            raise gap(partition.topic, partition.number, offset, f"its records are {low} to {high}")
        lags[partition] = high - offset
    if tick and start["tick"] != tick:
        # a tick covers the records read so far; newer records may be later than its time
        return {**start, "tick": tick}
    if tick:
        return start
    total = sum(lags.values())
    share = 1.0 if records_max is None or total <= records_max else records_max / total
    ends = {partition: starts[partition] + math.ceil(lag * share) for partition, lag in lags.items()}
    return _offsets(ends, start["tick"])


def spans(start: Offsets, end: Offsets) -> list[OffsetRange]:
    """Return the spans to read between two offsets."""
    starts, ends = _next_offsets(start), _next_offsets(end)
    return [
        OffsetRange(partition.topic, partition.number, starts[partition], stop)
        for partition, stop in ends.items()
        if stop > starts[partition]
    ]


def _offsets(by_partition: Mapping[Partition, int], tick: int) -> Offsets:
    offsets: Offsets = {topic: {} for topic in SOURCE_TOPICS}
    for partition, offset in sorted(by_partition.items()):
        offsets[partition.topic][str(partition.number)] = offset
    return {**offsets, "tick": tick}


def _next_offsets(offsets: Offsets) -> dict[Partition, int]:
    return {
        Partition(topic, int(number)): offset for topic in SOURCE_TOPICS for number, offset in offsets[topic].items()
    }


@dataclass(frozen=True, slots=True)
class TaskInput:
    """Input of one task: a span, or the tick if the span is None."""

    span: OffsetRange | None
    tick: int = 0


class TopicsReader:
    """Reader of the source, without Spark's base classes; runs on the driver, except `rows`, which tasks call.

    Args:
        kafka: properties of librdkafka.
        run: name of the run.
        partition_keys: shuffle key of each partition.
        records_max: maximum number of records per batch.
        tick: as in `latest`.
    """

    def __init__(
        self, kafka: Mapping[str, Any], run: str, partition_keys: Sequence[int], records_max: int, tick: int
    ) -> None:
        self._kafka, self._run, self._partition_keys = kafka, run, partition_keys
        self._records_max, self._tick = records_max, tick
        self._ranges: Ranges | None = None
        self._frozen: Mapping[Partition, Watermarks] | None = None

    def _marks(self) -> Mapping[Partition, Watermarks]:
        if self._frozen is not None:
            return self._frozen
        if self._ranges is None:
            self._ranges = Ranges(self._kafka, self._run)
        return self._ranges.now()

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        """Freeze the ends: records written from now on are not read."""
        self._frozen = self._marks()

    def getDefaultReadLimit(self) -> Any:  # noqa: N802 - Spark's name
        """Return the record limit of a batch."""
        from pyspark.sql.streaming.datasource import ReadMaxRows  # noqa: PLC0415

        return ReadMaxRows(self._records_max)

    def initialOffset(self) -> Offsets:  # noqa: N802 - Spark's name
        """Return the start of a query without a checkpoint."""
        return initial(self._marks())

    def latestOffset(self, start: Offsets, limit: Any) -> Offsets:  # noqa: N802 - Spark's name
        """Return the end of the batch that begins at `start`."""
        records_max = getattr(limit, "max_rows", None)
        return latest(start, self._marks(), records_max, self._tick)

    def parts(self, start: Offsets, end: Offsets) -> list[TaskInput]:
        """Return the inputs of a batch's tasks."""
        parts = [TaskInput(span) for span in spans(start, end)]
        return [*parts, TaskInput(None, end["tick"])] if end["tick"] != start["tick"] else parts

    def rows(self, part: TaskInput) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part, as ROWS."""
        if part.span is None:
            yield ticks(self._partition_keys, part.tick)
            return
        for batch in read_offset_range(self._kafka, self._run, part.span):
            yield rows_of(batch.partition.topic, self._partition_keys[part.span.number], batch)

    def stop(self) -> None:
        """Close the connection at the end of the query."""
        if self._ranges is not None:
            self._ranges.close()
            self._ranges = None


def source(kafka: Mapping[str, Any], run: str, partition_keys: Sequence[int], records_max: int, tick: int) -> type[Any]:
    """Return the class to register with Spark under the name NAME; arguments as for `TopicsReader`."""
    from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition  # noqa: PLC0415
    from pyspark.sql.streaming.datasource import SupportsTriggerAvailableNow  # noqa: PLC0415

    class Reader(TopicsReader, DataSourceStreamReader, SupportsTriggerAvailableNow):  # type: ignore[misc]
        def partitions(self, start: Offsets, end: Offsets) -> list[Any]:
            return [InputPartition(part) for part in self.parts(start, end)]

        def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
            return self.rows(partition.value)

    class Topics(DataSource):  # type: ignore[misc]
        @classmethod
        def name(cls) -> str:
            return NAME

        def schema(self) -> str:
            return ROWS_DDL

        def streamReader(self, schema: Any) -> Any:  # noqa: N802, ARG002 - Spark's name and argument
            return Reader(kafka, run, partition_keys, records_max, tick)

    return Topics


def rows_of(topic: str, partition_key: int, batch: Any) -> pa.RecordBatch:
    """Convert unchanged records to ROWS."""
    n = len(batch.values)
    columns = [
        np.full(n, partition_key, np.int32),
        np.full(n, SOURCE_TOPICS.index(topic), np.int8),
        np.array(batch.offsets, np.int64),
        np.asarray(batch.append_ms, np.int64),
        pa.array(batch.keys, pa.binary()),
        pa.array(batch.values, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=ROWS)


def ticks(partition_keys: Sequence[int], at: int) -> pa.RecordBatch:
    """Return a tick for every bucket, as ROWS."""
    tick = {"topic": TICK, "at": 0, "append_ms": at, "key": None, "value": None}
    rows = [{"lane": partition_key, **tick} for partition_key in partition_keys]
    return pa.RecordBatch.from_pylist(rows, schema=ROWS)

"""Applies a batch to one bucket of a Spark stream: a partition of the shop, with its state in a key-value store.

Independent of Spark: records and a store go in, writes come out. Application, evaluation and writes are the consumers'
own `PartitionState` and documents; this module only selects the part of the state that a batch needs. Customers are
assigned to cells by their id. A batch joins the cells it touches into one partition, applies the records, takes the
pending writes, and stores the cells again.

1. Read the bucket's stored values, and the cells of the records' customers.
2. Apply the records; the consumers' rules validate them.
3. Take the changed rows and documents, as of the max event time.
4. Store the cells that changed, and the event ids.
5. On a new UTC day, a new bundle, or abandoned carts: the other cells, some at a time.

After a crash at any step, Spark repeats the batch with the previous store.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from connectors.elasticsearch.documents import Doc
from connectors.kafka.source import Batch
from connectors.kafka.stop_offsets import check_final
from consumers.checkpoints.recovery import strip_contact
from consumers.features.documents import (
    CustomerRows,
    alert_docs,
    alert_rows,
    customer_docs,
    customer_rows,
    order_docs,
    session_docs,
)
from consumers.state.dirty_rows import DirtyRows
from consumers.state.partition import Counts, PartitionState
from features.schema import (
    ABANDONED_AFTER_MS,
    EVENT_LATENESS_MS,
    HOUR_MS,
    SCHEMA_VERSION,
    SOURCE_TOPICS,
    topic_name,
)
from features.scores.alerts import UNKNOWN
from features.scores.score import Scoring
from features.state.int48 import read_int48
from features.state.slices import FORM, join, split
from features.state.state import day_of
from features.state.tables import EVENT_ID, Int32, Strings, take
from shopstream.spark.state_schema import Cell, Store, StoredBucket, Write, decode_bucket

ROWS: Final = "rows"
"""Name of the only set of dirty customers: all sinks receive the same writes."""
ROWS_MAX: Final = 10_000
"""Rows evaluated at a time."""
CUSTOMER_BATCH_SIZE: Final = 20_000
"""Approximate number of customers joined at a time when all cells are processed."""
_HOURS: Final = 1 << 20
"""Hours are stored modulo this, as in the ids."""


@dataclass(slots=True)
class Bucket:
    """Processing of one batch of a bucket's records.

    Args:
        number: number of the partition.
        run: name of the run.
        store: store of this bucket.
        epoch: epoch of the running query.
        cells: number of cells of a new bucket.
        contact: keep name and e-mail of profiles.
        scoring: scoring of the rows; None: rows have no scores.

    Attributes:
        counts: record counts of the batch.
        max_event_time: max event time after the batch, epoch ms.
    """

    number: int
    run: str
    store: Store
    epoch: int
    cells: int
    contact: bool = False
    scoring: Scoring | None = None
    counts: Counts = field(default_factory=Counts)
    _stored: StoredBucket = field(init=False)
    _present: Any = field(init=False)
    _due: dict[int, int] = field(init=False)
    _words: Strings = field(init=False)

    def __post_init__(self) -> None:
        encoded = self.store.bucket()
        self._stored = decode_bucket(encoded) if encoded is not None else StoredBucket(FORM, SCHEMA_VERSION, self.cells)
        if self.epoch > self._stored.epoch:
            self._stored.epoch, self._stored.counter = self.epoch, 0
        bits = np.frombuffer(self._stored.present, np.uint8)
        self._present = (
            np.unpackbits(bits, count=self._stored.cells).astype(np.bool_)
            if len(bits)
            else np.zeros(self._stored.cells, np.bool_)
        )
        pairs = np.frombuffer(self._stored.due, np.int64).reshape(-1, 2)
        self._due = dict(zip(*pairs.T.tolist(), strict=True))
        ends = np.cumsum(np.frombuffer(self._stored.word_lengths, np.uint32), dtype=np.int64)
        self._words = Strings.restore(
            np.concatenate([[0], ends]).astype(np.int64), np.frombuffer(self._stored.words, np.uint8)
        )

    @property
    def max_event_time(self) -> int:
        """Max event time applied so far, epoch ms."""
        return max(self._stored.high_events, self._stored.high_orders)

    @property
    def customers(self) -> int:
        """Number of customers seen so far."""
        return self._stored.customers

    def process(self, batches: Mapping[str, Batch], as_of: int | None = None) -> Iterator[Write]:
        """Apply a batch of each topic and yield the writes; the store is complete once this is exhausted.

        Args:
            batches: source topic -> records in the order of their offsets.
            as_of: time at which every customer's row is also written, epoch ms.

        Raises:
            UsageError: `as_of` is before the max event time.
            ShopstreamError: another version wrote the store.
        """
        day, bundle = self._stored.day, self._stored.bundle
        self._stored.bundle = "" if self.scoring is None else self.scoring.name
        new_bundle = self._stored.bundle != bundle
        done = np.zeros(self._stored.cells, np.bool_)
        if batches:
            touched = {self._cell_of(key) for batch in batches.values() for key in set(batch.keys) if key}
            yield from self._apply(sorted(touched), batches, new_bundle=new_bundle)
            done[list(touched)] = True
        now = self.max_event_time
        final = as_of is not None
        if as_of is not None:
            check_final(as_of, now)
        if now:
            self._stored.day = day_of(now)
            if final or new_bundle or self._stored.day != day:
                pending = self._present if final else self._present & ~done
                yield from self._write_all(
                    np.flatnonzero(pending).tolist(), now if as_of is None else as_of, everybody=True
                )
            else:
                pending = [cell for cell, at in self._due.items() if at <= now and not done[cell]]
                yield from self._write_all(sorted(pending), now, everybody=False)
        self._store_bucket()

    # --- the passes ---

    def _apply(self, cells: list[int], batches: Mapping[str, Batch], *, new_bundle: bool) -> Iterator[Write]:
        partition, before = self._join_cells(cells)
        for topic in ("customers", "events", "orders"):
            if topic in batches:
                partition.receive(batches[topic])
        self._load_ids(partition)
        for topic in SOURCE_TOPICS:
            partition.reached_end(topic)
        partition.advance()
        self.counts.add(partition.counts)
        for dead_letter in partition.rejected:
            name = topic_name(self.run, dead_letter.topic)
            yield Write(
                "letter", name, "", dead_letter.value, None, dead_letter.key, dead_letter.offset, dead_letter.error
            )
        self._stored.high_events, self._stored.high_orders = partition.state.high_events, partition.state.high_orders
        self._stored.customers += partition.state.customer_count - sum(len(cell.bands) for cell in before.values())
        if self.max_event_time:
            partition.advance_clock(day_of(self.max_event_time), self.max_event_time)
        if new_bundle:
            partition.mark_all()
        yield from self._emit(partition, self.max_event_time)
        self._store_ids(partition)
        self._store_cells(partition, before)

    def _write_all(self, cells: Sequence[int], as_of: int, *, everybody: bool) -> Iterator[Write]:
        """Write carts that became abandoned; if `everybody`, also rewrite every customer's row."""
        for group in self._groups(cells):
            partition, before = self._join_cells(group)
            partition.advance_clock(day_of(as_of), as_of)
            if everybody:
                partition.mark_all()
            yield from self._emit(partition, as_of)
            self._store_cells(partition, before)

    def _groups(self, cells: Sequence[int]) -> Iterator[list[int]]:
        """Yield the cells in groups of about CUSTOMER_BATCH_SIZE customers."""
        each = max(1, self._stored.customers // max(1, int(self._present.sum())))
        step = max(1, CUSTOMER_BATCH_SIZE // each)
        for start in range(0, len(cells), step):
            yield list(cells[start : start + step])

    # --- writes ---

    def _emit(self, partition: PartitionState, as_of: int) -> Iterator[Write]:
        if not as_of:
            return
        dirty = partition.customers_dirty[ROWS]
        while len(dirty):
            batch_id, codes = dirty.take_batch(ROWS_MAX)
            rows = customer_rows(partition, codes, as_of, self.scoring)
            yield from _document_writes(customer_docs(partition, rows, self.run))
            yield from _line_writes("row", rows)
            dirty.acknowledge(batch_id)
        yield from self._alerts(partition)
        orders = partition.orders_dirty
        while len(orders):
            batch_id, numbers = orders.take_batch(ROWS_MAX)
            yield from _document_writes(order_docs(partition, numbers, self.run))
            for row in orders.acknowledge(batch_id).tolist():
                partition.order_records.pop(row, None)
        sessions = partition.sessions_dirty
        while len(sessions):
            batch_id, numbers = sessions.take_batch(ROWS_MAX)
            yield from _document_writes(session_docs(partition, numbers, as_of, self.run))
            sessions.acknowledge(batch_id)
        self._stored.epoch, self._stored.counter = partition.epoch, partition.counter

    def _alerts(self, partition: PartitionState) -> Iterator[Write]:
        # this batch also stores the risk band they follow from, so they need not wait for a commit
        pending = partition.alerts
        pending.committed(pending.stored())
        alerts = list(pending.take_batch(len(pending), 1).values())
        yield from _document_writes(alert_docs(alerts, self.run))
        yield from _line_writes("alert", alert_rows(alerts))

    # --- cells ---

    def _cell_of(self, key: bytes) -> int:
        return zlib.crc32(key) % self._stored.cells

    def _join_cells(self, cells: Sequence[int]) -> tuple[PartitionState, dict[int, Cell]]:
        """Return the cells' customers as a partition, and the cells before the batch."""
        joined = {
            cell: msgspec.msgpack.decode(self.store.cell(cell), type=Cell) if self._present[cell] else Cell()
            for cell in cells
        }
        stored = self._stored
        state = join([cell.rows for cell in joined.values()], self._words, stored.high_events, stored.high_orders)
        partition = PartitionState(
            self.number,
            contact=self.contact,
            state=state,
            epoch=stored.epoch,
            counter=stored.counter,
            bundle=stored.bundle,
        )
        partition.bands = np.frombuffer(b"".join(cell.bands for cell in joined.values()), np.int8).copy()
        for cell in joined.values():
            partition.profiles |= cell.profiles
        partition.customers_dirty[ROWS] = DirtyRows()
        if not self.contact:
            strip_contact(partition)
        partition.buffers["events"].max_event_time = stored.high_events
        partition.buffers["orders"].max_event_time = stored.high_orders
        return partition, joined

    def _store_cells(self, partition: PartitionState, before: Mapping[int, Cell]) -> None:
        """Store the cells that changed."""
        state = partition.state
        state.force_scan()
        partition.expire()
        partition.reserve_bands()
        self._words = state.words
        cells = list(before)
        index_of = {cell: i for i, cell in enumerate(cells)}
        ids = state.customer_ids.array().to_pylist()
        group = np.array([index_of[self._cell_of(name.encode())] for name in ids], np.int32)
        order = np.argsort(group, kind="stable")
        bands = np.concatenate([partition.bands, np.full(len(ids), UNKNOWN, np.int8)])[order]
        ends = np.searchsorted(group[order], np.arange(len(cells) + 1))
        profiles: list[dict[str, bytes]] = [{} for _ in cells]
        for customer_id, body in partition.profiles.items():
            profiles[index_of[self._cell_of(customer_id.encode())]][customer_id] = body
        slices = split(state, group, len(cells))
        for i, cell in enumerate(cells):
            now = Cell(slices[i], bands[ends[i] : ends[i + 1]].tobytes(), profiles[i])
            if now != before[cell]:
                self.store.put_cell(cell, msgspec.msgpack.encode(now))
                self._present[cell] = True
        self._store_carts(partition, cells, group)

    def _store_carts(self, partition: PartitionState, cells: Sequence[int], group: Int32) -> None:
        state = partition.state
        for cell in cells:
            self._due.pop(cell, None)
        sessions = take(state.sessions, state.open_carts[: state.open_count])
        due = read_int48(sessions, "last") + ABANDONED_AFTER_MS
        for i, at in zip(group[sessions["customer"]].tolist(), due.tolist(), strict=True):
            self._due[cells[i]] = min(self._due.get(cells[i], at), at)

    # --- event ids ---

    def _load_ids(self, partition: PartitionState) -> None:
        """Load every remembered event id into the state, if there are events: a repetition may have any hour."""
        if partition.buffers["events"].chunks:
            for hour in self._stored.hours:
                partition.state.remember(np.frombuffer(self.store.ids(hour), EVENT_ID))

    def _store_ids(self, partition: PartitionState) -> None:
        new = partition.state.take_new_ids()
        hour_now = self._stored.high_events // HOUR_MS
        stored_hours = set(self._stored.hours)
        hours = np.asarray(new["high"] & np.uint64(_HOURS - 1), np.int64)
        order = np.argsort(hours, kind="stable")
        new_hours, starts = np.unique(hours[order], return_index=True)
        for hour, ids in zip(new_hours.tolist(), np.split(new[order], starts[1:]), strict=False):
            if self._is_retained(hour, hour_now):
                before = self.store.ids(hour) if hour in stored_hours else b""
                self.store.put_ids(hour, before + ids.tobytes())
                stored_hours.add(hour)
        for hour in list(stored_hours):
            if not self._is_retained(hour, hour_now):
                self.store.drop_ids(hour)
                stored_hours.discard(hour)
        self._stored.hours = sorted(stored_hours)

    @staticmethod
    def _is_retained(hour: int, hour_now: int) -> bool:
        return (hour_now - hour) % _HOURS <= EVENT_LATENESS_MS // HOUR_MS

    def _store_bucket(self) -> None:
        stored = self._stored
        arrays = self._words.arrays()
        stored.word_lengths = np.diff(arrays["offsets"]).astype(np.uint32).tobytes()
        stored.words = arrays["data"].tobytes()
        stored.present = np.packbits(self._present).tobytes()
        stored.due = np.array(sorted(self._due.items()), np.int64).tobytes()
        self.store.put_bucket(msgspec.msgpack.encode(stored))


def _document_writes(docs: Iterable[Doc]) -> Iterable[Write]:
    return (Write("document", doc.index, doc.id, doc.body, doc.version) for doc in docs)


def _line_writes(kind: str, rows: CustomerRows) -> Iterable[Write]:
    version = rows.version or None
    for customer_id, line in zip(rows.customer_ids, rows.lines, strict=True):
        yield Write(kind, "", customer_id, line, version)

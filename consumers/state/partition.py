"""Reads a partition's topics in step, applies them to the state and tracks the rows pending for each sink.

Independent of clients: batches of messages go in; dead letters, positions and dirty rows come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.elasticsearch.documents import Handover
from connectors.kafka.source import Batch
from connectors.kafka.topic_buffer import LINE_BYTES, Chunk, RejectedRecord, TopicBuffer, sorted_rejected
from consumers.state.alert_outbox import AlertOutbox
from consumers.state.dirty_rows import DirtyRows
from features.placement import Placement
from features.records.columns import EventColumns, Int64, OrderColumns, between, joined, where
from features.records.decode import decode, decode_events, order_columns
from features.records.lateness import split_late
from features.schema import (
    ABANDONED_AFTER_MS,
    CONTACT_FIELDS,
    EVENT_LATENESS_MS,
    ORDER_LATENESS_MS,
    SOURCE_TOPICS,
    Customer,
    Order,
)
from features.scores.alerts import UNKNOWN, Bands
from features.state.state import State, Touched, day_of

TIMED_TOPICS: Final = ("events", "orders")
TOO_LATE: Final = "too late: {ts} is more than {hours} hours before the highest time of this partition"


@dataclass(slots=True)
class Counts:
    """Counts of a partition's messages since this worker has owned it."""

    consumed: int = 0
    valid: int = 0
    rejected: int = 0
    late: int = 0
    duplicates: int = 0
    applied: int = 0

    def add(self, other: Counts) -> None:
        """Add other counts to these."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(slots=True)
class PartitionState:
    """State of one partition and everything that goes into its checkpoint.

    Attributes:
        number: number of the partition.
        contact: whether to keep name and e-mail of profiles.
        epoch: epoch of this owner; `counter` numbers its emissions.
        profiles: customer_id -> the profile's JSON object without its braces.
        order_records: row -> winning record of orders whose documents are unwritten.
        placement: where keys belong: a record of a key of another partition is rejected. None: any key is right.
    """

    number: int
    contact: bool = False
    placement: Placement | None = None
    state: State = field(default_factory=State)
    epoch: int = 0
    counter: int = 0
    profiles: dict[str, bytes] = field(default_factory=dict)
    order_records: dict[int, Order] = field(default_factory=dict)
    buffers: dict[str, TopicBuffer] = field(default_factory=lambda: {topic: TopicBuffer() for topic in SOURCE_TOPICS})
    customers_dirty: dict[str, DirtyRows] = field(default_factory=dict)
    """One set for each sink of customers' rows."""
    sessions_dirty: DirtyRows = field(default_factory=DirtyRows)
    orders_dirty: DirtyRows = field(default_factory=DirtyRows)
    orders_handover: Handover | None = None
    """Documents of orders that a sink has accepted in part."""
    rejected: list[RejectedRecord] = field(default_factory=list)
    """Dead letters of applied messages, to be sent before the next commit."""
    counts: Counts = field(default_factory=Counts)
    profiles_read: bool = False
    oldest_append_ms: int = 0
    """Append time of the oldest change without a row taken, epoch ms; 0 if there is none."""
    last_as_of: int = 0
    """Wall clock of the last rows written, epoch ms; 0 while rows follow the max event time."""
    bundle: str = ""
    """Name of the bundle that scores customers' rows; every customer is marked when it changes."""
    index_ids: dict[str, str] = field(default_factory=dict)
    """Concrete index -> identity of the index that acknowledged this partition's documents; empty: it was missing."""
    bands: Bands = field(default_factory=lambda: np.zeros(0, np.int8))
    """Risk band of each customer; may be shorter than the number of customers."""
    alerts: AlertOutbox = field(default_factory=AlertOutbox)
    changed: bool = False
    """Whether anything was applied or acknowledged since the last checkpoint."""

    # --- reading ---

    def receive(self, batch: Batch) -> int:
        """Decode and buffer a batch; return its approximate size in memory, bytes."""
        buffer = self.buffers[batch.partition.topic]
        buffer.at_end = False
        self.counts.consumed += len(batch.values)
        if batch.partition.topic == "customers":
            return self._receive_profiles(buffer, batch)
        chunk = (
            self._event_chunk(buffer, batch) if batch.partition.topic == "events" else self._order_chunk(buffer, batch)
        )
        buffer.put(chunk)
        return chunk.held_bytes

    def reached_end(self, topic: str) -> None:
        """Record that every record of the topic was received."""
        self.buffers[topic].at_end = True
        if topic == "customers":
            self.profiles_read = True

    def advance(self) -> int:
        """Apply what the topics' times allow; return the number of records applied.

        The topic with the lower max event time so far is read next, unless it is at its end. All records readable
        before the first topic runs dry are applied together: within these the order changes nothing.
        """
        applied = 0
        while True:
            # a topic that is dry but not at its end holds the others back at its max event time
            bounds = [
                buffer.max_event_time for buffer in (self.buffers[topic] for topic in TIMED_TOPICS) if not buffer.at_end
            ]
            horizon = min(bounds, default=None)
            slices = [self._apply_up_to(topic, horizon) for topic in TIMED_TOPICS]
            if not any(slices):
                return applied
            applied += sum(slices)

    @property
    def dry(self) -> bool:
        """Whether everything received is applied."""
        return not any(buffer.chunks for buffer in self.buffers.values())

    # --- applying ---

    def _apply_up_to(self, topic: str, horizon: int | None) -> int:
        """Apply the records that may be read while the topic's max event time is at most `horizon`."""
        buffer = self.buffers[topic]
        parts: list[EventColumns | OrderColumns] = []
        reached = self.max_event_time(topic)
        while buffer.chunks and (horizon is None or reached <= horizon):
            chunk = buffer.chunks[0]
            waiting = chunk.waiting
            start, stop = chunk.used, len(chunk.max_event_times)
            if horizon is not None:
                # one record more than those within: it was chosen while the max event time was still within
                stop = min(stop, int(np.searchsorted(chunk.max_event_times, horizon, side="right")) + 1)
            if stop > start:
                parts.append(between(chunk.columns, start, stop))
                reached = int(chunk.max_event_times[stop - 1])
                buffer.position = int(chunk.next_offsets[stop - 1])
                self.oldest_append_ms = min(self.oldest_append_ms or chunk.oldest_append_ms, chunk.oldest_append_ms)
            chunk.used = stop
            if stop == len(chunk.max_event_times):
                buffer.position = chunk.end_offset
                buffer.pop()
                self.changed = True
            # a checkpoint may be made here: a later owner resumes at the position and does not see the messages before
            # it
            self.rejected += [record for record in chunk.rejected if record.offset < buffer.position]
            chunk.rejected = [record for record in chunk.rejected if record.offset >= buffer.position]
            buffer.waiting -= waiting - chunk.waiting
        return self._apply(joined(parts)) if parts else 0

    def max_event_time(self, topic: str) -> int:
        """Return the max event time of the topic that was applied; 0 if there is none."""
        return self.state.high_events if topic == "events" else self.state.high_orders

    def _apply(self, columns: EventColumns | OrderColumns) -> int:
        day = day_of(self.state.max_event_time)
        if isinstance(columns, EventColumns):
            touched = self.state.apply_events(columns)
            self.counts.duplicates += len(columns) - touched.applied
        else:
            touched = self.state.apply_orders(columns)
            self._store_orders(columns, touched)
        self.counts.applied += touched.applied
        self.changed = True
        for dirty in self.customers_dirty.values():
            dirty.add(touched.customers)
        self.sessions_dirty.add(touched.sessions)
        self.orders_dirty.add(touched.orders)
        self.advance_clock(day)
        return len(columns)

    def advance_clock(self, day_before: int, as_of: int | None = None) -> None:
        """Advance the clock from a day on: abandoned carts, and every customer again when a UTC day begins."""
        now = self.state.max_event_time if as_of is None else as_of
        self.sessions_dirty.add(self.state.abandoned(now, ABANDONED_AFTER_MS))
        if day_of(now) != day_before:
            self.mark_all()
            self.expire()

    def mark_all(self) -> None:
        """Mark every customer for writing again, after those that changed."""
        everyone = np.arange(self.state.customer_count, dtype=np.int32)
        for dirty in self.customers_dirty.values():
            dirty.add(everyone, low_priority=True)

    def follow_bundle(self, name: str, *, replaced: bool = False) -> None:
        """Mark every customer for scoring when the bundle is a new one, or was replaced under its name (`replaced`)."""
        if name != self.bundle or replaced:
            self.bundle = name
            self.changed = True
            self.mark_all()

    def reserve_bands(self) -> None:
        """Make room for the band of every customer."""
        missing = self.state.customer_count - len(self.bands)
        if missing > 0:
            room = max(missing, len(self.bands) // 2)
            self.bands = np.concatenate([self.bands, np.full(room, UNKNOWN, np.int8)])

    def expire(self) -> None:
        """Drop the state's expired rows and follow its renumbering."""
        if not self.state.may_expire():
            return
        moved = self.state.expire(self.sessions_dirty.unwritten(), self.orders_dirty.unwritten())
        self.sessions_dirty.renumber(moved.sessions)
        self.orders_dirty.renumber(moved.orders)
        if moved.orders is not None:
            self.order_records = {int(moved.orders[row]): record for row, record in self.order_records.items()}

    def _store_orders(self, part: OrderColumns, touched: Touched) -> None:
        records = part.records or []
        for i in np.flatnonzero(touched.won >= 0).tolist():
            self.order_records[int(touched.won[i])] = records[i]

    # --- decoding ---

    def _event_chunk(self, buffer: TopicBuffer, batch: Batch) -> Chunk:
        decoded = decode_events(batch.values, batch.keys, batch.append_ms)
        columns, positions = decoded.columns, decoded.positions
        rejected = [_rejected_record(batch, r.position, r.reason) for r in decoded.rejected]
        misplaced = _misplaced(self, columns.customer_id)
        if misplaced is not None:
            rejected += _misplaced_records(self, batch, positions[misplaced])
            columns, positions = where(columns, ~misplaced), positions[~misplaced]
        invalid_count = len(rejected)
        late, max_event_time = split_late(columns.ts, buffer.max_event_time, EVENT_LATENESS_MS)
        if late.any():
            rejected += _late_records(batch, positions[late], columns.ts[late], EVENT_LATENESS_MS)
            columns, positions = where(columns, ~late), positions[~late]
        held_bytes = columns.held_bytes + sum(record.held_bytes for record in rejected)
        return self._chunk(
            buffer,
            batch,
            columns,
            columns.ts,
            positions,
            max_event_time,
            rejected,
            invalid_count,
            held_bytes=held_bytes,
        )

    def _order_chunk(self, buffer: TopicBuffer, batch: Batch) -> Chunk:
        decoded = decode("orders", batch.values, batch.keys, batch.append_ms)
        rejected = [_rejected_record(batch, r.position, r.reason) for r in decoded.rejected]
        positions, records = decoded.positions, decoded.records
        misplaced = _misplaced(self, pa.array([record.customer_id for record in records], pa.string()))
        if misplaced is not None:
            rejected += _misplaced_records(self, batch, positions[misplaced])
            records, positions = _unmarked(records, misplaced), positions[~misplaced]
        invalid_count = len(rejected)
        ts = np.array([record.ts for record in records], np.int64)
        updated = np.array([record.updated_ts for record in records], np.int64)
        late, max_event_time = split_late(ts, buffer.max_event_time, ORDER_LATENESS_MS, clock=updated)
        if late.any():
            rejected += _late_records(batch, positions[late], ts[late], ORDER_LATENESS_MS)
            records, positions = _unmarked(records, late), positions[~late]
        columns = order_columns(records, keep_records=True)
        held_bytes = sum(map(len, filter(None, batch.values))) + LINE_BYTES * int(columns.lines.sum())
        return self._chunk(
            buffer,
            batch,
            columns,
            columns.updated_ts,
            positions,
            max_event_time,
            rejected,
            invalid_count,
            held_bytes=held_bytes,
        )

    def _chunk(
        self,
        buffer: TopicBuffer,
        batch: Batch,
        columns: EventColumns | OrderColumns,
        clock: Int64,
        positions: Int64,
        max_event_time: int,
        rejected: list[RejectedRecord],
        invalid_count: int,
        *,
        held_bytes: int,
    ) -> Chunk:
        highest = np.maximum(np.maximum.accumulate(clock), buffer.max_event_time) if len(clock) else clock
        buffer.max_event_time = max_event_time
        self.counts.rejected += invalid_count
        self.counts.late += len(rejected) - invalid_count
        self.counts.valid += len(positions)
        offsets = _offset_array(batch.offsets)
        return Chunk(
            columns,
            highest,
            offsets[positions] + 1,
            batch.next_offset,
            int(np.min(batch.append_ms)),
            sorted_rejected(rejected),
            held_bytes,
        )

    def _receive_profiles(self, buffer: TopicBuffer, batch: Batch) -> int:
        decoded = decode("customers", batch.values, batch.keys, batch.append_ms)
        records = decoded.records
        rejected = [_rejected_record(batch, r.position, r.reason) for r in decoded.rejected]
        misplaced = _misplaced(self, pa.array([record.customer_id for record in records], pa.string()))
        if misplaced is not None:
            # `forget` writes a tombstone into the partition of the record that it removes
            misplaced &= np.array([isinstance(record, Customer) for record in records], np.bool_)
            rejected += _misplaced_records(self, batch, decoded.positions[misplaced])
            rejected, records = sorted_rejected(rejected), _unmarked(records, misplaced)
        self.counts.rejected += len(rejected)
        self.counts.valid += len(records)
        self.counts.applied += len(records)
        self.rejected += rejected
        touched: list[str] = []
        for record in records:
            if isinstance(record, Customer):
                self.profiles[record.customer_id] = profile_body(record, contact=self.contact)
            else:
                self.profiles.pop(record.customer_id, None)
            touched.append(record.customer_id)
        codes = self.state.known_codes(touched)
        for dirty in self.customers_dirty.values():
            dirty.add(codes)
        buffer.position = batch.next_offset
        self.changed = True
        return sum(record.held_bytes for record in rejected)


def _misplaced(partition: PartitionState, customer_ids: pa.StringArray) -> npt.NDArray[np.bool_] | None:
    """Return which customers belong in another partition; None if there are none."""
    if partition.placement is None:
        return None
    misplaced = partition.placement.misplaced(customer_ids, partition.number)
    return misplaced if misplaced.any() else None


def _misplaced_records(partition: PartitionState, batch: Batch, positions: Int64) -> Iterable[RejectedRecord]:
    assert partition.placement is not None
    for position in positions.tolist():
        key = batch.keys[position]
        assert key is not None, "a valid record has a key"
        yield _rejected_record(batch, position, partition.placement.fault(key.decode(), partition.number))


def _rejected_record(batch: Batch, position: int, error: str) -> RejectedRecord:
    return RejectedRecord(
        batch.partition.topic, batch.offsets[position], batch.keys[position], batch.values[position], error
    )


def _late_records(batch: Batch, positions: Int64, ts: Int64, allowance_ms: int) -> Iterable[RejectedRecord]:
    hours = allowance_ms // 3_600_000
    for position, at in zip(positions.tolist(), ts.tolist(), strict=True):
        yield _rejected_record(batch, position, TOO_LATE.format(ts=at, hours=hours))


R = TypeVar("R")


def _unmarked(records: Sequence[R], marked: npt.NDArray[np.bool_]) -> list[R]:
    return [record for record, is_marked in zip(records, marked.tolist(), strict=True) if not is_marked]


def _offset_array(offsets: Sequence[int]) -> Int64:
    if isinstance(offsets, range):
        return np.arange(offsets.start, offsets.stop, dtype=np.int64)
    return np.array(offsets, np.int64)


def profile_body(record: Customer, *, contact: bool) -> bytes:
    """Return the fields of a profile as a JSON object without braces; customer_id and nulls are left out."""
    left_out = {"customer_id", *(() if contact else CONTACT_FIELDS)}
    present = {
        name: value
        for name, value in msgspec.structs.asdict(record).items()
        if value is not None and name not in left_out
    }
    return msgspec.json.encode(present)[1:-1]

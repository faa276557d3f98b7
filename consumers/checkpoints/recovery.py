"""Restores a partition from committed metadata and stored files, and takes snapshots of it.

The commit order, and what is repeated after a crash during each step:

1. The records are applied in memory. After a crash they are read again from the checkpoint's offsets.
2. Their dead letters are flushed. After a crash the topic holds the same dead letters (topic, partition, offset) twice.
3. The checkpoint's files are written under new names. After a crash no commit ever names them, and they are pruned.
4. Name, epoch and offsets are committed in one request. The coordinator refuses a former owner here. After a crash the
   new owner resumes from exactly this state.
5. Files that neither this checkpoint nor the previous one needs are deleted. After a crash a later prune deletes them.

Documents are written at any time. The new owner rewrites those written after the checkpoint and before a crash. Its
versions are higher because its epoch is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import structlog

from consumers.checkpoints.store import (
    Block,
    Checkpoint,
    CheckpointStore,
    DamagedError,
    Manifest,
    PartitionOwner,
    age_of,
    epoch_of,
)
from consumers.state.alert_outbox import AlertOutbox
from consumers.state.dirty_rows import DirtyRows
from consumers.state.partition import PartitionState
from features.errors import ShopstreamError
from features.schema import CONTACT_FIELDS, SCHEMA_VERSION, SOURCE_TOPICS, Order
from features.state.state import State
from features.state.tables import Int32

log = structlog.get_logger("recovery")

DIRTY: Final = "dirty."
"""Prefix of the arrays that hold dirty rows."""
BANDS: Final = "bands"
_CONTACT_NAMES: Final = tuple(f'"{name}":'.encode() for name in CONTACT_FIELDS)


class CommittedCheckpoint(msgspec.Struct, frozen=True):
    """Metadata of a partition's committed offsets."""

    epoch: int
    checkpoint: str = ""


def encode_committed(committed: CommittedCheckpoint) -> str:
    """Encode a committed checkpoint as commit metadata."""
    return msgspec.json.encode(committed).decode()


def decode_committed(metadata: list[str]) -> CommittedCheckpoint | None:
    """Return the committed checkpoint of the highest epoch; None if no metadata names a checkpoint."""
    decoded = []
    for text in filter(None, metadata):
        try:
            decoded.append(msgspec.json.decode(text, type=CommittedCheckpoint))
        except msgspec.DecodeError:
            log.warning("committed metadata names no checkpoint", metadata=text[:200])
    return max(decoded, key=lambda one: one.epoch, default=None)


def snapshot(
    partition: PartitionState,
    run: str,
    partitions: int,
    blocks: list[Block],
    topic_ids: Mapping[str, str] | None = None,
) -> Checkpoint:
    """Return a copy of the partition that later records do not change."""
    arrays = {name: array.copy() for name, array in partition.state.arrays().items()}
    for name, dirty in partition.customers_dirty.items():
        arrays[f"{DIRTY}customers.{name}"] = dirty.unwritten()
    arrays[f"{DIRTY}sessions"] = partition.sessions_dirty.unwritten()
    arrays[f"{DIRTY}orders"] = unwritten = partition.orders_dirty.unwritten()
    arrays[BANDS] = partition.bands.copy()
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        run=run,
        partition=partition.number,
        partitions=partitions,
        epoch=partition.epoch,
        counter=partition.counter,
        offsets={topic: buffer.position for topic, buffer in partition.buffers.items()},
        profiles_read=partition.profiles_read,
        contact=partition.contact,
        profiles=dict(partition.profiles),
        orders=[(row, msgspec.json.encode(partition.order_records[row])) for row in unwritten.tolist()],
        blocks=blocks,
        bundle=partition.bundle,
        alerts=partition.alerts.stored(),
        topic_ids=dict(topic_ids or {}),
        index_ids=dict(partition.index_ids),
    )
    return Checkpoint(manifest, arrays, partition.state.take_new_ids())


def restore(checkpoint: Checkpoint, sinks: list[str]) -> PartitionState:
    """Restore a snapshot; a sink that the checkpoint does not know receives every customer."""
    manifest, arrays = checkpoint.manifest, checkpoint.arrays
    state = State.restore(arrays)
    state.remember(checkpoint.new_ids)
    partition = empty(manifest.partition, sinks, contact=manifest.contact)
    partition.state = state
    partition.epoch, partition.counter = manifest.epoch, manifest.counter
    partition.profiles = dict(manifest.profiles)
    partition.profiles_read = manifest.profiles_read
    partition.order_records = {row: msgspec.json.decode(body, type=Order) for row, body in manifest.orders}
    for topic, buffer in partition.buffers.items():
        buffer.position = manifest.offsets[topic]
    partition.buffers["events"].max_event_time = state.high_events
    partition.buffers["orders"].max_event_time = state.high_orders
    everyone: Int32 = np.arange(state.customer_count, dtype=np.int32)
    for name, dirty in partition.customers_dirty.items():
        dirty.add(arrays.get(f"{DIRTY}customers.{name}", everyone))
    partition.sessions_dirty.add(arrays[f"{DIRTY}sessions"])
    partition.orders_dirty.add(arrays[f"{DIRTY}orders"])
    partition.bundle = manifest.bundle
    partition.index_ids = dict(manifest.index_ids)
    partition.bands = arrays.get(BANDS, partition.bands).copy()
    partition.alerts = AlertOutbox(manifest.alerts)
    return partition


def strip_contact(partition: PartitionState) -> int:
    """Remove names and addresses from the profiles; mark the customers for every sink; return their number."""
    stripped = {
        customer_id: body
        for customer_id, body in partition.profiles.items()
        if any(name in body for name in _CONTACT_NAMES)
    }
    for customer_id, body in stripped.items():
        fields = msgspec.json.decode(b"{" + body + b"}")
        partition.profiles[customer_id] = msgspec.json.encode(
            {name: value for name, value in fields.items() if name not in CONTACT_FIELDS}
        )[1:-1]
    if stripped:
        codes = partition.state.known_codes(list(stripped))
        for dirty in partition.customers_dirty.values():
            dirty.add(codes)
        partition.changed = True
    return len(stripped)


def empty(number: int, sinks: list[str], *, contact: bool) -> PartitionState:
    """Return a partition without any records."""
    return PartitionState(number, contact=contact, customers_dirty={name: DirtyRows() for name in sinks})


def recover(
    store: CheckpointStore,
    number: int,
    committed: CommittedCheckpoint | None,
    starts: Mapping[str, int],
    sinks: list[str],
    *,
    partitions: int,
    contact: bool,
    topic_ids: Mapping[str, str] | None = None,
    owner: PartitionOwner | None = None,
) -> tuple[PartitionState, list[Block], str]:
    """Return the partition to resume, the blocks it needs, and the name of its checkpoint (empty: none).

    Args:
        store: checkpoint store of the run.
        number: number of the partition.
        committed: committed checkpoint of the group; None if there is none (or it expired).
        starts: topic -> the committed offset, or the log's first offset without one.
        sinks: names of the sinks of customers' rows.
        partitions: current number of partitions of each topic.
        contact: whether profiles keep name and e-mail.
        topic_ids: topic -> the topic's current id in the cluster.
        owner: last owner in the state folder; used if nothing is committed.

    Raises:
        ShopstreamError: the checkpoint does not fit this program or topic, or no checkpoint is readable.
    """
    if number >= partitions:
        # a running worker is assigned partitions that were added after its start
        raise _moved(f"The topics have more than the {partitions} partitions of the state")
    names = store.names(number)
    if committed is None:
        required, candidates = _without_offsets(owner, names)
    else:
        required = [committed.checkpoint] if committed.checkpoint else []
        candidates = [*required, *(name for name in names if name not in required)]
    for name in candidates:
        try:
            checkpoint = store.read(number, name)
        except DamagedError as error:
            log.warning("checkpoint damaged; falling back to the previous one", error=str(error))
            continue
        if checkpoint.manifest.partitions != partitions:
            count = checkpoint.manifest.partitions
            raise _moved(f"The topics have {partitions} partitions, but the state has {count}")
        _check_same_topics(checkpoint.manifest.topic_ids, topic_ids or {}, number)
        if committed and name not in required and _is_beyond(checkpoint, starts):
            # the owners since then have read these records again and replaced newer rows by older ones, which this file
            # takes for written
            log.warning("skipping a checkpoint that was never committed", partition=number, checkpoint=name)
            continue
        if required and age_of(name) < age_of(required[0]):
            log.warning("resuming from an older checkpoint", partition=number, checkpoint=name)
        partition = restore(checkpoint, sinks)
        if contact and not partition.contact:
            log.warning("the state holds no names and addresses; they are added as profiles are read")
        partition.contact = contact
        if not contact and (stripped := strip_contact(partition)):
            log.warning("removing names and addresses from the state and the index", profiles=stripped)
        return partition, checkpoint.manifest.blocks, name
    if required:
        raise ShopstreamError(
            f"No checkpoint of partition {number} can be read, although one was written.",
            "Replay the history into a new run (`--run NAME`), or restore the state folder.",
        )
    partition = empty(number, sinks, contact=contact)
    for topic in SOURCE_TOPICS:
        partition.buffers[topic].position = starts[topic]
    return partition, [], ""


def _without_offsets(owner: PartitionOwner | None, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the required checkpoint and all usable ones, best first, if no offsets are committed.

    Checkpoints of the last owner are usable, committed or not: no later owner has written rows. From earlier owners,
    only the last owner's starting checkpoint and older ones are usable. A newer one takes rows for written that the
    last owner has replaced by older ones.
    """
    if owner is None:
        return [], list(names)
    own = [name for name in names if epoch_of(name) >= owner.epoch]
    if not owner.checkpoint:
        return [], own
    # a checkpoint of the same age was written before any further output, so it takes no other rows for written
    before = (n for n in names if n != owner.checkpoint and age_of(n) <= age_of(owner.checkpoint))
    return [owner.checkpoint], [*own, owner.checkpoint, *before]


def _moved(what: str) -> ShopstreamError:
    return ShopstreamError(
        f"{what}: customers have moved between partitions.",
        "Replay the history into a new run (`--run NAME`) and promote it.",
    )


def _check_same_topics(stored: Mapping[str, str], current: Mapping[str, str], number: int) -> None:
    """Compare topic ids: a topic that was created again may have grown beyond the offsets of the old one."""
    recreated = [topic for topic in stored.keys() & current.keys() if stored[topic] != current[topic]]
    if recreated:
        raise ShopstreamError(
            f"The topic of {' and of '.join(sorted(recreated))} was deleted and created again since the last "
            f"checkpoint of partition {number}: its offsets now identify other records.",
            "Read the topics into a new run (`--run NAME`).",
        )


def _is_beyond(checkpoint: Checkpoint, offsets: Mapping[str, int]) -> bool:
    return any(checkpoint.manifest.offsets[topic] > offset for topic, offset in offsets.items())

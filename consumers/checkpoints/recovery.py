"""From committed metadata and stored files to the partition a new owner goes on with; and back.

The commit order, and what is repeated if we die right there:

1. The records are applied in memory. Dying: they are read again from the checkpoint's offsets.
2. Their dead letters are flushed. Dying: the same letters (topic, partition, offset) stand there twice.
3. The checkpoint's files are written under new names. Dying: the files are never named by a commit and are pruned.
4. Name, epoch and offsets are committed in one request. The coordinator refuses a former owner here. Dying: the new
   owner goes on from exactly this state.
5. Files that neither this checkpoint nor the one before needs are deleted. Dying: a later prune deletes them.

Documents are written at any time. Those written after the checkpoint and before a crash are written again by the new
owner, whose versions are higher because its epoch is.
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
    """The metadata of a partition's committed offsets."""

    epoch: int
    checkpoint: str = ""


def encode_committed(said: CommittedCheckpoint) -> str:
    """As it is committed."""
    return msgspec.json.encode(said).decode()


def decode_committed(metadata: list[str]) -> CommittedCheckpoint | None:
    """The one of the highest epoch; None when nothing was committed, or by another program."""
    found = []
    for text in filter(None, metadata):
        try:
            found.append(msgspec.json.decode(text, type=CommittedCheckpoint))
        except msgspec.DecodeError:
            log.warning("committed metadata that is not ours", metadata=text[:200])
    return max(found, key=lambda said: said.epoch, default=None)


def snapshot(
    partition: PartitionState,
    run: str,
    partitions: int,
    blocks: list[Block],
    topic_ids: Mapping[str, str] | None = None,
) -> Checkpoint:
    """A copy of the partition that no later record changes."""
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
        offsets={topic: lane.position for topic, lane in partition.lanes.items()},
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
    """The inverse of `snapshot`; a sink that the checkpoint does not know is given every customer."""
    manifest, arrays = checkpoint.manifest, checkpoint.arrays
    state = State.restore(arrays)
    state.remember(checkpoint.new_ids)
    partition = empty(manifest.partition, sinks, contact=manifest.contact)
    partition.state = state
    partition.epoch, partition.counter = manifest.epoch, manifest.counter
    partition.profiles = dict(manifest.profiles)
    partition.profiles_read = manifest.profiles_read
    partition.order_records = {row: msgspec.json.decode(body, type=Order) for row, body in manifest.orders}
    for topic, lane in partition.lanes.items():
        lane.position = manifest.offsets[topic]
    partition.lanes["events"].high_read = state.high_events
    partition.lanes["orders"].high_read = state.high_orders
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
    """Takes names and addresses out of the profiles, and marks the customers for every sink; returns their number."""
    held = {
        customer_id: body
        for customer_id, body in partition.profiles.items()
        if any(name in body for name in _CONTACT_NAMES)
    }
    for customer_id, body in held.items():
        fields = msgspec.json.decode(b"{" + body + b"}")
        partition.profiles[customer_id] = msgspec.json.encode(
            {name: value for name, value in fields.items() if name not in CONTACT_FIELDS}
        )[1:-1]
    if held:
        codes = partition.state.known_codes(list(held))
        for dirty in partition.customers_dirty.values():
            dirty.add(codes)
        partition.changed = True
    return len(held)


def empty(number: int, sinks: list[str], *, contact: bool) -> PartitionState:
    """A partition of which nothing was read."""
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
    """The partition to go on with, the blocks it needs, and the name of its checkpoint (empty: none).

    Args:
        store: of the run.
        number: of the partition.
        committed: the group's word, None if it has none (or it expired).
        starts: topic -> the committed offset, or the first one where there is none.
        sinks: names of the sinks of customers' rows.
        partitions: of each topic now.
        contact: whether profiles keep name and e-mail.
        topic_ids: topic -> the id the cluster gives it now.
        owner: that the state folder names, where nothing is committed.

    Raises:
        ShopstreamError: the checkpoint does not fit this program or topic, or none can be read.
    """
    if number >= partitions:
        # a running worker hears of partitions that were added since it began
        raise _moved(f"The topics have more than the {partitions} partitions that the state is kept for")
    names = store.names(number)
    if committed is None:
        wanted, candidates = _without_offsets(owner, names)
    else:
        wanted = [committed.checkpoint] if committed.checkpoint else []
        candidates = [*wanted, *(name for name in names if name not in wanted)]
    for name in candidates:
        try:
            checkpoint = store.read(number, name)
        except DamagedError as error:
            log.warning("checkpoint damaged; falling back to the one before", said=str(error))
            continue
        if checkpoint.manifest.partitions != partitions:
            kept = checkpoint.manifest.partitions
            raise _moved(f"The topics have {partitions} partitions, but the state was kept for {kept}")
        _check_same_topics(checkpoint.manifest.topic_ids, topic_ids or {}, number)
        if committed and name not in wanted and _is_beyond(checkpoint, starts):
            # whoever owned the partition since has read these records again and written older rows over newer ones,
            # which this file takes for written
            log.warning("a checkpoint that was never committed is passed over", partition=number, checkpoint=name)
            continue
        if wanted and age_of(name) < age_of(wanted[0]):
            log.warning("going on from an older checkpoint", partition=number, checkpoint=name)
        partition = restore(checkpoint, sinks)
        if contact and not partition.contact:
            log.warning("profiles in the state hold no names and addresses; they come as profiles are read")
        partition.contact = contact
        if not contact and (stripped := strip_contact(partition)):
            log.warning("names and addresses are taken out of the state and the index", profiles=stripped)
        return partition, checkpoint.manifest.blocks, name
    if wanted:
        raise ShopstreamError(
            f"No checkpoint of partition {number} can be read, though there was one.",
            "Replay the history into a new run (`--run NAME`), or restore the state folder.",
        )
    partition = empty(number, sinks, contact=contact)
    for topic in SOURCE_TOPICS:
        partition.lanes[topic].position = starts[topic]
    return partition, [], ""


def _without_offsets(owner: PartitionOwner | None, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The checkpoint that must be there, and all that may be used, the best first, where no offsets are committed.

    Checkpoints of the last owner count, committed or not: no later owner has written rows. Of earlier owners only the
    one that the last owner went on from, and those before it: a newer one takes rows for written that the last owner
    has replaced by older ones.
    """
    if owner is None:
        return [], list(names)
    own = [name for name in names if epoch_of(name) >= owner.epoch]
    if not owner.checkpoint:
        return [], own
    # one of the same age was written before anything else was emitted, so it takes no other rows for written
    before = (n for n in names if n != owner.checkpoint and age_of(n) <= age_of(owner.checkpoint))
    return [owner.checkpoint], [*own, owner.checkpoint, *before]


def _moved(what: str) -> ShopstreamError:
    return ShopstreamError(
        f"{what}: customers have moved between partitions.",
        "Replay the history into a new run (`--run NAME`) and promote it.",
    )


def _check_same_topics(kept: Mapping[str, str], found: Mapping[str, str], number: int) -> None:
    """Offsets alone do not tell: a topic that was made anew may have grown beyond where the old one was left."""
    anew = [topic for topic in kept.keys() & found.keys() if kept[topic] != found[topic]]
    if anew:
        raise ShopstreamError(
            f"The topic of {' and of '.join(sorted(anew))} was deleted and made anew since the state of partition "
            f"{number} was kept: offsets mean other records now.",
            "Read what there is into a new run (`--run NAME`).",
        )


def _is_beyond(checkpoint: Checkpoint, offsets: Mapping[str, int]) -> bool:
    return any(checkpoint.manifest.offsets[topic] > offset for topic, offset in offsets.items())

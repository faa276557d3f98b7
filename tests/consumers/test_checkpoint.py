"""Checkpoints: what is read is what was written, or an error; the one before is there when the newest is damaged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.adversarial import adversarial
from stream.feeding import as_batch, as_events, message

import consumers.checkpoints.store
from consumers.checkpoints.inventory import stored_states
from consumers.checkpoints.recovery import (
    CommittedCheckpoint,
    decode_committed,
    empty,
    encode_committed,
    recover,
    restore,
    snapshot,
)
from consumers.checkpoints.store import BLOCKS_MAX, CheckpointStore, DamagedError
from consumers.state.partition import PartitionState
from features.errors import ShopstreamError
from features.schema import HOUR_MS, SCHEMA_VERSION, SOURCE_TOPICS
from features.state.state import State
from features.state.tables import EVENT_ID

SINKS = ["elastic", "topic"]
NO_HORIZON = 0


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path), "r")


def folder(tmp_path: Path) -> Path:
    return tmp_path / "r" / "partition=0"


def some_partition(seed: int = 0, records: int = 400) -> PartitionState:
    """A partition in the middle of its work: rows, sessions and orders unwritten, some of them in flight."""
    shop = adversarial(seed, customers=2)
    partition = empty(0, SINKS, contact=False)
    partition.epoch, partition.counter = 7, 3
    for topic, rows in (("events", shop.events), ("orders", shop.orders)):
        partition.receive(as_batch(topic, [message(row) for row in sorted(rows, key=lambda r: r["ts"])[:records]]))
    customers = {row["customer_id"] for row in (*shop.events, *shop.orders)}
    profiles = [message({"customer_id": c, "country": "DE", "premium": c > "m"}) for c in sorted(customers)]
    partition.receive(as_batch("customers", profiles))
    for topic in SOURCE_TOPICS:
        partition.reached_end(topic)
    partition.advance()
    partition.customers_dirty["topic"].take_batch(20)
    partition.sessions_dirty.acknowledge(partition.sessions_dirty.take_batch(15)[0])
    partition.orders_dirty.take_batch(10)
    return partition


def offsets_of(partition: PartitionState) -> dict[str, int]:
    return {topic: buffer.position for topic, buffer in partition.buffers.items()}


def assert_same(got: PartitionState, requested: PartitionState) -> None:
    for name, array in requested.state.arrays().items():
        assert np.array_equal(got.state.arrays()[name], array), name
    assert got.state.id_count == requested.state.id_count
    assert set(got.state.ids.tolist()) == set(requested.state.ids.tolist())
    assert offsets_of(got) == offsets_of(requested)
    assert (got.epoch, got.counter, got.contact) == (requested.epoch, requested.counter, requested.contact)
    assert (got.profiles, got.profiles_read) == (requested.profiles, requested.profiles_read)
    sets = [(got.sessions_dirty, requested.sessions_dirty), (got.orders_dirty, requested.orders_dirty)]
    sets += [(got.customers_dirty[name], requested.customers_dirty[name]) for name in SINKS]
    for own, theirs in sets:
        assert own.unwritten().tolist() == theirs.unwritten().tolist()
        assert own.in_flight == 0
    for row in requested.orders_dirty.unwritten().tolist():
        assert got.order_records[row] == requested.order_records[row]


@pytest.mark.parametrize("seed", range(3))
def test_checkpoint_reads_back_as_written(store, seed):
    partition = some_partition(seed)
    checkpoint = snapshot(partition, "r", 4, [])
    name, blocks, written = store.write(checkpoint, NO_HORIZON)
    read = store.read(0, name)
    assert read.manifest == msgspec.structs.replace(checkpoint.manifest, blocks=blocks)
    assert read.arrays.keys() == checkpoint.arrays.keys()
    for key, array in checkpoint.arrays.items():
        assert read.arrays[key].dtype == array.dtype
        assert read.arrays[key].tobytes() == array.tobytes(), key
    assert read.new_ids.tobytes() == checkpoint.new_ids.tobytes()
    assert_same(restore(read, SINKS), partition)
    assert written > sum(array.nbytes for array in checkpoint.arrays.values())


def test_empty_partition_has_a_valid_checkpoint(store):
    partition = empty(0, SINKS, contact=True)
    name, blocks, _ = store.write(snapshot(partition, "r", 4, []), NO_HORIZON)
    assert blocks == []
    assert_same(restore(store.read(0, name), SINKS), partition)


def test_a_snapshot_is_not_changed_by_later_records():
    partition = some_partition(records=100)
    checkpoint = snapshot(partition, "r", 4, [])
    before = {name: array.tobytes() for name, array in checkpoint.arrays.items()}
    shop = adversarial(1)
    partition.receive(as_batch("events", [message(row) for row in shop.events]))
    partition.reached_end("events")
    partition.advance()
    assert {name: array.tobytes() for name, array in checkpoint.arrays.items()} == before


def test_sink_that_is_new_to_the_checkpoint_gets_every_customer_marked():
    partition = some_partition()
    again = restore(snapshot(partition, "r", 4, []), [*SINKS, "new"])
    assert again.customers_dirty["new"].unwritten().tolist() == list(range(partition.state.customer_count))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_damage(tmp_path, data):
    store = CheckpointStore(str(tmp_path), "r")
    if not store.names(0):
        store.write(snapshot(some_partition(records=40), "r", 4, []), NO_HORIZON)
    (name,) = store.names(0)
    path = data.draw(st.sampled_from(sorted(folder(tmp_path).iterdir())))
    whole = path.read_bytes()
    # half of the flips among the first bytes, where every one has a meaning of its own
    at = data.draw(st.integers(0, min(len(whole), 600) - 1) | st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        with pytest.raises(DamagedError):
            store.read(0, name)
    finally:
        path.write_bytes(whole)
    store.read(0, name)


def test_flipped_bit_in_the_header_is_damage(tmp_path, store):
    name, _, _ = store.write(snapshot(empty(0, SINKS, contact=False), "r", 4, []), NO_HORIZON)
    path = folder(tmp_path) / name
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            store.read(0, name)


@pytest.mark.parametrize("kind", [".checkpoint", ".ids"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999, 1.001])
def test_a_cut_or_lengthened_file_is_damage(tmp_path, store, kind, keep):
    name, _, _ = store.write(snapshot(some_partition(), "r", 4, []), NO_HORIZON)
    (path,) = (path for path in folder(tmp_path).iterdir() if path.name.endswith(kind))
    whole = path.read_bytes()
    size = int(len(whole) * keep)
    path.write_bytes(whole[:size] + b"\0" * (size - len(whole)))
    with pytest.raises(DamagedError):
        store.read(0, name)


@pytest.mark.parametrize("kind", [".checkpoint", ".ids"])
def test_a_missing_file_is_damage(tmp_path, store, kind):
    name, _, _ = store.write(snapshot(some_partition(), "r", 4, []), NO_HORIZON)
    (path,) = (path for path in folder(tmp_path).iterdir() if path.name.endswith(kind))
    path.unlink()
    with pytest.raises(DamagedError, match="missing"):
        store.read(0, name)


def test_another_schema_version_is_refused_with_the_remedy(store, monkeypatch):
    name, _, _ = store.write(snapshot(some_partition(), "r", 4, []), NO_HORIZON)
    monkeypatch.setattr(consumers.checkpoints.store, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(ShopstreamError, match=r"schema version .*--run NAME") as error:
        store.read(0, name)
    assert not isinstance(error.value, DamagedError), "an older checkpoint would be of the old version too"


# --- which checkpoint is gone on from ---


def two_checkpoints(store):
    """The one before and the newest, and the offsets that were committed with each."""
    partition = some_partition(records=50)
    older, blocks, _ = store.write(snapshot(partition, "r", 4, []), NO_HORIZON)
    before = offsets_of(partition)
    shop = adversarial(1, customers=1)
    partition.receive(as_batch("events", [message(row) for row in shop.events], before["events"]))
    partition.reached_end("events")
    partition.advance()
    partition.counter += 1
    newer, _, _ = store.write(snapshot(partition, "r", 4, blocks), NO_HORIZON)
    return older, before, newer, offsets_of(partition)


def recovered(store, committed, offsets, partitions=4):
    partition, _, name = recover(store, 0, committed, offsets, SINKS, partitions=partitions, contact=False)
    return offsets_of(partition), name


def test_recovery_uses_the_committed_checkpoint(store):
    older, before, newer, after = two_checkpoints(store)
    assert recovered(store, CommittedCheckpoint(7, newer), after) == (after, newer)
    assert recovered(store, CommittedCheckpoint(7, older), before) == (before, older)


def test_recovery_from_a_damaged_checkpoint_uses_the_previous_one(tmp_path, store):
    older, before, newer, after = two_checkpoints(store)
    (folder(tmp_path) / newer).write_bytes(b"")
    assert recovered(store, CommittedCheckpoint(7, newer), after) == (before, older)


def test_recovery_without_a_readable_checkpoint_stops_with_the_remedy(tmp_path, store):
    *_, newer, after = two_checkpoints(store)
    for path in folder(tmp_path).iterdir():
        path.unlink()
    with pytest.raises(ShopstreamError, match="--run NAME"):
        recovered(store, CommittedCheckpoint(7, newer), after)


def test_recovery_ignores_a_later_uncommitted_checkpoint(tmp_path, store):
    """Its owner died between file and commit; the next one has written over what it holds for written."""
    older, before, newer, _ = two_checkpoints(store)
    (folder(tmp_path) / older).write_bytes(b"")
    with pytest.raises(ShopstreamError, match="No checkpoint"):
        recovered(store, CommittedCheckpoint(7, older), before)
    start = dict.fromkeys(SOURCE_TOPICS, 0)
    assert recovered(store, CommittedCheckpoint(7, ""), start) == (start, "")
    assert newer in store.names(0)


def test_recovery_without_a_commit_uses_the_newest_valid_file(tmp_path, store):
    older, before, newer, after = two_checkpoints(store)
    start = dict.fromkeys(SOURCE_TOPICS, 0)
    assert recovered(store, None, start) == (after, newer)
    (folder(tmp_path) / newer).write_bytes(b"")
    assert recovered(store, None, start) == (before, older)


def test_files_with_other_names_are_ignored(tmp_path, store):
    *_, newer, after = two_checkpoints(store)
    for name in ("saved.checkpoint", "1-2.checkpoint", "a-b-c.checkpoint", f"{newer}.bak", "9-x-0.checkpoint"):
        (folder(tmp_path) / name).write_bytes(b"mine")
    for name in ("partition=old", "partition=", "partition=-1", "partition=٣"):
        (tmp_path / "r" / name).mkdir()
        (tmp_path / "r" / name / newer).write_bytes(b"mine")
    assert newer in store.names(0)
    assert len(store.names(0)) == 2
    assert store.partitions() == [0]
    assert recovered(store, None, dict.fromkeys(SOURCE_TOPICS, 0)) == (after, newer)
    store.prune(0, store.names(0), [])
    assert (folder(tmp_path) / "saved.checkpoint").exists()
    (state,) = stored_states(str(tmp_path))
    assert (state.partitions, state.checkpoints) == (1, 2)


def test_recovery_without_checkpoints_starts_at_the_given_offsets(store):
    start = {"events": 5, "orders": 6, "customers": 7}
    assert recovered(store, None, start) == (start, "")


def test_another_number_of_partitions_is_refused_with_the_remedy(store):
    *_, newer, after = two_checkpoints(store)
    with pytest.raises(ShopstreamError, match=r"5 partitions.*4.*--run NAME"):
        recovered(store, CommittedCheckpoint(7, newer), after, partitions=5)


def test_committed_metadata_reads_back_as_written():
    text = CommittedCheckpoint(12, "x.checkpoint")
    assert decode_committed([encode_committed(text)]) == text
    assert decode_committed([encode_committed(CommittedCheckpoint(3)), encode_committed(text), ""]) == text
    assert decode_committed(["", "not ours", "[1]"]) is None


# --- event ids and old files ---


def ids_of(hours) -> np.ndarray:
    ids = np.zeros(len(hours), EVENT_ID)
    ids["low"] = np.arange(1, len(hours) + 1)
    ids["high"] = hours
    return ids


def stored_ids(store, name) -> list[int]:
    return sorted(store.read(0, name).new_ids["low"].tolist())


def write_ids(store, ids, blocks, hour_min=NO_HORIZON, counter=0):
    partition = empty(0, SINKS, contact=False)
    partition.epoch, partition.counter = 7, counter
    checkpoint = snapshot(partition, "r", 4, blocks)
    return store.write(consumers.checkpoints.store.Checkpoint(checkpoint.manifest, checkpoint.arrays, ids), hour_min)


def test_block_of_ids_is_written_once_and_dropped_after_the_horizon(store):
    ids = ids_of([10, 11, 20, 21])
    _, blocks, _ = write_ids(store, ids[:2], [])
    name, blocks, _ = write_ids(store, ids[2:], blocks)
    assert len(blocks) == 2
    assert stored_ids(store, name) == [1, 2, 3, 4]
    name, blocks, _ = write_ids(store, ids[:0], blocks, hour_min=11)
    assert stored_ids(store, name) == [1, 2, 3, 4], "one of its ids may still be asked for"
    name, blocks, _ = write_ids(store, ids[:0], blocks, hour_min=12)
    assert stored_ids(store, name) == [3, 4]


def test_blocks_are_merged_and_stay_few(tmp_path, store):
    """A thousand checkpoints: few blocks, every id of the horizon, none of long ago, and each id written few times."""
    hours = np.arange(1_000) // 10
    ids, blocks, written = ids_of(hours), [], 0
    for n in range(1_000):
        horizon = max(0, int(hours[n]) - 48)
        name, blocks, _ = write_ids(store, ids[n : n + 1], blocks, hour_min=horizon, counter=n)
        assert len(blocks) <= BLOCKS_MAX
        store.prune(0, [name], blocks)
        written += blocks[-1].ids
    stored = stored_ids(store, name)
    assert len(set(stored)) == len(stored)
    assert set(stored) >= {n + 1 for n in range(1_000) if hours[n] >= horizon}
    assert len(stored) < 1.5 * sum(hours >= horizon)
    assert written < 5 * 1_000


def test_merging_drops_expired_ids_of_a_live_block(store):
    ids, blocks = ids_of([1, 100] * (BLOCKS_MAX + 1)), []
    for n in range(BLOCKS_MAX + 1):
        name, blocks, _ = write_ids(store, ids[2 * n : 2 * n + 2], blocks, hour_min=50, counter=n)
    assert len(blocks) == 1
    assert stored_ids(store, name) == list(range(2, 2 * BLOCKS_MAX + 3, 2))


def test_prune_removes_every_file_that_is_not_needed(tmp_path, store):
    ids = ids_of(range(10, 16))
    old, _, _ = write_ids(store, ids[:1], [], counter=1)
    previous, blocks, _ = write_ids(store, ids[1:2], [], counter=2)
    current, after, _ = write_ids(store, ids[2:3], blocks[:0], counter=3)
    store.prune(0, [current, previous], after)
    assert stored_ids(store, current) == [3]
    assert stored_ids(store, previous) == [2]
    assert store.names(0) == [current, previous]
    assert len(list(folder(tmp_path).iterdir())) == 4
    assert old not in store.names(0)


def test_a_former_owner_does_not_prune_the_files_of_the_new_one(tmp_path, store):
    own, blocks, _ = write_ids(store, ids_of([10]), [], counter=1)
    partition = empty(0, SINKS, contact=False)
    partition.epoch = 8
    theirs = snapshot(partition, "r", 4, [])
    name, _, _ = store.write(consumers.checkpoints.store.Checkpoint(theirs.manifest, theirs.arrays, ids_of([11])), 0)
    (folder(tmp_path) / "a stranger.ids").write_bytes(b"")
    store.prune(0, [own], blocks)
    assert len(list(folder(tmp_path).iterdir())) == 5
    assert stored_ids(store, name) == [1]


def test_restored_ids_exclude_expired_ones(store):
    """Through a real state: every duplicate within the horizon is known after the restart."""
    hour = 400_000 * HOUR_MS
    rows = [
        {
            "event_id": f"e{n}",
            "event_type": "search",
            "customer_id": "c",
            "session_id": f"s{n // 20}",
            "device": "mobile",
        }
        | {"ts": hour + n * HOUR_MS}
        for n in range(100)
    ]
    partition, blocks = empty(0, SINKS, contact=False), []
    for n in range(0, 100, 5):
        partition.state.apply_events(as_events(rows[n : n + 5]))
        horizon = (partition.state.high_events - 48 * HOUR_MS) // HOUR_MS
        name, blocks, _ = store.write(snapshot(partition, "r", 4, blocks), horizon)
    state: State = restore(store.read(0, name), SINKS).state
    assert state.apply_events(as_events(rows[52:])).applied == 0
    assert state.id_count < 60

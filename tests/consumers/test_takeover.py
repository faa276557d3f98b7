"""A new owner finds no file of the committed checkpoint: is the state lost, or the partition another's?"""

from __future__ import annotations

import time

import pytest

from connectors.kafka.offsets import TAKEOVER_TRIES, CommitError, FencedError
from connectors.kafka.source import CommittedOffset
from consumers.checkpoints import store as checkpoint_store
from consumers.checkpoints.coordinator import CheckpointCoordinator
from consumers.checkpoints.recovery import CommittedCheckpoint, empty, encode_committed, snapshot
from consumers.checkpoints.store import CheckpointStore
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS

STARTS = {
    topic: CommittedOffset(7, encode_committed(CommittedCheckpoint(3, "3-000000000001-abc.checkpoint")))
    for topic in SOURCE_TOPICS
}


class Coordinator:
    """Answers commits with what it is given, in that order; the last answer stays."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def commit(self, offsets):
        self.asked.append({where.topic: message for where, message in offsets.items()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


@pytest.fixture
def recovered(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def recovered(*answers):
        source = Coordinator(*answers)
        checkpoints = CheckpointCoordinator(
            CheckpointStore(str(tmp_path), "r"), source, None, run="r", partitions=1, sinks=["sink"]
        )
        try:
            with pytest.raises(ShopstreamError) as caught:
                checkpoints.recover(0, STARTS)
        finally:
            checkpoints.close()
        return caught.value, source.asked

    return recovered


def test_takeover_retries_the_commit_until_it_has_a_response(recovered):
    """It is fenced, and the first answers were lost: seed 257 of the simulation."""
    lost = CommitError("lost")
    error, requested = recovered(lost, lost, FencedError("another's"))
    assert isinstance(error, FencedError)
    assert requested == [{topic: (start.offset, start.metadata) for topic, start in STARTS.items()}] * 3


def test_state_is_lost_only_after_the_coordinator_confirms_the_owner(recovered):
    error, requested = recovered(CommitError("lost"), None)
    assert "No checkpoint of partition 0 can be read" in error.message
    assert len(requested) == 2


def test_takeover_without_any_response_raises(recovered):
    error, requested = recovered(CommitError("lost"))
    assert isinstance(error, CommitError)
    assert len(requested) == TAKEOVER_TRIES


# --- checkpoints that were never committed ---


@pytest.fixture
def kept(tmp_path):
    """A store, the names of a committed checkpoint and of a later one that was never committed, and a keeper."""
    store = CheckpointStore(str(tmp_path), "r")
    names = []
    for epoch, offset in ((3, 7), (4, 9)):
        partition = empty(0, ["sink"], contact=False)
        partition.epoch = epoch
        for buffer in partition.buffers.values():
            buffer.position = offset
        names.append(store.write(snapshot(partition, "r", 1, []), 0)[0])
    source = Coordinator(None)
    checkpoints = CheckpointCoordinator(store, source, None, run="r", partitions=1, sinks=["sink"])
    yield store, names, checkpoints, source
    checkpoints.close()


def later(store):
    """An owner that comes next."""
    return CheckpointCoordinator(store, Coordinator(None), None, run="r", partitions=1, sinks=["sink"])


NOTHING = {topic: CommittedOffset(0, "") for topic in SOURCE_TOPICS}


def test_without_offsets_a_checkpoint_of_an_earlier_owner_is_ignored(kept):
    """It was never committed, and takes rows for written that were written again, older, since: simulated seed 111."""
    store, (committed, never), checkpoints, _ = kept
    message = encode_committed(CommittedCheckpoint(5, committed))
    owned = checkpoints.recover(0, {topic: CommittedOffset(7, message) for topic in SOURCE_TOPICS})
    assert checkpoints.may_write(0)
    assert store.names(0) == [never, committed], "its writer may be alive and write it only now"
    partition = later(store).recover(0, NOTHING)
    assert partition.buffers["events"].position == 7
    assert partition.epoch > owned.epoch


def test_without_offsets_a_checkpoint_of_the_last_owner_is_used(kept):
    store, (committed, _), checkpoints, _ = kept
    message = encode_committed(CommittedCheckpoint(5, committed))
    owned = checkpoints.recover(0, {topic: CommittedOffset(7, message) for topic in SOURCE_TOPICS})
    assert checkpoints.may_write(0)
    for buffer in owned.buffers.values():
        buffer.position = 8
    store.write(snapshot(owned, "r", 1, []), 0)
    assert later(store).recover(0, NOTHING).buffers["events"].position == 8


def test_owner_that_started_without_state_invalidates_earlier_checkpoints(kept):
    store, _, checkpoints, _ = kept
    checkpoints.recover(
        0, {topic: CommittedOffset(0, encode_committed(CommittedCheckpoint(5))) for topic in SOURCE_TOPICS}
    )
    assert checkpoints.may_write(0)
    assert later(store).recover(0, NOTHING).buffers["events"].position == 0


def test_unreadable_base_of_the_last_owner_does_not_reset_the_state(kept, tmp_path):
    store, (committed, _), checkpoints, _ = kept
    message = encode_committed(CommittedCheckpoint(5, committed))
    checkpoints.recover(0, {topic: CommittedOffset(7, message) for topic in SOURCE_TOPICS})
    assert checkpoints.may_write(0)
    (tmp_path / "r" / "partition=0" / committed).unlink()
    with pytest.raises(ShopstreamError, match="No checkpoint of partition 0 can be read"):
        later(store).recover(0, NOTHING)


def test_rows_are_held_back_while_the_owner_file_cannot_be_written(kept, monkeypatch):
    store, _, checkpoints, _ = kept
    checkpoints.recover(0, NOTHING)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_owner", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert not checkpoints.may_write(0)
    assert not checkpoints.may_write(0), "not tried again immediately"
    monkeypatch.setattr("consumers.checkpoints.coordinator.OWNER_PAUSE_S", 0.0)
    deadline_s = time.monotonic() + 10
    while not checkpoints.may_write(0):
        assert time.monotonic() < deadline_s
    assert store.last_owner(0) is not None


def test_uncommitted_checkpoint_is_synced_before_it_is_committed(kept, monkeypatch):
    store, (_, newest), checkpoints, source = kept
    synced = []
    monkeypatch.setattr(checkpoint_store, "sync", lambda _, path: synced.append((path, len(source.asked))))
    partition = checkpoints.recover(0, {topic: CommittedOffset(0, "") for topic in SOURCE_TOPICS})
    assert partition.buffers["events"].position == 9
    paths = [path for path, requested in synced if requested == 0]
    assert [path.rpartition("/")[2] for path in paths] == [newest, "partition=0"]
    assert newest in store.names(0)

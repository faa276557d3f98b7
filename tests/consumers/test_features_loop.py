"""The features consumer through crashes, rebalances, fences and slow sinks: what it leaves is what the oracle counts.

Everything but the clients is the real code (stream/world.py plays these); a seed is a whole history of disasters.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracle.shop import DAY, HOUR
from stream.feeding import as_batch, as_events, message
from stream.scene import Scene as Records
from stream.world import Odds, Worker, World

import consumers.checkpoints.coordinator
import features.state.state
from connectors.kafka.source import CommittedOffset, Partition
from features.errors import ShopstreamError, UsageError
from features.state.state import State

CALM = Odds()
STORMY = Odds(kill=0.03, revoke=0.02, lose=0.01, fence=0.1, commit_fails=0.1, write_fails=0.1)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Checkpoints as often as can be; every table searched for what may leave at every chance; no clock but one."""
    monkeypatch.setattr(consumers.checkpoints.coordinator, "SHARE_MAX", 1.0)
    monkeypatch.setattr(consumers.checkpoints.coordinator, "wall_clock_ms", lambda: 0)
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


class Scene(Records):
    """Records on the topics of a world of played clients."""

    def __init__(self, seed: int, state: str, jitter_ms: int = 60 * HOUR, customers: int = 4) -> None:
        super().__init__(seed, jitter_ms, customers)
        self.world = World(self.rng, self.logs, state)

    def check(self, as_of: int) -> None:
        super().check(self.world, as_of)


@pytest.mark.parametrize("seed", range(3))
def test_undisturbed_run_gives_the_rows_of_the_oracle(seed, tmp_path):
    scene = Scene(seed, str(tmp_path))
    as_of = scene.end + seed * DAY
    progress = scene.world.work(CALM, lambda _: as_of)
    scene.check(as_of)
    assert len(scene.world.letters) == len(scene.letters) == progress.rejected + progress.late
    assert progress.consumed == sum(map(len, scene.world.logs.values()))
    assert progress.consumed == progress.applied + progress.duplicates + progress.rejected + progress.late
    assert progress.lag_records == 0


@pytest.mark.parametrize("seed", range(16))
def test_run_with_every_fault_gives_the_rows_of_the_oracle(seed, tmp_path):
    scene = Scene(seed, str(tmp_path), customers=2)
    as_of = scene.end + (0, 1, 30 * DAY)[seed % 3]
    scene.world.work(STORMY, lambda _: as_of)
    scene.check(as_of)


def test_simulated_faults_occur(tmp_path):
    kills = checkpoints = 0
    for seed in range(3):
        scene = Scene(seed, str(tmp_path / str(seed)), customers=2)
        scene.world.work(STORMY, lambda stream_time: stream_time)
        kills += scene.world.kills
        checkpoints += len({name for _, name in scene.world.committed.values()})
    assert kills >= 3
    assert checkpoints >= 3


def test_partitions_assigned_while_the_final_rows_are_written_get_final_rows(tmp_path):
    scene = Scene(3, str(tmp_path), customers=2)
    as_of = scene.end + 7 * DAY
    scene.world.work(Odds(lose_at_the_end=True), lambda _: as_of)
    scene.check(as_of)


def test_event_ids_of_a_failed_checkpoint_are_in_the_next_one(tmp_path):
    """Else an event repeated after a restart would be counted again."""
    world = World(
        np.random.default_rng(0), {Partition(t, 0): [] for t in ("events", "orders", "customers")}, str(tmp_path)
    )
    worker = Worker(world, Odds(write_fails=1.0))
    checkpoints, starts = worker.checkpoints, {where.topic: CommittedOffset(0, "") for where in world.logs}
    partition = checkpoints.recover(0, starts)
    row = {"event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile"}
    rows = [row | {"event_id": f"e{n}", "ts": 400 * DAY + n} for n in range(40)]
    partition.receive(as_batch("events", [message(row) for row in rows]))
    for topic in ("events", "orders", "customers"):
        partition.reached_end(topic)
    partition.advance()
    checkpoints.checkpoint_now([partition])
    assert checkpoints.made == 0
    assert partition.changed
    worker.store.fails = 0.0
    checkpoints.checkpoint_now([partition])
    assert checkpoints.made == 1
    metadata = world.committed[Partition("events", 0)][1]
    again = checkpoints.recover(0, {topic: CommittedOffset(0, metadata) for topic in starts})
    assert again.state.apply_events(as_events(rows)).applied == 0


def test_error_is_raised_unchanged_and_nothing_is_committed_after_it(tmp_path, monkeypatch):
    """In the middle of a batch the state is half of it: that must not be kept."""
    scene = Scene(0, str(tmp_path), customers=1)
    committed = []

    def broken(self, *args):
        committed.append(dict(scene.world.committed))
        raise ShopstreamError("broken")

    monkeypatch.setattr(State, "apply_orders", broken)
    with pytest.raises(ShopstreamError, match="broken"):
        scene.world.work(CALM, lambda _: scene.end)
    assert scene.world.committed == committed[0]


def test_as_of_before_the_max_event_time_is_a_usage_error(tmp_path):
    scene = Scene(0, str(tmp_path), customers=1)
    with pytest.raises(UsageError, match="--as-of"):
        scene.world.work(CALM, lambda stream_time: stream_time - 1)

"""The features consumer through crashes, rebalances, fences and slow sinks: what it leaves is what the oracle counts.

Everything but the clients is the real code (tests/simulation plays these); a seed is a whole history of disasters.
"""

from __future__ import annotations

import pytest
from oracle.shop import DAY
from simulation.boundary import CALM, STORMY
from simulation.world import World
from stream.scene import Scene

from features.errors import ShopstreamError, UsageError
from features.state.state import State


@pytest.mark.parametrize("seed", range(3))
def test_undisturbed_run_gives_the_rows_of_the_oracle(seed):
    scene = Scene(seed)
    world = World(seed, "features", scene, CALM, slots=1, as_of=scene.end + seed * DAY)
    world.run()
    world.check()
    progress = world.role.progress
    rejected = [letter for letter in world.role.letters if letter.offset >= 0]
    assert len(rejected) == len(scene.letters) == progress.rejected + progress.late
    assert progress.consumed == sum(map(len, scene.logs.values()))
    assert progress.consumed == progress.applied + progress.duplicates + progress.rejected + progress.late
    assert progress.lag_records == 0


@pytest.mark.parametrize("seed", range(16))
def test_run_with_every_fault_gives_the_rows_of_the_oracle(seed):
    scene = Scene(seed, customers=2)
    world = World(seed, "features", scene, STORMY, slots=1, as_of=scene.end + (0, 1, 30 * DAY)[seed % 3])
    world.run()
    world.check()


def test_simulated_faults_occur():
    lives = checkpoints = 0
    for seed in range(3):
        scene = Scene(seed, customers=2)
        world = World(seed, "features", scene, STORMY, slots=1, as_of=scene.end)
        world.run()
        lives += world.happened["lives"]
        checkpoints += world.happened["checkpoints"]
    assert lives >= 6
    assert checkpoints >= 3


@pytest.mark.parametrize("reads_between", [False, True])
def test_partitions_assigned_while_the_final_rows_are_written_get_final_rows(reads_between):
    """Whether new partitions come with the read that takes the former ones, or with a later one."""
    scene = Scene(3, customers=2)
    world = World(3, "features", scene, CALM, slots=1, as_of=scene.end + 7 * DAY)

    def once_all_is_written(life):
        if life.consumer.progress().dirty:
            return None
        # the next read gives the partitions back
        world.group.rebalance()
        if not reads_between:
            world.group.sync("worker-0")
        return world.as_of

    world.role.final_as_of = once_all_is_written
    world.run()
    world.check()
    assert world.group.generation == 2
    assert world.happened["lives"] == 1


def test_error_is_raised_unchanged_and_nothing_is_committed_after_it(monkeypatch):
    """In the middle of a batch the state is half of it: that must not be kept."""
    scene = Scene(0, customers=1)
    world = World(0, "features", scene, CALM, slots=1, as_of=scene.end)
    committed = []

    def broken(self, *args):
        committed.append(dict(world.group.committed))
        raise ShopstreamError("broken")

    monkeypatch.setattr(State, "apply_orders", broken)
    with pytest.raises(ShopstreamError, match="broken"):
        world.run()
    assert world.group.committed == committed[0]


def test_as_of_before_the_max_event_time_is_a_usage_error():
    scene = Scene(0, customers=1)
    world = World(0, "features", scene, CALM, slots=1, as_of=scene.end - 1)
    with pytest.raises(UsageError, match="--as-of"):
        world.run()

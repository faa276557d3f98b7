"""Workers of the roles index and archive die, come, go and fall asleep: nothing is lost and nothing stands twice."""

from __future__ import annotations

import time

import numpy as np
import pytest
from faults.scene import PARTITIONS, waited_s
from faults.test_workers import QUICK_SESSION
from faults.worker import Copier

pytestmark = pytest.mark.timeout(1_800)
ROLES = (pytest.param("index", marks=pytest.mark.campaign), "archive")
"""The archive, whose files nobody versions, is tried in every `make test`."""


@pytest.fixture
def copying(servers, scene_on):
    """Makes the scene of one of the roles."""
    return lambda role: scene_on(servers, (role,))


@pytest.fixture
def start(tmp_path):
    """Starts workers of a scene's role, told apart by numbers."""
    running: list[Copier] = []

    def begin(scene, number=0, until=None) -> Copier:
        options = scene.bench.options(number)
        quick = type(options)(
            options.run, {**options.kafka, **QUICK_SESSION}, options.elastic, options.state, options.instance_id
        )
        (role,) = scene.roles
        log = tmp_path / f"copier-{len(running)}.log"
        running.append(Copier(role, quick, scene.store / "archive", log, until))
        return running[-1]

    yield begin
    for worker in running:
        worker.kill()


def ends(scene) -> dict[tuple[str, int], int]:
    """Of the topics that the role reads."""
    result = scene.bench.ends()
    return {where: end for where, end in result.items() if scene.roles == ("archive",) or where[0].endswith(".events")}


@pytest.mark.parametrize("role", ROLES)
def test_copying_worker_killed_repeatedly_loses_nothing(copying, start, sizes, nothing_lost, role):
    scene, rng, waits_s = copying(role), np.random.default_rng(5), []
    for number in range(sizes.kills):
        scene.feeder.send_share((number + 1) / (sizes.kills + 1))
        worker = start(scene)
        waits_s.append(worker.wait_for_reading() - worker.started_s)
        time.sleep(rng.uniform(0.05, 1.5))
        worker.kill()
    scene.feeder.hurry()
    start(scene, until=ends(scene)).end()
    nothing_lost(scene, "worker killed", f"kill -9, {sizes.kills} times at random moments", max(waits_s[1:]))


@pytest.mark.campaign
@pytest.mark.parametrize("role", ROLES)
def test_copying_workers_that_join_and_leave_lose_nothing(copying, start, nothing_lost, role):
    scene = copying(role)
    scene.feeder.start()
    first = start(scene, 0)
    first.wait_for(lambda worker: worker.figures()[1])
    second = start(scene, 1)
    waited_s(lambda: second.figures()[3] and first.figures()[3] < PARTITIONS)
    scene.feeder.go_on()
    first.leave()
    left_s = waited_s(lambda: second.figures()[3] == PARTITIONS)
    scene.feeder.go_on()
    scene.feeder.hurry()
    second.leave()
    start(scene, 1, until=ends(scene)).end()
    nothing_lost(scene, "workers come and go", "a second worker joins, then the first one leaves", left_s)


@pytest.mark.parametrize("role", ROLES)
def test_copying_worker_paused_beyond_its_session_loses_nothing(copying, start, nothing_lost, role):
    """It wakes up in the middle of what it did, when another one has long gone on."""
    scene = copying(role)
    scene.feeder.start()
    sleeper = start(scene, 0)
    sleeper.wait_for(lambda worker: worker.figures()[1])
    scene.feeder.go_on()
    sleeper.stop()
    slept_s = time.monotonic()
    other = start(scene, 1)
    written = other.wait_for(lambda worker: worker.figures()[3] == PARTITIONS and worker.figures()[1])
    recovered_s = time.monotonic() - slept_s
    assert written
    sleeper.wake()
    waited_s(lambda: sleeper.figures()[3] and sleeper.figures()[3] < PARTITIONS)
    scene.feeder.go_on()
    scene.feeder.hurry()
    sleeper.leave()
    other.leave()
    start(scene, 1, until=ends(scene)).end()
    nothing_lost(scene, "worker asleep", "SIGSTOP until another had its partitions", recovered_s)

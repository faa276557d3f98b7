"""Workers die, come, go and fall asleep: each partition's state goes on with whoever has it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from faults.proxy import Proxy
from faults.scene import PARTITIONS, waited_s
from faults.worker import Worker

from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from consumers.checkpoints.recovery import CommittedCheckpoint, decode_committed
from features.schema import SOURCE_TOPICS, group_name, topic_name

pytestmark = pytest.mark.timeout(1_800)

READS_AGAIN_S = 3.0
"""From the start of a worker's process to its first records, its predecessor's session notwithstanding."""
QUICK_SESSION = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "700"}


@pytest.fixture
def start(scene, tmp_path):
    """Starts workers of the scene's run, told apart by numbers."""
    running: list[Worker] = []

    def begin(number=0, until=None, kafka_properties=None, **more) -> Worker:
        properties = {**scene.bench.properties, **(kafka_properties or {})}
        changes = {"checkpoint_interval_s": 0.3, **more, "kafka": properties}
        made = replace(scene.bench.options(number), **changes)
        running.append(Worker(made, tmp_path / f"worker-{len(running)}.log", PARTITIONS, until))
        return running[-1]

    yield begin
    for worker in running:
        worker.kill()


def finish(scene, start, **more) -> None:
    """The rest of the stream and the final rows, by one worker that has all partitions."""
    scene.feeder.hurry()
    start(until=scene.bench.ends(), **more).end()


def test_worker_killed_repeatedly_loses_nothing(scene, start, sizes, nothing_lost):
    rng = np.random.default_rng(3)
    waits_s = []
    for number in range(sizes.kills):
        scene.feeder.send_share((number + 1) / (sizes.kills + 1))
        worker = start()
        waits_s.append(worker.wait_for_reading() - worker.started_s)
        time.sleep(rng.uniform(0.05, 1.5))
        worker.kill()
    finish(scene, start)
    nothing_lost(scene, "worker killed", f"kill -9, {sizes.kills} times at random moments", max(waits_s[1:]))
    if sizes.kills > 3:  # among other tests the start of a process may take any time
        assert np.median(waits_s[1:]) <= READS_AGAIN_S, waits_s


@pytest.mark.campaign
def test_workers_that_join_and_leave_lose_nothing(scene, start, nothing_lost):
    scene.feeder.start()
    first = start(0)
    first.wait_for(lambda worker: worker.figures()[2])
    second = start(1)
    joined_s = waited_s(lambda: second.figures()[3] and first.figures()[3] < PARTITIONS)
    scene.rows_until(scene.feeder.go_on())
    first.leave()
    left_s = waited_s(lambda: second.figures()[3] == PARTITIONS)
    recovered_s = left_s + scene.rows_until(scene.feeder.go_on())
    scene.feeder.hurry()
    second.leave()
    finish(scene, start, number=1)
    assert joined_s < 30
    nothing_lost(scene, "workers come and go", "a second worker joins, then the first one leaves", recovered_s)


@pytest.mark.campaign
def test_worker_paused_beyond_its_session_loses_nothing(scene, start, nothing_lost):
    """Its requests are held on their way, and reach Elasticsearch when another has written newer rows."""
    with Proxy(scene.endpoints.elasticsearch.url) as proxy:
        scene.feeder.start()
        connection = replace(scene.bench.connection, url=proxy.url)
        sleeper = start(0, kafka_properties=QUICK_SESSION, elastic=connection)
        sleeper.wait_for(lambda worker: worker.figures()[2] and worker.figures()[1])
        at = scene.feeder.go_on()
        proxy.hold()
        waited_s(lambda: proxy.held_bulks)
        sleeper.stop()
        slept_s = time.monotonic()
        other = start(1, kafka_properties=QUICK_SESSION)
        other.wait_for(lambda worker: worker.figures()[3] == PARTITIONS)
        scene.rows_until(at)
        recovered_s = time.monotonic() - slept_s
        scene.documents_until(at)
        before = proxy.conflicts
        proxy.release()
        waited_s(lambda: proxy.conflicts > before)
        epochs = committed_epochs(scene)
        sleeper.wake()
        sleeper.wait_for(lambda worker: "lost to another worker" in worker.output() or "was refused" in worker.output())
        after = committed_epochs(scene)
        assert all(after[number] >= epochs[number] for number in epochs)
        scene.rows_until(scene.feeder.go_on())
        scene.feeder.hurry()
        sleeper.leave()
        other.leave()
        finish(scene, start, number=1, kafka_properties=QUICK_SESSION)
    nothing_lost(
        scene, "worker asleep", "SIGSTOP until others had its partitions; its requests held till then", recovered_s
    )


def committed_epochs(scene) -> dict[int, int]:
    """Partition -> the epoch that the group knows."""
    consumer = kafka.open_consumer(kafka.consumer_config(scene.bench.properties, group_name(scene.run, "features")))
    try:
        partitions = kafka_offsets.partitions_of(consumer, [topic_name(scene.run, topic) for topic in SOURCE_TOPICS])
        message = kafka_offsets.committed(consumer, partitions)
        return {
            number: (
                decode_committed([m for p, (_, m) in message.items() if p.partition == number])
                or CommittedCheckpoint(0)
            ).epoch
            for number in range(PARTITIONS)
        }
    finally:
        consumer.close()

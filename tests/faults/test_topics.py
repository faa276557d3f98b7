"""Topics that are not what they were: each is refused in words, and nothing is written."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions
from faults.conftest import FEATURES
from faults.scene import PARTITIONS, Command, waited_s

from connectors.kafka import client as kafka
from features.schema import FEATURE_TOPIC, SOURCE_TOPICS, topic_name

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.campaign]

SESSION_S = 12.0
"""Longer than the session of a static member that left."""
NEW_RUN = "into a new run (`--run NAME`)"


@pytest.fixture(params=["features", "index", "archive"])
def scene(request, servers, scene_on):
    """Each role alone: what one refuses, no other has to refuse for it."""
    return scene_on(servers, (request.param,))


@pytest.fixture
def admin(scene):
    return kafka.open_admin(scene.bench.properties)


def done(futures) -> None:
    for future in futures.values():
        future.result(timeout=30)


def untouched(scene, results, fault: str, injected: str, before) -> None:
    """Nothing was written after the refusal."""
    result = scene.difference(before)
    assert result.is_none, result
    results.take(fault, f"{injected}: refused, nothing written", scene, result)


def test_records_deleted_before_they_were_read_stop_the_command(scene, admin, results):
    scene.feeder.send_share(0.5)
    scene.catch_up()
    before = scene.stored_results()
    read = scene.bench.ends()
    scene.feeder.send_share(0.8)
    ends = scene.bench.ends()
    # the first half of what was not read yet
    gone = [TopicPartition(*where, (read[where] + end) // 2 + 1) for where, end in ends.items() if end > read[where]]
    done(admin.delete_records(gone))
    message = scene.refused()
    assert "records were deleted before they were read" in message
    assert "longer retention" in message
    assert NEW_RUN in message
    untouched(scene, results, "log truncated", "DeleteRecords beyond what was read", before)


def test_records_deleted_after_they_were_read_change_nothing(scene, admin, nothing_lost):
    scene.feeder.send_share(0.5)
    scene.catch_up()
    ends = {where: end for where, end in scene.bench.ends().items() if not is_compacted(where[0])}
    done(admin.delete_records([TopicPartition(*where, end) for where, end in ends.items()]))
    scene.finish()
    nothing_lost(scene, "read records deleted", "DeleteRecords up to what was read", None)


@pytest.mark.parametrize("share", [0.2, 1.0], ids=["shorter than it was", "longer than it was"])
@pytest.mark.parametrize("topics", [SOURCE_TOPICS, ("events",)], ids=["all topics", "events alone"])
def test_recreated_topic_is_refused_or_indexed_once(scene, admin, undisturbed, results, share, topics):
    scene.feeder.send_share(0.5)
    scene.catch_up()
    before = scene.stored_results()
    done(admin.delete_topics([topic_name(scene.run, topic) for topic in topics]))
    waited_s(lambda: made_again(scene))
    scene.feeder.sent = 0
    scene.feeder.send_share(share, topics)
    which = "all source topics" if topics == SOURCE_TOPICS else "the topic of events"
    injected = f"{which}, {'longer' if share == 1.0 else 'shorter'} than before"
    if scene.roles == ("index",):
        # Kafka has dropped the offsets with the topic, and an event has one document whichever topic it comes from
        scene.catch_up()
        result = scene.difference(undisturbed if share == 1.0 else before)
        assert result.is_none, result
        results.take("topic re-created", f"{injected}: each event once", scene, result)
        return
    message = scene.refused()
    assert "deleted and created again" in message
    assert NEW_RUN in message
    untouched(scene, results, "topic re-created", injected, before)


def is_compacted(topic: str) -> bool:
    """Kafka deletes no records of these before an offset."""
    return topic.endswith(".customers")


def made_again(scene) -> bool:
    """A deleted topic may be there for a moment more."""
    kafka.ensure_topics(scene.bench.properties, scene.run, PARTITIONS)
    time.sleep(0.5)
    try:
        return bool(scene.bench.ends())
    except Exception:  # noqa: BLE001 - asked again
        return False


def test_partitions_added_while_no_consumer_runs_are_refused(servers, scene_on, results):
    scene = scene_on(servers, FEATURES)
    admin = kafka.open_admin(scene.bench.properties)
    scene.feeder.send_share(0.5)
    scene.catch_up()
    before = scene.stored_results()
    more_partitions(scene, admin)
    message = scene.refused()
    assert f"has {PARTITIONS + 1} partitions, but {PARTITIONS} are expected" in message
    message = scene.refused(SHOPSTREAM_KAFKA__PARTITIONS=str(PARTITIONS + 1))
    assert "customers have moved between partitions" in message
    assert NEW_RUN in message
    untouched(scene, results, "partitions added", f"{PARTITIONS} to {PARTITIONS + 1}, between two runs", before)


def test_partitions_added_while_the_consumers_run_are_refused(servers, scene_on, results):
    scene = scene_on(servers, FEATURES)
    admin = kafka.open_admin(scene.bench.properties)
    scene.feeder.send_share(0.5)
    scene.catch_up()
    before = scene.stored_results()
    command: Command = scene.consume(SHOPSTREAM_KAFKA__PROPERTIES='{"topic.metadata.refresh.interval.ms": "1000"}')
    waited_s(lambda: '"state": "running"' in command.output())
    more_partitions(scene, admin)
    waited_s(lambda: "customers have moved between partitions" in command.output())
    command.kill()
    untouched(scene, results, "partitions added", f"{PARTITIONS} to {PARTITIONS + 1}, under running consumers", before)


@pytest.mark.parametrize("role", ["index", "archive"])
def test_partitions_added_under_a_stateless_role_are_read(servers, scene_on, nothing_lost, role):
    scene = scene_on(servers, (role,))
    scene.feeder.send_share(0.5)
    command: Command = scene.consume(SHOPSTREAM_KAFKA__PROPERTIES='{"topic.metadata.refresh.interval.ms": "1000"}')
    waited_s(lambda: '"state": "running"' in command.output())
    more_partitions(scene, kafka.open_admin(scene.bench.properties))
    scene.feeder.hurry()
    command.leave()
    time.sleep(SESSION_S)  # a static member that comes back sooner gets what it had, which lacks the new partitions
    scene.catch_up(SHOPSTREAM_KAFKA__PARTITIONS=str(PARTITIONS + 1))
    nothing_lost(scene, "partitions added", f"{PARTITIONS} to {PARTITIONS + 1}, under running consumers", None)


def more_partitions(scene, admin) -> None:
    topics = [topic_name(scene.run, topic) for topic in (*SOURCE_TOPICS, FEATURE_TOPIC)]
    done(admin.create_partitions([NewPartitions(topic, PARTITIONS + 1) for topic in topics]))

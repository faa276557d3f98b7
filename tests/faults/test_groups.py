"""What the group knows is gone, or two commands work with one state."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException
from faults.scene import waited_s

from connectors.kafka import client as kafka
from features.schema import group_name

pytestmark = pytest.mark.timeout(1_800)


@pytest.mark.slow
def test_deleted_offsets_of_all_groups_lose_nothing(servers, scene_on, nothing_lost):
    scene = scene_on(servers)
    scene.feeder.send_share(0.5)
    scene.catch_up()
    groups = [group_name(scene.run, role) for role in scene.roles]
    left = set(groups)
    admin = kafka.open_admin(scene.bench.properties)

    def deleted() -> bool:
        # static members stay until their session ends
        for group, future in admin.delete_consumer_groups(sorted(left)).items():
            try:
                future.result(timeout=30)
            except KafkaException:
                continue
            left.discard(group)
        return not left

    waited_s(deleted)
    scene.finish()
    nothing_lost(scene, "offsets deleted", "of every group, in the middle of the stream", None)


@pytest.mark.campaign
def test_two_commands_with_one_state_folder_lose_nothing(servers, scene_on, tmp_path, nothing_lost):
    scene = scene_on(servers)
    scene.feeder.start()
    scene.consume()
    scene.rows_until(1)
    other = tmp_path / "other"
    other.mkdir()
    scene.consume(SHOPSTREAM_HOME=str(other))
    scene.rows_until(scene.feeder.go_on())
    recovered_s = scene.rows_until(scene.feeder.go_on())
    scene.finish()
    nothing_lost(scene, "two commands, one state", "with data folders of their own", recovered_s)

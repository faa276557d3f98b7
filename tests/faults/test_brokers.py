"""The broker dies or stands still in mid-stream; what it had acknowledged is its own affair, all else is ours."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.timeout(1_800)


@pytest.mark.slow
def test_broker_killed_in_mid_stream_loses_nothing(own_kafka, scene_on, sizes, nothing_lost):
    scene = scene_on(own_kafka.endpoints, sizes.roles)
    scene.feeder.start()
    scene.consume()
    scene.rows_until(1)
    scene.feeder.go_on()
    own_kafka.kill()
    time.sleep(sizes.broker_down_s)
    own_kafka.start()
    recovered_s = scene.rows_until(scene.feeder.go_on())
    scene.finish()
    nothing_lost(
        scene, "broker killed", f"kill -9 of Kafka, started again after {sizes.broker_down_s:.0f} s", recovered_s
    )


@pytest.mark.campaign
def test_paused_broker_loses_nothing(own_kafka, scene_on, sizes, nothing_lost):
    scene = scene_on(own_kafka.endpoints, sizes.roles)
    scene.feeder.start()
    scene.consume()
    scene.rows_until(1)
    scene.feeder.go_on()
    own_kafka.pause(sizes.broker_paused_s)
    recovered_s = scene.rows_until(scene.feeder.go_on())
    scene.finish()
    nothing_lost(scene, "broker paused", f"SIGSTOP of Kafka for {sizes.broker_paused_s:.0f} s", recovered_s)

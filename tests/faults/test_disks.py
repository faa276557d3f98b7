"""The disk of checkpoints and archive loses its power, is full, or stands still: what was committed is there."""

from __future__ import annotations

import subprocess
import time

import pytest
from faults.mounts import mounted
from faults.scene import waited_s

pytestmark = pytest.mark.timeout(1_800)
ON_DISK = ("features", "archive")


@pytest.fixture
def disk(tmp_path):
    made = mounted(tmp_path, 96)
    yield made
    # a test that failed may have left it frozen
    subprocess.run(["fsfreeze", "--unfreeze", str(made.place)], check=False, capture_output=True)
    subprocess.run(["umount", "--lazy", str(made.place)], check=False, capture_output=True)


def test_power_failure_after_a_commit_loses_nothing(servers, scene_on, disk, nothing_lost):
    scene = scene_on(servers, ON_DISK, disk.place)
    scene.feeder.send_share(0.5)
    scene.catch_up()
    disk.lose_power()
    scene.finish()
    nothing_lost(scene, "power lost", "the disk's image as it was when the consumers had committed", None)


@pytest.mark.campaign
def test_power_failure_in_mid_stream_loses_nothing(servers, scene_on, disk, nothing_lost):
    scene = scene_on(servers, ON_DISK, disk.place)
    scene.feeder.start()
    command = scene.consume()
    scene.rows_until(1)
    scene.rows_until(scene.feeder.go_on())
    command.kill()
    disk.lose_power()
    began = scene.consume()
    waited_s(lambda: '"state": "running"' in began.output())
    recovered_s = scene.rows_until(scene.feeder.go_on())
    assert "No checkpoint" not in began.output()
    scene.finish()
    nothing_lost(scene, "power lost", "in mid-stream, every process killed", recovered_s)


@pytest.mark.campaign
def test_full_disk_loses_nothing(servers, scene_on, disk, nothing_lost):
    scene = scene_on(servers, ON_DISK, disk.place)
    scene.feeder.send_share(0.4)
    scene.catch_up()
    disk.fill()
    scene.feeder.hurry()
    command = scene.consume("--until-end")
    waited_s(lambda: "checkpoint not written" in command.output() and "archive cannot be written" in command.output())
    disk.make_room()
    roomy_s = time.monotonic()
    assert command.wait() == 0, command.output()[-3_000:]
    recovered_s = time.monotonic() - roomy_s
    nothing_lost(scene, "disk full", "of checkpoints and archive, until there is room again", recovered_s)


@pytest.mark.campaign
def test_frozen_disk_loses_nothing(servers, scene_on, disk, sizes, nothing_lost):
    scene = scene_on(servers, ON_DISK, disk.place)
    scene.feeder.start()
    scene.consume()
    scene.rows_until(1)
    scene.rows_until(scene.feeder.go_on())
    disk.freeze()
    time.sleep(sizes.broker_paused_s + 10.0)
    disk.thaw()
    recovered_s = scene.rows_until(scene.feeder.go_on())
    scene.finish()
    injected = f"frozen for {sizes.broker_paused_s + 10.0:.0f} s, longer than a session"
    nothing_lost(scene, "disk stands still", injected, recovered_s)
